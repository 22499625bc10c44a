"""Finding a tenant's messages, newest first, and looking at a bounded number of rows.

A walk goes from a position downwards along the narrowest index that the filters allow: an address, a
tag, or all of the tenant's messages. Everything else is compared on the way. When that takes more rows
than one call may look at, the walk ends early, perhaps with nothing found, and tells where to go on: a
filter that little fits costs its caller many calls and the database no long one.

Rejected: an index for every filter (each is paid for at every acceptance, and combinations would still
be walked); counting pages or hits (it reads all of them); positions as offsets (new mail shifts them).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, select

from mailer.ids import first_id_at
from mailer.store import dialect
from mailer.store.tables import lane, message, message_tag, recipient, sending_domain, stream

MOST_LOOKED = 5_000  # rows a walk may look at before it ends early
_WIDER = 4  # a window that filled no page is followed by one so many times as long
_LAST_ID = 2**63 - 1
# An id is made when a message arrives and `accepted_at` when it is written: a full queue, or a database
# that has to be waited for, lies in between. Clocks that are set back bring ids from the future.
_LATEST_COMMIT = timedelta(minutes=1)
_SET_BACK = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which messages; all that is said must be met, and None or empty says nothing.

    states, address, domain  met together by one recipient: its state, forward-path as stored, A-label
    tag, stream              a word, a stream's name
    from_domain              the sending domain, A-label
    since, before            of the acceptance: at or after, before
    """

    states: frozenset[str] = frozenset()
    address: str | None = None
    domain: str | None = None
    tag: str | None = None
    stream: str | None = None
    from_domain: str | None = None
    since: datetime | None = None
    before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """position: where to go on, 0 or more; None: there is nothing more."""

    ids: Sequence[int]
    position: int | None


def find(
    connection: Connection,
    tenant_id: int,
    wanted: Wanted,
    *,
    limit: int,
    position: int | None,
    most_looked: int = MOST_LOOKED,
) -> Found:
    """Ids below `position` (None: from the newest on) of up to `limit` messages. Less is not the end.

    most_looked  rows; at least one message is looked at, whatever it takes
    """
    walk = _plan(connection, tenant_id, wanted)
    if walk is None:
        return Found((), None)
    start = walk.end_id if position is None else min(position, walk.end_id)
    ids, following = _walk(connection, walk, limit, start, most_looked)
    return Found(ids, following)


@dataclass(frozen=True, slots=True)
class _Walk:
    """Names turned into ids. stream_id, domain_id, lanes: None where not asked for."""

    tenant_id: int
    wanted: Wanted
    stream_id: int | None
    domain_id: int | None
    lanes: frozenset[int] | None
    first_id: int
    end_id: int

    @property
    def asks_tags(self) -> bool:
        """Not if the tag's own index is walked."""
        return self.wanted.tag is not None and self.wanted.address is not None

    @property
    def asks_recipients(self) -> bool:
        return bool(self.wanted.states or self.lanes is not None)


def _plan(connection: Connection, tenant_id: int, wanted: Wanted) -> _Walk | None:
    """None if nothing can meet it: no such stream, sending domain, or recipients' domain of this tenant."""
    named = select(stream.c.id, stream.c.name).where(stream.c.tenant_id == tenant_id)
    streams = {name: stream_id for stream_id, name in connection.execute(named)}
    stream_id = domain_id = lanes = None
    if wanted.stream is not None:
        stream_id = streams.get(wanted.stream)
        if stream_id is None:
            return None
    if wanted.from_domain is not None:
        own = select(sending_domain.c.id).where(
            sending_domain.c.tenant_id == tenant_id, sending_domain.c.name == wanted.from_domain
        )
        domain_id = connection.execute(own).scalar()
        if domain_id is None:
            return None
    if wanted.domain is not None:
        of_domain = select(lane.c.id).where(
            lane.c.tenant_id == tenant_id,
            lane.c.stream_id.in_(list(streams.values())),
            lane.c.domain == wanted.domain,
        )
        lanes = frozenset(connection.execute(of_domain).scalars())
        if not lanes:
            return None
    first = 0 if wanted.since is None else _id_at(wanted.since - _LATEST_COMMIT)
    end = _LAST_ID if wanted.before is None else _id_at(wanted.before + _SET_BACK)
    return _Walk(tenant_id, wanted, stream_id, domain_id, lanes, first, end)


def _id_at(at: datetime) -> int:
    return min(first_id_at(int(at.timestamp() * 1000)), _LAST_ID)


@dataclass(frozen=True, slots=True)
class _Window:
    """Messages side by side on an index. lowest: id of the last one; is_last: nothing is below it."""

    rows: Sequence[Any]
    lowest: int
    is_last: bool


def _walk(
    connection: Connection, walk: _Walk, limit: int, position: int, spare: int
) -> tuple[Sequence[int], int | None]:
    """spare: rows that may be looked at."""
    found: list[int] = []
    width = limit + 1
    while True:
        window = _window(connection, walk, position, min(width, spare))
        looked, cost = _affordable(walk, window.rows, spare)
        found += _meeting(connection, walk, [row.id for row in looked if _fits(walk, row)])
        if len(found) > limit:
            return found[:limit], found[limit - 1]
        if len(looked) < len(window.rows):
            return found, looked[-1].id
        if window.is_last:
            return found, None
        position = window.lowest
        spare -= cost
        if spare <= 0:
            return found, position
        width *= _WIDER


def _window(connection: Connection, walk: _Walk, position: int, asked: int) -> _Window:
    """The next `asked` messages below `position` on the narrowest index."""
    columns = select(*_columns(walk))
    index = _index(walk)
    if index is None:
        mine = columns.where(message.c.tenant_id == walk.tenant_id)
        within = mine.where(message.c.id < position, message.c.id >= walk.first_id)
        rows = connection.execute(within.order_by(message.c.id.desc()).limit(asked)).all()
        return _Window(rows, rows[-1].id if rows else 0, len(rows) < asked)
    key = index.selected_columns[0]
    below = index.where(key < position, key >= walk.first_id).order_by(key.desc()).limit(asked)
    ids = connection.execute(below).scalars().all()
    # By id in a statement of its own: joined, a planner may read the whole table of messages instead.
    named = columns.where(dialect.OneOf(message.c.id, "ids")).order_by(message.c.id.desc())
    rows = connection.execute(named, {"ids": dialect.listed(connection, ids)}).all()
    # Counted by what the index said: retention may have dropped a message between the two statements.
    return _Window(rows, ids[-1] if ids else 0, len(ids) < asked)


def _columns(walk: _Walk) -> list[Any]:
    """What `_fits` looks at; instants and lists are converted for every row, so not unless asked for."""
    m = message.c
    columns: list[Any] = [m.id, m.stream_id, m.domain_id, m.recipient_count]
    if walk.wanted.since is not None or walk.wanted.before is not None:
        columns.append(m.accepted_at)
    if walk.asks_tags:
        columns.append(m.tags)
    return columns


def _index(walk: _Walk) -> Select[int] | None:
    """Message ids of the address or else of the tag; None: neither is asked for."""
    if walk.wanted.address is not None:
        r = recipient.c
        # A recipient that was sent to again has two rows in one message.
        return (
            select(r.message_id)
            .distinct()
            .where(r.tenant_id == walk.tenant_id, r.address == walk.wanted.address)
        )
    if walk.wanted.tag is not None:
        t = message_tag.c
        return select(t.message_id).where(t.tenant_id == walk.tenant_id, t.tag == walk.wanted.tag)
    return None


def _affordable(walk: _Walk, window: Sequence[Any], spare: int) -> tuple[Sequence[Any], int]:
    """How much of the window may be looked at for `spare` rows, at least one; and what that costs."""
    cost = 0
    for n, row in enumerate(window):
        cost += 1
        if walk.asks_recipients and walk.wanted.address is None and _fits(walk, row):
            cost += row.recipient_count
        if cost > spare and n:
            return window[:n], spare
    return window, cost


def _fits(walk: _Walk, row: Any) -> bool:
    """What the message itself can tell."""
    wanted = walk.wanted
    return (
        (walk.stream_id is None or row.stream_id == walk.stream_id)
        and (walk.domain_id is None or row.domain_id == walk.domain_id)
        and (not walk.asks_tags or wanted.tag in row.tags)
        and (wanted.since is None or row.accepted_at >= wanted.since)
        and (wanted.before is None or row.accepted_at < wanted.before)
    )


def _meeting(connection: Connection, walk: _Walk, ids: Sequence[int]) -> Sequence[int]:
    """Those of `ids`, in order, that have a recipient as wanted."""
    if not walk.asks_recipients or not ids:
        return ids
    r = recipient.c
    met = select(r.message_id).distinct()
    if walk.wanted.address is not None:
        # A stretch of the address's index: a long list of ids might be answered by reading the whole table.
        mine = r.tenant_id == walk.tenant_id, r.address == walk.wanted.address
        met = met.where(*mine, r.message_id.between(ids[-1], ids[0]))
    else:
        met = met.where(dialect.OneOf(r.message_id, "ids"))
    if walk.wanted.states:
        met = met.where(r.state.in_(sorted(walk.wanted.states)))
    if walk.lanes is not None:
        met = met.where(r.lane_id.in_(sorted(walk.lanes)))
    meeting = set(connection.execute(met, {"ids": dialect.listed(connection, ids)}).scalars())
    return [i for i in ids if i in meeting]
