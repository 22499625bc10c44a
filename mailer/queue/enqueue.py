"""Accepting: a group of submissions becomes durable in one transaction, all or none of a submission.

Doors queue on no shared row here. Missing lanes are inserted sorted, so that two doors never wait for
each other in a circle; usage goes to the process's own row. A repeated idempotency key loses at its
unique (tenant, key) and writes nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, select, tuple_

from mailer.events import EventType, RecipientState, WaitReason
from mailer.ids import IdMaker
from mailer.policy.suppressionkey import canonical
from mailer.queue import bodies, counting, suppressing
from mailer.queue.suppressing import Stop
from mailer.queue.telling import tell
from mailer.store import Store, dialect
from mailer.store.bare import Hot, as_json, bare, names_of
from mailer.store.tables import idempotency, lane, message, message_tag, recipient
from mailer.store.types import to_microseconds


class NewRecipient(msgspec.Struct, frozen=True, kw_only=True):
    """address: forward-path as it goes on the wire; domain: its A-label; kind: to, cc or bcc.

    notify, orcpt  what the submitter asked of DSNs (columns of `recipient`); None: nothing
    """

    id: int
    address: str
    domain: str
    kind: str
    notify: str | None = None
    orcpt: str | None = None


class NewContent(msgspec.Struct, frozen=True, kw_only=True):
    """body None: `body_file` names the fsynced file that holds it (mailer/queue/bodies.py).

    body_hash  relaxed, for DKIM; empty: made where it is signed
    """

    headers: bytes
    body: bytes | None
    body_file: str | None
    body_hash: str
    size_bytes: int
    is_8bit: bool
    needs_utf8: bool


class NewMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A submission that was admitted and composed, with the ids it will have.

    tags             distinct words
    idempotency_key  None: the submitter gave none
    response         what is answered, now and to every replay
    tls              what its sender wants of TLS (column of `message`); None: nothing
    unsubscribe      whose List-Unsubscribe fields it bears (column of `message`)
    """

    id: int
    tenant_id: int
    stream_id: int
    domain_id: int
    return_path_domain: str
    header_from: str
    subject: str
    rfc_message_id: str
    content: NewContent
    recipients: tuple[NewRecipient, ...]
    tags: tuple[str, ...]
    metadata: Mapping[str, str]
    door: str
    response: bytes
    mail_from: str | None = None
    ret: str | None = None
    envid: str | None = None
    tls: str | None = None
    unsubscribe: str | None = None
    idempotency_key: str | None = None
    body_sha256: bytes = b""
    due_at: datetime | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Earlier:
    """What an idempotency key already stands for."""

    message_id: int
    body_sha256: bytes
    response: bytes


_NO_POOL = 0
LaneKey = tuple[int, int, str, int]  # tenant, stream, domain, pool that was chosen (0: none)


def lanes_with(connection: Connection, keys: Iterable[LaneKey], new_id: IdMaker) -> dict[LaneKey, int]:
    """Their ids; those missing are inserted, sorted."""
    wanted = sorted(set(keys))
    rows = [
        {"id": new_id(), "tenant_id": t, "stream_id": s, "domain": d, "pool_id": p} for t, s, d, p in wanted
    ]
    connection.execute(dialect.insert(connection, lane).on_conflict_do_nothing(), rows)
    columns = (lane.c.tenant_id, lane.c.stream_id, lane.c.domain, lane.c.pool_id)
    stand = select(*columns, lane.c.id).where(tuple_(*columns).in_(wanted))
    return {(t, s, d, p): i for t, s, d, p, i in connection.execute(stand)}


class LaneBook:
    """The lane ids a process has seen; lanes are never deleted, so what stands here stays true."""

    def __init__(self, limit: int = 200_000) -> None:
        self._ids: dict[tuple[int, int, str], int] = {}
        self._limit = limit

    def ids_of(
        self, connection: Connection, wanted: Iterable[tuple[int, int, str]], new_id: IdMaker
    ) -> dict[tuple[int, int, str], int]:
        """Ids of the (tenant, stream, domain) lanes without a chosen pool; those missing are inserted."""
        keys = set(wanted)
        found = {key: self._ids[key] for key in keys if key in self._ids}
        missing = keys - found.keys()
        if not missing:
            return found
        made = lanes_with(connection, [(*key, _NO_POOL) for key in missing], new_id)
        return found | {key[:3]: lane_id for key, lane_id in made.items()}

    def remember(self, lanes: Mapping[tuple[int, int, str], int]) -> None:
        """Call after commit only: a lane that was rolled back must not be remembered."""
        if len(self._ids) + len(lanes) > self._limit:
            self._ids.clear()
        self._ids.update(lanes)


def claim_keys(
    connection: Connection, messages: Sequence[NewMessage], *, now: datetime
) -> dict[int, Earlier]:
    """Takes the idempotency keys of `messages`; returns those lost, by message id, with what won.

    An insert waits for another door's open transaction on the same key, so the winner is settled
    when this returns. Sorted, so that two doors with the same keys cannot wait in a circle.
    """
    keyed = sorted(
        (m for m in messages if m.idempotency_key is not None),
        key=lambda m: (m.tenant_id, m.idempotency_key or ""),
    )
    if not keyed:
        return {}
    rows = [
        {
            "tenant_id": m.tenant_id,
            "key": m.idempotency_key,
            "body_sha256": m.body_sha256,
            "message_id": m.id,
            "response": m.response.decode(),
            "created_at": to_microseconds(now),
        }
        for m in keyed
    ]
    if _TAKE_KEY.many(connection, rows) == len(rows):
        return {}
    return repeats(connection, keyed)


def repeats(connection: Connection, messages: Sequence[NewMessage]) -> dict[int, Earlier]:
    """Those of `messages` whose idempotency keys stand for another one, by message id, with that."""
    keyed = [m for m in messages if m.idempotency_key is not None]
    if not keyed:
        return {}
    c = idempotency.c
    pairs = [(m.tenant_id, m.idempotency_key) for m in keyed]
    stand = select(c.tenant_id, c.key, c.message_id, c.body_sha256, c.response).where(
        tuple_(c.tenant_id, c.key).in_(pairs)
    )
    winners = {(t, k): Earlier(i, sha, text.encode()) for t, k, i, sha, text in connection.execute(stand)}
    lost = {}
    for m in keyed:
        winner = winners.get((m.tenant_id, m.idempotency_key))
        if winner is not None and winner.message_id != m.id:
            lost[m.id] = winner
    return lost


def insert_messages(
    connection: Connection,
    messages: Sequence[NewMessage],
    *,
    lanes: LaneBook,
    new_id: IdMaker,
    process_number: int,
    now: datetime,
    stopped: Mapping[int, Stop] | None = None,
) -> dict[tuple[int, int, str], int]:
    """Writes the rows of `messages`; returns the lanes used, to be remembered after commit.

    stopped  recipients that get nothing, by id: they are accepted, and at once in their final state
    """
    wanted = {(m.tenant_id, m.stream_id, r.domain) for m in messages for r in m.recipients}
    lane_ids = lanes.ids_of(connection, wanted, new_id)
    content_ids = {m.id: new_id() for m in messages}
    bodies.insert(connection, [_content_row(m, content_ids[m.id]) for m in messages])
    at = to_microseconds(now)
    _INSERT_MESSAGE.many(connection, [_message_row(m, content_ids[m.id], at) for m in messages])
    rows = [_recipient_row(m, r, lane_ids, at) for m in messages for r in m.recipients]
    ended = [_end(row, stopped[row["id"]], at) for row in rows if row["id"] in stopped] if stopped else []
    _INSERT_RECIPIENT.many(connection, rows)
    tags = [{"tenant_id": m.tenant_id, "tag": tag, "message_id": m.id} for m in messages for tag in m.tags]
    if tags:
        _INSERT_TAG.many(connection, tags)
    tell(connection, [_accepted_event(row, new_id(), at) for row in rows])
    counting.count_accepted(connection, messages, process_number=process_number, now=now)
    if stopped and ended:
        suppressing.tell_at_once(
            connection, ended, stopped, new_id=new_id, process_number=process_number, now=now
        )
    return lane_ids


def _end(row: dict[str, Any], stop: Stop, now: int) -> dict[str, Any]:
    row.update(
        state=RecipientState.SUPPRESSED, wait_reason=None, version=2, last_reply=stop.words, settled_at=now
    )
    return row


_INSERT_MESSAGE = Hot(bare(message).insert(), names_of(message))
_INSERT_RECIPIENT = Hot(bare(recipient).insert(), names_of(recipient))
_INSERT_TAG = Hot(bare(message_tag).insert(), names_of(message_tag))
_TAKE_KEY = Hot(dialect.upsert(bare(idempotency)).on_conflict_do_nothing(), names_of(idempotency))
_NO_DATA = as_json({})


def _content_row(m: NewMessage, content_id: int) -> dict[str, Any]:
    c = m.content
    return {
        "id": content_id,
        "headers": c.headers,
        "body": c.body,
        "body_file": c.body_file,
        "body_hash": c.body_hash,
        "size_bytes": c.size_bytes,
        "is_8bit": c.is_8bit,
        "needs_utf8": c.needs_utf8,
    }


def _message_row(m: NewMessage, content_id: int, now: int) -> dict[str, Any]:
    return {
        "id": m.id,
        "tenant_id": m.tenant_id,
        "stream_id": m.stream_id,
        "content_id": content_id,
        "domain_id": m.domain_id,
        "return_path_domain": m.return_path_domain,
        "header_from": m.header_from,
        "subject": m.subject,
        "rfc_message_id": m.rfc_message_id,
        "mail_from": m.mail_from,
        "ret": m.ret,
        "envid": m.envid,
        "tls": m.tls,
        "unsubscribe": m.unsubscribe,
        "door": m.door,
        "recipient_count": len(m.recipients),
        "tags": as_json(m.tags),
        "metadata": as_json(dict(m.metadata)),
        "accepted_at": now,
        "due_at": _microseconds(m.due_at) or now,
    }


def _recipient_row(
    m: NewMessage, r: NewRecipient, lanes: Mapping[tuple[int, int, str], int], now: int
) -> dict[str, Any]:
    due = max(_microseconds(m.due_at) or now, now)
    later = due > now
    return {
        "id": r.id,
        "message_id": m.id,
        "tenant_id": m.tenant_id,
        "lane_id": lanes[m.tenant_id, m.stream_id, r.domain],
        "address": r.address,
        "kind": r.kind,
        "state": RecipientState.DEFERRED if later else RecipientState.QUEUED,
        "wait_reason": WaitReason.SCHEDULED if later else WaitReason.NEW,
        "due_at": due,
        "first_due_at": due,
        "expires_at": _microseconds(m.expires_at),
        "size_bytes": m.content.size_bytes,
        "attempts": 0,
        "holder": None,
        "attempt_id": None,
        "cancel_wanted": False,
        "in_doubt": False,
        "version": 1,
        "last_reply": None,
        "retry_of": None,
        "notify": r.notify,
        "orcpt": r.orcpt,
        "settled_at": None,
        "folded": _folded(r.address),
    }


def _folded(address: str) -> str | None:
    """None: it is written so already."""
    key = canonical(address)
    return None if key == address else key


def _microseconds(at: datetime | None) -> int | None:
    return None if at is None else to_microseconds(at)


def _accepted_event(row: Mapping[str, Any], event_id: int, now: int) -> dict[str, Any]:
    return {
        "id": event_id,
        "tenant_id": row["tenant_id"],
        "type": EventType.ACCEPTED,
        "message_id": row["message_id"],
        "recipient_id": row["id"],
        "version": 1,
        "at": now,
        "data": _NO_DATA,
    }


def reject(store: Store, refusals: Sequence[tuple[int, int, str, str]], *, now: datetime) -> None:
    """Leaves the `rejected` events of refused submissions, (tenant id, event id, fault, detail) each.

    No other row is written; detail holds no address and no content, only what was wrong.
    """
    rows = [
        {
            "id": event_id,
            "tenant_id": tenant_id,
            "type": EventType.REJECTED,
            "message_id": None,
            "recipient_id": None,
            "version": 1,
            "at": to_microseconds(now),
            "data": as_json({"fault": fault, "detail": detail}),
        }
        for tenant_id, event_id, fault, detail in refusals
    ]
    with store.write() as connection:
        tell(connection, rows)


_KEY = bare(idempotency)
_EARLIER = Hot(
    select(_KEY.c.key, _KEY.c.message_id, _KEY.c.body_sha256, _KEY.c.response).where(
        _KEY.c.tenant_id == bindparam("tenant"), dialect.OneOf(_KEY.c.key, "keys")
    )
)


def earlier(store: Store, tenant_id: int, keys: Sequence[str]) -> dict[str, Earlier]:
    """What those of the tenant's idempotency `keys` that were used stand for; it is on disk."""
    with store.read(durable=True) as connection:
        found = _EARLIER.rows(connection, {"tenant": tenant_id, "keys": dialect.listed(connection, keys)})
    return {key: Earlier(i, bytes(sha), text.encode()) for key, i, sha, text in found}


_STANDS = select(message.c.id).where(message.c.id == bindparam("wanted"))


def stands(store: Store, message_id: int) -> bool:
    """Whether the message was committed, asked on a new transaction; for a COMMIT whose answer was lost."""
    with store.read(durable=True) as connection:
        return connection.execute(_STANDS, {"wanted": message_id}).first() is not None
