"""A tenant's streams: kinds of mail that are kept apart, each with its own answer to doubt.

A stream is never deleted, since accepted messages refer to it. Archived, it takes nothing more, and what
waits in it is delivered.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, func, select, update

from mailer.identity import asking
from mailer.identity.asking import Asker
from mailer.identity.names import BadName, NameTaken, NotNow, TooMany, Unknown
from mailer.identity.rights import Rights
from mailer.store import Store, dialect
from mailer.store.tables import stream

ACTIVE, ARCHIVED = "active", "archived"
OPPORTUNISTIC = "opportunistic"  # of TLS: null in the database
KEEP, REFUSE = "keep", "refuse"  # of a message's own List-Unsubscribe; keep: null in the database
DEFAULT = "transactional"  # what is sent to when none is named
# Every acceptance reads the tenant's streams.
MOST = 100
NAME_PATTERN = "[a-z0-9][a-z0-9_-]{0,99}"
_NAME = re.compile(NAME_PATTERN)
_COLUMNS = (
    "name", "kind", "in_doubt", "tls", "expires_after", "own_unsubscribe", "role_accounts", "state",
    "created_at",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stream:
    """kind: transactional | broadcast. in_doubt: retry | give-up. state: active | archived.

    tls            encrypted | required, or opportunistic: what the recipients' domains demand
    expires_after  seconds after its send time at which a message without a deadline of its own is of no more
                   use; 0: as long as it is retried
    own_unsubscribe
                   keep | refuse: what becomes of a message that brings List-Unsubscribe fields of its own
    role_accounts  broadcast mail goes to addresses of tasks, such as postmaster@ or no-reply@, too
    """

    name: str
    kind: str
    in_doubt: str
    tls: str
    expires_after: int
    own_unsubscribe: str
    role_accounts: bool
    state: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class NewStream:
    name: str
    kind: str
    in_doubt: str
    tls: str = OPPORTUNISTIC
    expires_after: int = 0
    own_unsubscribe: str = KEEP
    role_accounts: bool = False


@dataclass(frozen=True, slots=True)
class StreamChange:
    """None: stays as it is."""

    in_doubt: str | None = None
    tls: str | None = None
    expires_after: int | None = None
    own_unsubscribe: str | None = None
    role_accounts: bool | None = None


def listed(store: Store, tenant_id: int) -> list[Stream]:
    """The tenant's streams, the oldest first, the archived too."""
    with store.read() as connection:
        return [_stream(row) for row in connection.execute(_of(tenant_id).order_by(stream.c.id))]


def one(store: Store, tenant_id: int, name: str) -> Stream:
    """Raises Unknown."""
    with store.read() as connection:
        return _find(connection, tenant_id, name)


def id_of(store: Store, tenant_id: int, name: str) -> int:
    """Raises Unknown."""
    with store.read() as connection:
        _find(connection, tenant_id, name)
        wanted = select(stream.c.id).where(stream.c.tenant_id == tenant_id, stream.c.name == name)
        return int(connection.execute(wanted).scalar_one())


def ids_of(store: Store, tenant_id: int) -> dict[str, int]:
    """Of all streams of the tenant, by name."""
    found = select(stream.c.name, stream.c.id).where(stream.c.tenant_id == tenant_id)
    with store.read() as connection:
        return {name: stream_id for name, stream_id in connection.execute(found)}


def create(store: Store, asker: Asker, new: NewStream, *, new_id: Callable[[], int], now: datetime) -> Stream:
    """Messages may be sent to it from now on. Raises BadName, NameTaken, NotAllowed, TooMany."""
    if not _NAME.fullmatch(new.name):
        raise BadName("a stream's name has 1 to 100 of a-z, 0-9, _ and -", at=("name",))
    with store.write() as connection:
        _admit(connection, asker, new.name, now)
        number = select(func.count()).where(stream.c.tenant_id == asker.tenant_id)
        if connection.execute(number).scalar_one() >= MOST:
            raise TooMany(f"a tenant may have {MOST} streams, archived ones among them")
        values = {
            "id": new_id(), "tenant_id": asker.tenant_id, "name": new.name, "kind": new.kind,
            "in_doubt": new.in_doubt, "tls": _but(OPPORTUNISTIC, new.tls), "state": ACTIVE, "created_at": now,
            "expires_after": new.expires_after or None, "own_unsubscribe": _but(KEEP, new.own_unsubscribe),
            "role_accounts": new.role_accounts,
        }  # fmt: skip
        insert = dialect.insert(connection, stream).values(values).on_conflict_do_nothing()
        if connection.execute(insert.returning(stream.c.id)).first() is None:
            state = _find(connection, asker.tenant_id, new.name).state
            raise NameTaken(f"there is an {state} stream {new.name!r} already", at=("name",))
        return _find(connection, asker.tenant_id, new.name)


def change(store: Store, asker: Asker, name: str, change: StreamChange, *, now: datetime) -> Stream:
    """From the next attempt on; expires_after and own_unsubscribe for what is accepted then.

    Raises NotAllowed, Unknown.
    """
    values: dict[str, str | int | None] = {}
    if change.in_doubt is not None:
        values["in_doubt"] = change.in_doubt
    if change.tls is not None:
        values["tls"] = _but(OPPORTUNISTIC, change.tls)
    if change.expires_after is not None:
        values["expires_after"] = change.expires_after or None
    if change.own_unsubscribe is not None:
        values["own_unsubscribe"] = _but(KEEP, change.own_unsubscribe)
    if change.role_accounts is not None:
        values["role_accounts"] = change.role_accounts
    return _set(store, asker, name, now, **values)


def _but(default: str, word: str) -> str | None:
    """As the database says it."""
    return None if word == default else word


def archive(store: Store, asker: Asker, name: str, *, now: datetime) -> Stream:
    """It takes nothing more; again is no error. Raises NotAllowed, NotNow (the default one), Unknown."""
    if name == DEFAULT:
        raise NotNow(f"the stream {DEFAULT} cannot be archived: it is what is sent to when none is named")
    return _set(store, asker, name, now, state=ARCHIVED)


def restore(store: Store, asker: Asker, name: str, *, now: datetime) -> Stream:
    """It takes messages again; again is no error. Raises NotAllowed, Unknown."""
    return _set(store, asker, name, now, state=ACTIVE)


def _set(store: Store, asker: Asker, name: str, now: datetime, **values: str | int | None) -> Stream:
    with store.write() as connection:
        _admit(connection, asker, name, now)
        _find(connection, asker.tenant_id, name)
        mine = stream.c.tenant_id == asker.tenant_id, stream.c.name == name
        if values:
            connection.execute(update(stream).where(*mine).values(**values))
        return _find(connection, asker.tenant_id, name)


def _admit(connection: Connection, asker: Asker, name: str, now: datetime) -> None:
    """A key limited to certain streams changes no others."""
    held = asking.admitted(connection, asker, now=now).rights
    asking.require(held, Rights(scopes=(), streams=(name,), domains=held.domains))


def _of(tenant_id: int) -> Select[Any]:
    return select(*(stream.c[name] for name in _COLUMNS)).where(stream.c.tenant_id == tenant_id)


def _stream(row: Any) -> Stream:
    name, kind, in_doubt, tls, expires_after, own_unsubscribe, role_accounts, state, created_at = row
    return Stream(
        name, kind, in_doubt, tls or OPPORTUNISTIC, expires_after or 0, own_unsubscribe or KEEP,
        role_accounts, state, created_at,
    )  # fmt: skip


def _find(connection: Connection, tenant_id: int, name: str) -> Stream:
    row = connection.execute(_of(tenant_id).where(stream.c.name == name)).first()
    if row is None:
        raise Unknown("this tenant has no such stream")
    return _stream(row)
