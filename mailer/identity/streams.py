"""A tenant's streams: kinds of mail that are kept apart, each with its own answer to doubt.

A stream is never deleted, since accepted messages refer to it. Archived, it takes nothing more, and what
waits in it is delivered.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Select, func, select, update

from mailer.identity import asking
from mailer.identity.asking import Asker
from mailer.identity.names import BadName, NameTaken, NotNow, TooMany, Unknown
from mailer.identity.rights import Rights
from mailer.store import Store, dialect
from mailer.store.tables import stream

ACTIVE, ARCHIVED = "active", "archived"
DEFAULT = "transactional"  # what is sent to when none is named
# Every acceptance reads the tenant's streams.
MOST = 100
NAME_PATTERN = "[a-z0-9][a-z0-9_-]{0,99}"
_NAME = re.compile(NAME_PATTERN)


@dataclass(frozen=True, slots=True)
class Stream:
    """kind: transactional | broadcast. in_doubt: retry | give-up. state: active | archived."""

    name: str
    kind: str
    in_doubt: str
    state: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class NewStream:
    name: str
    kind: str
    in_doubt: str


def listed(store: Store, tenant_id: int) -> list[Stream]:
    """The tenant's streams, the oldest first, the archived too."""
    with store.read() as connection:
        return [Stream(*row) for row in connection.execute(_of(tenant_id).order_by(stream.c.id))]


def one(store: Store, tenant_id: int, name: str) -> Stream:
    """Raises Unknown."""
    with store.read() as connection:
        return _find(connection, tenant_id, name)


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
            "in_doubt": new.in_doubt, "state": ACTIVE, "created_at": now,
        }  # fmt: skip
        insert = dialect.insert(connection, stream).values(values).on_conflict_do_nothing()
        if connection.execute(insert.returning(stream.c.id)).first() is None:
            state = _find(connection, asker.tenant_id, new.name).state
            raise NameTaken(f"there is an {state} stream {new.name!r} already", at=("name",))
        return _find(connection, asker.tenant_id, new.name)


def change(store: Store, asker: Asker, name: str, *, in_doubt: str, now: datetime) -> Stream:
    """What follows an unheard final dot, from the next attempt on. Raises NotAllowed, Unknown."""
    return _set(store, asker, name, now, in_doubt=in_doubt)


def archive(store: Store, asker: Asker, name: str, *, now: datetime) -> Stream:
    """It takes nothing more; again is no error. Raises NotAllowed, NotNow (the default one), Unknown."""
    if name == DEFAULT:
        raise NotNow(f"the stream {DEFAULT} cannot be archived: it is what is sent to when none is named")
    return _set(store, asker, name, now, state=ARCHIVED)


def restore(store: Store, asker: Asker, name: str, *, now: datetime) -> Stream:
    """It takes messages again; again is no error. Raises NotAllowed, Unknown."""
    return _set(store, asker, name, now, state=ACTIVE)


def _set(store: Store, asker: Asker, name: str, now: datetime, **values: str) -> Stream:
    with store.write() as connection:
        _admit(connection, asker, name, now)
        _find(connection, asker.tenant_id, name)
        mine = stream.c.tenant_id == asker.tenant_id, stream.c.name == name
        connection.execute(update(stream).where(*mine).values(**values))
        return _find(connection, asker.tenant_id, name)


def _admit(connection: Connection, asker: Asker, name: str, now: datetime) -> None:
    """A key limited to certain streams changes no others."""
    held = asking.admitted(connection, asker, now=now).rights
    asking.require(held, Rights(scopes=(), streams=(name,), domains=held.domains))


def _of(tenant_id: int) -> Select[str, str, str, str, datetime]:
    return select(stream.c.name, stream.c.kind, stream.c.in_doubt, stream.c.state, stream.c.created_at).where(
        stream.c.tenant_id == tenant_id
    )


def _find(connection: Connection, tenant_id: int, name: str) -> Stream:
    row = connection.execute(_of(tenant_id).where(stream.c.name == name)).first()
    if row is None:
        raise Unknown("this tenant has no such stream")
    return Stream(*row)
