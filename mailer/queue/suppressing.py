"""Stopping mail for those who are not to get any: looked up where it is accepted, and whenever it is claimed.

One indexed look-up for all recipients of a group, however long the lists are; none for tenants that never
had an entry. Whoever is stopped reaches the final state `suppressed`, with its event, counted like any
other end.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, or_, select

from mailer import ids
from mailer.events import EventType, RecipientState
from mailer.ids import IdMaker
from mailer.policy import notices
from mailer.policy.suppressionkey import Keys
from mailer.queue import counting, ending
from mailer.queue.ending import Ending
from mailer.queue.owing import Owed, owe
from mailer.queue.telling import tell
from mailer.store import dialect
from mailer.store.bare import Hot, as_json, bare, names_of
from mailer.store.tables import suppressed, suppression, suppression_owner
from mailer.store.types import to_microseconds

EVERYBODY = 0  # the tenant of the operator's own entries
EVERY_STREAM = 0
ROLE = "role-account"
STATUS = "5.7.1"  # RFC 3463 §3.8: delivery not authorized
_NO_ENTRY = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """A recipient. address: forward-path as it goes on the wire."""

    recipient_id: int
    tenant_id: int
    stream_id: int
    address: str


@dataclass(frozen=True, slots=True, order=True)
class Stop:
    """Why a recipient gets nothing: the entry that covers it, and its reason.

    suppression_id  0: no entry does, it is an address of a task
    """

    suppression_id: int
    reason: str

    @property
    def words(self) -> str:
        if self.reason == ROLE:
            return f"{STATUS} not sent: an address of a task, which broadcast mail does not go to"
        return f"{STATUS} not sent: it is on the suppression list ({self.reason})"

    @property
    def said(self) -> Mapping[str, str]:
        """As events say it."""
        return {"reason": self.reason, **self.facts}

    @property
    def facts(self) -> Mapping[str, str]:
        return {"suppression_id": ids.show("sup", self.suppression_id)} if self.suppression_id else {}


ROLE_ACCOUNT = Stop(_NO_ENTRY, ROLE)


@dataclass(frozen=True, slots=True)
class Suppressing:
    """What stopping mail takes. keys: make the hashes that entries are found by."""

    keys: Keys
    process_number: int


_OWNER, _ENTRY = bare(suppression_owner), bare(suppression)
_OWNERS = Hot(select(_OWNER.c.tenant_id).where(dialect.OneOf(_OWNER.c.tenant_id, "tenants")))
_COVERING = Hot(
    select(_ENTRY.c.key_hash, _ENTRY.c.tenant_id, _ENTRY.c.stream_id, _ENTRY.c.id, _ENTRY.c.reason).where(
        dialect.OneOf(_ENTRY.c.key_hash, "hashes"),
        or_(_ENTRY.c.expires_at.is_(None), _ENTRY.c.expires_at > bindparam("now")),
    )
)
_NOTE = Hot(dialect.upsert(bare(suppressed)).on_conflict_do_nothing(), names_of(suppressed))


def having_lists(connection: Connection, tenant_ids: Collection[int]) -> Collection[int]:
    """Those of the tenants whose recipients must be looked up."""
    wanted = {"tenants": dialect.listed(connection, {*tenant_ids, EVERYBODY})}
    owners = {row[0] for row in _OWNERS.rows(connection, wanted)}
    return tenant_ids if EVERYBODY in owners else owners


def stops(connection: Connection, keys: Keys, asked: Iterable[Asked], *, now: datetime) -> dict[int, Stop]:
    """Those of the recipients that an entry covers now, by id."""
    hashes = {one: keys.covering(one.address) for one in asked}
    if not hashes:
        return {}
    wanted = {key_hash for found in hashes.values() for key_hash in found}
    values = {"hashes": dialect.listed(connection, wanted), "now": to_microseconds(now)}
    entries: dict[str, list[tuple[int, int, Stop]]] = defaultdict(list)
    for key_hash, tenant_id, stream_id, entry_id, reason in _COVERING.rows(connection, values):
        entries[key_hash].append((tenant_id, stream_id, Stop(entry_id, reason)))
    if not entries:
        return {}
    found = {one.recipient_id: _covering(one, own, entries) for one, own in hashes.items()}
    return {recipient_id: stop for recipient_id, stop in found.items() if stop is not None}


def _covering(
    one: Asked, hashes: Sequence[str], entries: Mapping[str, Sequence[tuple[int, int, Stop]]]
) -> Stop | None:
    """The oldest, so that the same one is named wherever it is met."""
    tenants, streams = (one.tenant_id, EVERYBODY), (one.stream_id, EVERY_STREAM)
    return min(
        (
            stop
            for key_hash in hashes
            for tenant_id, stream_id, stop in entries.get(key_hash, ())
            if tenant_id in tenants and stream_id in streams
        ),
        default=None,
    )


def note(connection: Connection, stopped: Mapping[int, Stop]) -> None:
    """Keeps which entry stopped which recipient, to send it again if the entry was wrong."""
    rows = [
        {"recipient_id": recipient_id, "suppression_id": stop.suppression_id}
        for recipient_id, stop in sorted(stopped.items())
        if stop.suppression_id
    ]
    if rows:
        _NOTE.many(connection, rows)


def end(
    connection: Connection,
    rows: Sequence[Any],
    stopped: Mapping[int, Stop],
    *,
    new_id: IdMaker,
    process_number: int,
    now: datetime,
) -> None:
    """Ends those of `rows` that are among the stopped; this transaction holds them, waiting (ending.py)."""
    by_stop: dict[Stop, list[Any]] = defaultdict(list)
    for row in rows:
        if row.id in stopped:
            by_stop[stopped[row.id]].append(row)
    for stop in sorted(by_stop):
        ending.end_waiting(
            connection,
            by_stop[stop],
            Ending(
                RecipientState.SUPPRESSED,
                EventType.SUPPRESSED,
                stop.reason,
                stop.words,
                status=STATUS,
                facts=stop.facts,
            ),
            new_id=new_id,
            process_number=process_number,
            now=now,
        )
    note(connection, {row.id: stopped[row.id] for found in by_stop.values() for row in found})


def tell_at_once(
    connection: Connection,
    rows: Sequence[Mapping[str, Any]],
    stopped: Mapping[int, Stop],
    *,
    new_id: IdMaker,
    process_number: int,
    now: datetime,
) -> None:
    """What belongs to rows of recipients that were inserted as suppressed: events, DSNs, usage."""
    told = [
        {
            "id": new_id(),
            "tenant_id": row["tenant_id"],
            "type": EventType.SUPPRESSED,
            "message_id": row["message_id"],
            "recipient_id": row["id"],
            "version": row["version"],
            "at": to_microseconds(now),
            "data": as_json({"attempt": 0, "status": STATUS, **stop.said}),
        }
        for row in rows
        for stop in (stopped[row["id"]],)
    ]
    tell(connection, told)
    kinds = [(row, notices.owed(row["notify"], EventType.SUPPRESSED)) for row in rows]
    dsns = [Owed(row["id"], kind, row["tenant_id"], row["message_id"]) for row, kind in kinds if kind]
    owe(connection, dsns, now=now)
    numbers = Counter(row["tenant_id"] for row in rows)
    used = {tenant_id: {"suppressed": n} for tenant_id, n in numbers.items()}
    counting.add(connection, used, process_number=process_number, now=now)
    note(connection, {row["id"]: stopped[row["id"]] for row in rows})
