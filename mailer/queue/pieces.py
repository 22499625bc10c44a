"""Changing mail that waits in pieces: which rows are meant, and one transaction for some hundred of them.

Rows are found by lane, along a partial index for each state, so that no other mail is looked at; those of a
message or recipient by its own index. Between two pieces doors and workers go on. A row that another
transaction has locked is under way, and passed over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, bindparam, func, literal_column, select

from mailer.events import RecipientState
from mailer.ids import IdMaker
from mailer.queue import actions, ending
from mailer.queue.actions import Deed
from mailer.queue.selection import PLACES, Place, Selection, SiteOf, place_of, places, unrouted
from mailer.store import Store, dialect
from mailer.store.tables import lane, recipient

Rows = Select[*tuple[Any, ...]]
_COLUMNS = (*ending.COLUMNS, recipient.c.lane_id)
AT_ONCE = 500  # recipients changed in one transaction
_LANES_AT_ONCE = 500  # looked at in one transaction
# Written out: a partial index is used only for a condition that can be read. In this order a recipient that
# wakes meanwhile is met in its next state.
IS = {
    state: recipient.c.state == literal_column(f"'{state}'")
    for state in (RecipientState.DEFERRED, RecipientState.QUEUED, RecipientState.HELD)
}


@dataclass(frozen=True, slots=True)
class Means:
    """What an action is done with. site_of: sites by routes."""

    store: Store
    new_id: IdMaker
    process_number: int
    now: Callable[[], datetime]
    site_of: SiteOf = unrouted


@dataclass(frozen=True, slots=True)
class Extent:
    """Recipients that are meant, by state; those that a worker holds among them."""

    states: Mapping[str, int]

    @property
    def under_way(self) -> int:
        return self.states.get(RecipientState.LEASED, 0)

    @property
    def waiting(self) -> int:
        return sum(self.states.values()) - self.under_way


@dataclass(frozen=True, slots=True)
class Done:
    """changed: recipients. under_way: held by workers as it ended, and left alone. has_more: repeat it."""

    action_id: int
    changed: int
    under_way: int
    has_more: bool


def extent(means: Means, wanted: Selection) -> Extent:
    """Counted, piece by piece; nothing is changed."""
    return count(means, wanted, _COUNTS, recipient.c.settled_at.is_(None))


def lanes_with_mail(means: Means, wanted: Selection) -> Iterator[Place]:
    """Lanes in which something that is meant waits."""
    if wanted.names_rows:
        with means.store.read() as connection:
            rows = _rows_named(connection, means, wanted, waiting_in(list(IS), None))
            yield from _places(connection, {row.lane_id for row in rows}, means.site_of).values()
        return
    for page in places(means.store, wanted, means.site_of):
        known = {place.lane_id: place for place in page}
        with means.store.read() as connection:
            listed = {"lanes": dialect.listed(connection, list(known))}
            busy = {i for state in IS for i in connection.execute(_WITH_MAIL[state], listed).scalars()}
        yield from (known[lane_id] for lane_id in sorted(busy))


def count(means: Means, wanted: Selection, counts: Sequence[Rows], meant: ColumnElement[bool]) -> Extent:
    """counts: of lanes, by state. meant: of rows that are named."""
    found: Counter[str] = Counter()
    if wanted.names_rows:
        with means.store.read() as connection:
            rows = _rows_named(connection, means, wanted, meant)
            found.update(row.state for row in rows)
        return Extent(dict(+found))
    for page in places(means.store, wanted, means.site_of):
        lane_ids = [place.lane_id for place in page]
        with means.store.read() as connection:
            for counted in counts:
                listed = {"lanes": dialect.listed(connection, lane_ids)}
                found.update({state: n for state, n in connection.execute(counted, listed)})
    return Extent(dict(+found))


def counted(state: RecipientState, is_so: ColumnElement[bool]) -> Rows:
    number: Rows = select(literal_column(f"'{state}'"), func.count())
    return number.select_from(recipient).where(is_so, dialect.OneOf(recipient.c.lane_id, "lanes"))


_IS_LEASED = recipient.c.state == literal_column("'leased'")
_COUNTS = [
    *(counted(state, is_so) for state, is_so in IS.items()),
    counted(RecipientState.LEASED, _IS_LEASED),
]


def waiting_in(states: Sequence[RecipientState], besides: ColumnElement[bool] | None) -> ColumnElement[bool]:
    among: ColumnElement[bool] = recipient.c.state.in_([str(state) for state in states])
    return among if besides is None else among & besides


def begin(means: Means, deed: Deed) -> int:
    """The deed is on record before anything is changed."""
    with means.store.write() as connection:
        return actions.note(connection, deed, new_id=means.new_id, now=means.now())


def _no_lane(_place: Place) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Work:
    """What is done to rows in which states, and which of them are meant beside.

    spares  lanes whose mail is left alone
    """

    action_id: int
    states: Sequence[RecipientState]
    change: Callable[[Connection, Sequence[Any]], None]
    besides: ColumnElement[bool] | None = None
    spares: Callable[[Place], bool] = _no_lane

    def apply(self, connection: Connection, rows: Sequence[Any]) -> int:
        if rows:
            self.change(connection, rows)
            actions.grow(connection, self.action_id, len(rows))
        return len(rows)


def run(means: Means, wanted: Selection, work: Work, most: int | None) -> Done:
    changed, has_more = 0, False
    for n in _changes(means, wanted, work):
        changed += n
        has_more = most is not None and changed >= most
        if has_more:
            break
    return Done(work.action_id, changed, extent(means, wanted).under_way, has_more)


def _changes(means: Means, wanted: Selection, work: Work) -> Iterator[int]:
    """How many each transaction changed."""
    if wanted.names_rows:
        yield _change_named(means, wanted, work)
        return
    for page in places(means.store, wanted, means.site_of):
        lane_ids = [place.lane_id for place in page if not work.spares(place)]
        for start in range(0, len(lane_ids), _LANES_AT_ONCE):
            for state in work.states:
                yield from _change_lanes(means, lane_ids[start : start + _LANES_AT_ONCE], state, work)


def _change_named(means: Means, wanted: Selection, work: Work) -> int:
    """A message has few recipients: one transaction."""
    meant = waiting_in(work.states, work.besides)
    with means.store.write() as connection:
        rows = _rows_named(connection, means, wanted, meant, locked=True)
        there = _places(connection, {row.lane_id for row in rows}, means.site_of)
        return work.apply(connection, [row for row in rows if not work.spares(there[row.lane_id])])


def _rows_named(
    connection: Connection,
    means: Means,
    wanted: Selection,
    meant: ColumnElement[bool],
    *,
    locked: bool = False,
) -> Sequence[Any]:
    found = select(*_COLUMNS).where(meant).order_by(recipient.c.id)
    if wanted.message_id is not None:
        found = found.where(recipient.c.message_id == wanted.message_id)
    if wanted.recipient_id is not None:
        found = found.where(recipient.c.id == wanted.recipient_id)
    if wanted.tenant_id is not None:
        found = found.where(recipient.c.tenant_id == wanted.tenant_id)
    rows = connection.execute(found.with_for_update(skip_locked=True) if locked else found).all()
    there = _places(connection, {row.lane_id for row in rows}, means.site_of)
    return [row for row in rows if wanted.takes(there[row.lane_id])]


def _places(connection: Connection, lane_ids: set[int], site_of: SiteOf) -> Mapping[int, Place]:
    rows = connection.execute(PLACES.where(lane.c.id.in_(lane_ids)))
    return {row.id: place_of(row, site_of) for row in rows}


def _change_lanes(means: Means, lane_ids: Sequence[int], state: RecipientState, work: Work) -> Iterator[int]:
    """Lane by lane and up by id, so that what is left alone is looked at once."""
    statement = _waiting(state, work.besides)
    with means.store.read() as connection:
        busy = connection.execute(_WITH_MAIL[state], {"lanes": dialect.listed(connection, lane_ids)})
        cursors = iter([_Cursor(lane_id) for lane_id in busy.scalars()])
    at = next(cursors, None)
    while at is not None:
        with means.store.write() as connection:
            rows: list[Any] = []
            while at is not None and len(rows) < AT_ONCE:
                rows += at.read(connection, statement, AT_ONCE - len(rows))
                at = at if at.has_more else next(cursors, None)
            changed = work.apply(connection, rows)
        yield changed


_WITH_MAIL = {
    state: select(lane.c.id)
    .where(
        dialect.OneOf(lane.c.id, "lanes"),
        select(recipient.c.id).where(is_so, recipient.c.lane_id == lane.c.id).exists(),
    )
    .order_by(lane.c.id)
    for state, is_so in IS.items()
}


def _waiting(state: RecipientState, besides: ColumnElement[bool] | None) -> Rows:
    found = select(*_COLUMNS).where(
        IS[state], recipient.c.lane_id == bindparam("lane"), recipient.c.id > bindparam("after")
    )
    if besides is not None:
        found = found.where(besides)
    return found.order_by(recipient.c.id).limit(bindparam("most")).with_for_update(skip_locked=True)


class _Cursor:
    """Where in a lane the work stands."""

    def __init__(self, lane_id: int) -> None:
        self._lane_id = lane_id
        self._after = 0
        self.has_more = True

    def read(self, connection: Connection, statement: Rows, most: int) -> Sequence[Any]:
        values = {"lane": self._lane_id, "after": self._after, "most": most}
        rows = connection.execute(statement, values).all()
        self.has_more = len(rows) == most
        if rows:
            self._after = rows[-1].id
        return rows
