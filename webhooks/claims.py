"""A caller takes callbacks that are due, and settles what it heard of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, and_, bindparam, literal_column, select, update

from mailer.shown import Event
from mailer.store import Store
from mailer.store.bare import Hot, bare, names_of
from mailer.store.tables import event, webhook_attempt, webhook_callback, webhook_endpoint
from mailer.store.types import from_microseconds, to_microseconds
from webhooks.payload import TEST

# Whether this process may still write, kept so until the transaction ends (mailer.queue.incarnations).
Hold = Callable[[Connection], bool]


class Fenced(Exception):
    """This process was declared dead: what it holds is somebody else's now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A callback that this process holds.

    attempts           made so far
    secret, old_secret  sealed; old_secret also signs until old_until, None if there is none
    event              None where the retention has dropped it
    """

    id: int
    endpoint_id: int
    url: str
    attempts: int
    secret: bytes
    old_secret: bytes | None
    old_until: datetime | None
    event: Event | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """How one attempt ended.

    status   of the HTTP answer; None without one
    cause    why there was none, or what is wrong with it; None for a 2xx
    due_at   of the next attempt; None: this was the last
    gone     the endpoint wants no more calls
    """

    claimed: Claimed
    at: datetime
    duration_ms: int
    status: int | None
    cause: str | None
    due_at: datetime | None
    gone: bool = False

    @property
    def state(self) -> str:
        if self.cause is None:
            return "delivered"
        return "given_up" if self.due_at is None else "due"


_CALLBACK, _ENDPOINT, _EVENT = bare(webhook_callback), bare(webhook_endpoint), bare(event)
_IS_DUE = and_(_CALLBACK.c.state == literal_column("'due'"), _CALLBACK.c.due_at <= bindparam("now"))
_IS_ACTIVE = _ENDPOINT.c.state == literal_column("'active'")
_WAITING = Hot(
    select(_ENDPOINT.c.id)
    .where(
        _IS_ACTIVE,
        select(_CALLBACK.c.id).where(_CALLBACK.c.endpoint_id == _ENDPOINT.c.id, _IS_DUE).exists(),
    )
    .order_by(_ENDPOINT.c.id)
)
_DUE = Hot(
    select(
        *(_CALLBACK.c[name] for name in ("id", "endpoint_id", "event_number", "attempts", "created_at")),
        *(_ENDPOINT.c[name] for name in ("url", "secret", "old_secret", "old_until")),
        *(_EVENT.c[name] for name in ("id", "type", "at", "message_id", "recipient_id", "version", "data")),
    )
    .join(_ENDPOINT, _ENDPOINT.c.id == _CALLBACK.c.endpoint_id)
    .outerjoin(
        _EVENT,
        and_(_EVENT.c.tenant_id == _CALLBACK.c.tenant_id, _EVENT.c.number == _CALLBACK.c.event_number),
    )
    .where(_CALLBACK.c.endpoint_id == bindparam("endpoint"), _IS_DUE, _IS_ACTIVE)
    .order_by(_CALLBACK.c.due_at, _CALLBACK.c.id)
    .limit(bindparam("most"))
    .with_for_update(of=_CALLBACK, skip_locked=True)
)
_TAKE = Hot(
    update(_CALLBACK)
    .where(_CALLBACK.c.id == bindparam("callback"), _CALLBACK.c.state == literal_column("'due'"))
    .values(state="held", holder=bindparam("me"))
)
_SETTLE = Hot(
    update(_CALLBACK)
    .where(
        _CALLBACK.c.id == bindparam("callback"),
        _CALLBACK.c.state == literal_column("'held'"),
        _CALLBACK.c.holder == bindparam("me"),
    )
    .values(
        state=bindparam("to_state"),
        due_at=bindparam("to_due"),
        holder=None,
        attempts=_CALLBACK.c.attempts + 1,
        settled_at=bindparam("to_settled"),
    )
)
_NOTE = Hot(bare(webhook_attempt).insert(), names_of(webhook_attempt))
_DISABLE = Hot(
    update(_ENDPOINT)
    # Its tenant may have given it another URL meanwhile, which said nothing of the kind.
    .where(_ENDPOINT.c.id == bindparam("endpoint"), _ENDPOINT.c.url == bindparam("called"), _IS_ACTIVE)
    .values(state="disabled")
)


def waiting(store: Store, *, now: datetime) -> list[int]:
    """Active endpoints with a callback due now: one index probe each, however long their backlogs are."""
    with store.read() as connection:
        return [row[0] for row in _WAITING.rows(connection, {"now": to_microseconds(now)})]


def claim(store: Store, me: int, hold: Hold, quotas: Mapping[int, int], *, now: datetime) -> list[Claimed]:
    """Callbacks of these endpoints that are due, those that have been for longest first, now held by `me`.

    quotas  endpoint id to the most callbacks to take of it

    Raises Fenced. After it commits, a crash leaves them held by a dead incarnation, to be released.
    """
    with store.write() as connection:
        if not hold(connection):
            raise Fenced
        claimed: list[Claimed] = []
        for endpoint_id, most in quotas.items():
            wanted = {"endpoint": endpoint_id, "most": most, "now": to_microseconds(now)}
            claimed += [_claimed(row) for row in _DUE.rows(connection, wanted)]
        if claimed:
            _TAKE.many(connection, [{"callback": c.id, "me": me} for c in claimed])
        return claimed


def _claimed(row: Sequence[Any]) -> Claimed:
    """A row of _DUE; instants come as microseconds."""
    callback_id, endpoint_id, number, attempts, created_at, url, secret, old_secret, old_until, *told = row
    return Claimed(
        id=callback_id,
        endpoint_id=endpoint_id,
        url=url,
        attempts=attempts,
        secret=bytes(secret),
        old_secret=None if old_secret is None else bytes(old_secret),
        old_until=None if old_until is None else from_microseconds(old_until),
        event=_event(number, told) if number else _sample(callback_id, from_microseconds(created_at)),
    )


def _event(number: int, told: Sequence[Any]) -> Event | None:
    event_id, kind, at, message_id, recipient_id, version, data = told
    if event_id is None:
        return None
    return Event(
        number=number,
        id=event_id,
        type=kind,
        at=from_microseconds(at),
        message_id=message_id,
        recipient_id=recipient_id,
        version=version,
        data=msgspec.json.decode(data),
    )


def _sample(callback_id: int, at: datetime) -> Event:
    """What a test tells: an event of nobody, which is in no log."""
    return Event(
        number=None, id=callback_id, type=TEST, at=at, message_id=None, recipient_id=None, version=0, data={}
    )


def let_go(store: Store, me: int, *, besides: Collection[int]) -> int:
    """What `me` holds is due again, but for `besides`; returns how many."""
    mine = webhook_callback.c.state == literal_column("'held'"), webhook_callback.c.holder == me
    freed = update(webhook_callback).where(*mine, webhook_callback.c.id.not_in(besides))
    with store.write() as connection:
        return connection.execute(freed.values(state="due", holder=None)).rowcount


def settle(store: Store, me: int, hold: Hold, ended: Sequence[Settled], *, new_id: Callable[[], int]) -> int:
    """Moves what `me` still holds and notes each attempt; returns how many moved.

    Repeating it moves nothing twice; of a callback that was deleted meanwhile nothing is noted.
    Raises Fenced, then nothing was written.
    """
    with store.write() as connection:
        if not hold(connection):
            raise Fenced
        moved = [one for one in ended if _SETTLE.run(connection, _move(me, one))]
        if moved:
            _NOTE.many(connection, [_attempt(new_id(), one) for one in moved])
        for one in moved:
            if one.gone:
                _DISABLE.run(connection, {"endpoint": one.claimed.endpoint_id, "called": one.claimed.url})
        return len(moved)


def _move(me: int, one: Settled) -> dict[str, Any]:
    at = to_microseconds(one.at)
    return {
        "callback": one.claimed.id,
        "me": me,
        "to_state": one.state,
        "to_due": at if one.due_at is None else to_microseconds(one.due_at),
        "to_settled": None if one.state == "due" else at,
    }


def _attempt(attempt_id: int, one: Settled) -> dict[str, Any]:
    return {
        "id": attempt_id, "callback_id": one.claimed.id, "endpoint_id": one.claimed.endpoint_id,
        "at": to_microseconds(one.at), "duration_ms": one.duration_ms, "status": one.status,
        "cause": one.cause,
    }  # fmt: skip
