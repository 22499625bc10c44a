"""What was heard of a recipient becomes an entry, something to remember, or a case for the operator.

Called in the transaction that settles an attempt or processes what came back, so that the event and the
entry stand together or not at all. The decision is policy's; here its history is read, and what it decided
is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, bindparam, case, delete, func, literal_column, select, tuple_

from mailer.events import RecipientState
from mailer.ids import IdMaker
from mailer.policy.suppression import (
    History,
    Memory,
    Remember,
    Review,
    Run,
    Said,
    Scope,
    Suppress,
    decide,
    is_simulated,
    needs_history,
)
from mailer.policy.suppressionkey import Keys, Target, canonical
from mailer.queue import suppressionentries as entries
from mailer.queue import suppressionstorms as storms
from mailer.queue.suppressing import EVERY_STREAM
from mailer.queue.suppressionentries import Entry
from mailer.store import Store, dialect
from mailer.store.bare import Hot, bare, names_of
from mailer.store.tables import feedback, recipient, suppression_memory
from mailer.store.types import from_microseconds, to_microseconds

_RECENT = 200  # messages to an address that are looked at for a delivery


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What was heard of a recipient.

    address     forward-path as the message was sent to it, not as a report spells it
    stream_id   of its message
    said        what it was taken to mean
    keys        make the hashes that entries are found by
    site        that answered, or that the address belongs to; None: not known
    attempt_id  whose reply it was; None: it was no reply
    report_id   the returned mail that it came with; None: with none
    words       the peer's
    """

    recipient_id: int
    message_id: int
    tenant_id: int
    stream_id: int
    address: str
    said: Said
    keys: Keys = field(repr=False)
    site: str | None = None
    attempt_id: int | None = None
    report_id: int | None = None
    words: str | None = None

    @property
    def cause(self) -> str:
        if self.attempt_id is not None:
            return entries.REPLY
        return entries.REPORT if self.report_id is not None else entries.LINK


def apply(connection: Connection, heard: Heard, new_id: IdMaker, now: datetime) -> bool:
    """Does what follows; True if its recipient or domain is suppressed from now on, and was not before.

    The caller has proved that it was heard of this very recipient: by the reply of the host that it was
    offered to, a good token, or the signature of a feedback provider.
    """
    return bool(apply_all(connection, [heard], new_id, now))


def apply_all(connection: Connection, heard: Sequence[Heard], new_id: IdMaker, now: datetime) -> int:
    """As `apply`, for what was heard at once; returns how many entries were made.

    In the order of their hashes, so that two transactions never wait for each other in a circle.
    """
    matters = [one for one in heard if needs_history(one.said) and not is_simulated(one.address)]
    if not matters:
        return 0
    entries.own(connection, sorted({one.tenant_id for one in matters}))
    placed = sorted(
        ((one.keys.address(one.address), one) for one in matters),
        key=lambda pair: (pair[0].key_hash, pair[1].tenant_id, pair[1].recipient_id),
    )
    weather = storms.Weather(connection, now)
    # Storms are locked before any entry: what begins one takes back entries of others.
    for one in sorted(matters, key=lambda one: one.site or ""):
        weather.is_storm(one.site, one.said)
    return sum(_apply(connection, target, one, weather, new_id) for target, one in placed)


def _apply(
    connection: Connection, address: Target, heard: Heard, weather: storms.Weather, new_id: IdMaker
) -> bool:
    now = weather.now
    domain = heard.keys.domain(address.domain)
    history = _history(connection, address, domain, heard, weather)
    match decide(heard.said, history, now):
        case Remember(memory, restart):
            target = domain if memory is Memory.INVALID_DOMAIN else address
            _remember(connection, target, heard, memory, restart=restart, now=now)
        case Suppress() as wanted:
            entry = _entry(wanted, domain if wanted.is_domain else address, heard, new_id(), now=now)
            return entries.add(connection, [entry], new_id) == 1
        case Review(wanted):
            entry = _entry(wanted, domain if wanted.is_domain else address, heard, new_id(), now=now)
            storms.keep_for_review(connection, entry)
        case _:
            pass
    return False


def _entry(wanted: Suppress, target: Target, heard: Heard, entry_id: int, *, now: datetime) -> Entry:
    return Entry(
        target=target,
        tenant_id=heard.tenant_id,
        stream_id=heard.stream_id if wanted.scope is Scope.STREAM else EVERY_STREAM,
        id=entry_id,
        reason=wanted.reason,
        cause=heard.cause,
        recipient_id=heard.recipient_id,
        attempt_id=heard.attempt_id,
        report_id=heard.report_id,
        site=heard.site,
        words=heard.words,
        created_at=now,
        expires_at=None if wanted.lasts is None else now + wanted.lasts,
    )


_MEMORY = bare(suppression_memory)
_MEMORIES = Hot(
    select(
        _MEMORY.c.memory, _MEMORY.c.count, _MEMORY.c.message_id, _MEMORY.c.first_at, _MEMORY.c.last_at
    ).where(dialect.OneOf(_MEMORY.c.key_hash, "hashes"), _MEMORY.c.tenant_id == bindparam("tenant"))
)


def _history(
    connection: Connection, address: Target, domain: Target, heard: Heard, weather: storms.Weather
) -> History:
    values = {
        "hashes": dialect.listed(connection, [address.key_hash, domain.key_hash]),
        "tenant": heard.tenant_id,
    }
    runs = {
        memory: Run(
            count=count - (message_id == heard.message_id),
            first_at=from_microseconds(first),
            last_at=from_microseconds(last),
        )
        for memory, count, message_id, first, last in _MEMORIES.rows(connection, values)
    }
    return History(
        delivered_at=_delivered_at(connection, heard),
        hard=runs.get(Memory.HARD_BOUNCE),
        full=runs.get(Memory.MAILBOX_FULL),
        no_domain=runs.get(Memory.INVALID_DOMAIN),
        is_storm=weather.is_storm(heard.site, heard.said),
    )


_RECIPIENT, _FEEDBACK = bare(recipient), bare(feedback)
_LATEST = (
    select(_RECIPIENT.c.state, _RECIPIENT.c.settled_at)
    .where(
        _RECIPIENT.c.tenant_id == bindparam("tenant"),
        _RECIPIENT.c.address == bindparam("address"),
        # What came back later was taken for delivered, and was not; this one is heard of now.
        _RECIPIENT.c.id != bindparam("me"),
        ~select(_FEEDBACK.c.recipient_id)
        .where(_FEEDBACK.c.recipient_id == _RECIPIENT.c.id, _FEEDBACK.c.type == literal_column("'bounced'"))
        .exists(),
    )
    .order_by(_RECIPIENT.c.message_id.desc())
    .limit(literal_column(str(_RECENT)))
    .subquery()
)
_DELIVERED = Hot(select(func.max(_LATEST.c.settled_at)).where(_LATEST.c.state == RecipientState.DELIVERED))


def _delivered_at(connection: Connection, heard: Heard) -> datetime | None:
    """Of what is kept of the last messages to it."""
    spellings = {heard.address, canonical(heard.address)}
    found = [
        row[0] for address in spellings for row in _DELIVERED.rows(connection, _latest_of(heard, address))
    ]
    latest = max((at for at in found if at is not None), default=None)
    return None if latest is None else from_microseconds(latest)


def _latest_of(heard: Heard, address: str) -> dict[str, object]:
    return {"tenant": heard.tenant_id, "address": address, "me": heard.recipient_id}


def _remembering(*, restart: bool) -> Hot:
    new = dialect.upsert(_MEMORY)
    is_other = _MEMORY.c.message_id != new.excluded.message_id
    changed = {
        "count": literal_column("1") if restart else _MEMORY.c.count + case((is_other, 1), else_=0),
        "message_id": new.excluded.message_id,
        "last_at": new.excluded.last_at,
    }
    if restart:
        changed["first_at"] = new.excluded.first_at
    key = ["key_hash", "tenant_id", "memory"]
    return Hot(new.on_conflict_do_update(index_elements=key, set_=changed), names_of(suppression_memory))


_REMEMBER, _REMEMBER_ANEW = _remembering(restart=False), _remembering(restart=True)


def _remember(
    connection: Connection, target: Target, heard: Heard, memory: Memory, *, restart: bool, now: datetime
) -> None:
    at = to_microseconds(now)
    row = {
        "key_hash": target.key_hash,
        "tenant_id": heard.tenant_id,
        "memory": memory,
        "count": 1,
        "message_id": heard.message_id,
        "first_at": at,
        "last_at": at,
    }
    (_REMEMBER_ANEW if restart else _REMEMBER).many(connection, [row])


def forget(store: Store, *, before: datetime, most: int = 1000) -> int:
    """Drops what was heard last before then; returns how many."""
    c = suppression_memory.c
    key = (c.key_hash, c.tenant_id, c.memory)
    old = select(*key).where(c.last_at < before).limit(most)
    with store.read() as connection:
        found = connection.execute(old).all()
    if not found:
        return 0
    with store.write() as connection:
        gone = delete(suppression_memory).where(tuple_(*key).in_([tuple(row) for row in found]))
        return connection.execute(gone.where(c.last_at < before)).rowcount
