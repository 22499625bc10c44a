"""What a tenant does with its own API keys, by one of them.

The asking key hands on no more than it has, and changes only keys that it could have made: else a key
limited to one stream could rotate an unlimited one and keep the text. It cannot revoke itself, so that at
least one key that can manage is left; to get a new text for itself it is rotated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, or_, select, update

from mailer.identity import api_keys, asking, keys, tenants
from mailer.identity.api_keys import ApiKey
from mailer.identity.asking import Asker
from mailer.identity.keys import PresentedKey
from mailer.identity.names import BadName, NotNow, TooMany, Unknown, parse_name
from mailer.identity.rights import Rights
from mailer.store import Store
from mailer.store.tables import api_key, tenant

MOST = 1000  # good keys of one tenant


@dataclass(frozen=True, slots=True)
class NewApiKey:
    name: str
    rights: Rights
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Issued:
    """text: the key itself, shown this once."""

    key: ApiKey
    text: str


@dataclass(frozen=True, slots=True)
class KeyPage:
    """position: ids below it are on the next page; None: there is nothing more."""

    keys: list[ApiKey]
    position: int | None


def listed(store: Store, tenant_id: int, *, limit: int, position: int | None = None) -> KeyPage:
    """The tenant's keys, the newest first, the revoked too."""
    found = api_keys.rows().where(api_key.c.tenant_id == tenant_id)
    if position is not None:
        found = found.where(api_key.c.id < position)
    with store.read() as connection:
        rows = connection.execute(found.order_by(api_key.c.id.desc()).limit(limit + 1)).all()
    page = [api_keys.shown(row) for row in rows[:limit]]
    return KeyPage(page, page[-1].id if len(rows) > limit else None)


def one(store: Store, tenant_id: int, key_id: int) -> ApiKey:
    """Raises Unknown."""
    with store.read() as connection:
        return _find(connection, tenant_id, key_id)


def issue(store: Store, asker: Asker, new: NewApiKey, *, new_id: Callable[[], int], now: datetime) -> Issued:
    """A further key. Raises BadName, NotAllowed (it would have more rights than the asker), TooMany."""
    with store.write() as connection:
        held = asking.admitted(connection, asker, now=now).rights
        return _issue(connection, asker.tenant_id, held, new, new_id=new_id, now=now)


def rename(store: Store, asker: Asker, key_id: int, name: str, *, now: datetime) -> ApiKey:
    """Raises BadName, NotAllowed, Unknown."""
    with store.write() as connection:
        _changeable(connection, asker, key_id, now=now)
        connection.execute(update(api_key).where(api_key.c.id == key_id).values(name=parse_name(name)))
        return _find(connection, asker.tenant_id, key_id)


def revoke(store: Store, asker: Asker, key_id: int, *, now: datetime) -> ApiKey:
    """It opens no door any more; again is no error. Raises NotAllowed, NotNow (itself), Unknown."""
    with store.write() as connection:
        _changeable(connection, asker, key_id, now=now)
        if key_id == asker.key_id:
            raise NotNow("a key cannot revoke itself: use another one, or rotate it")
        api_keys.end(connection, key_id, now=now)
        return _find(connection, asker.tenant_id, key_id)


def rotate(
    store: Store,
    asker: Asker,
    key_id: int,
    *,
    overlap: timedelta,
    new_id: Callable[[], int],
    now: datetime,
) -> Issued:
    """A new key with the same name and rights; the old one is good for `overlap` more, not longer.

    A key that was to expire is followed by one that lives as long as it was to live. A repeat makes a
    further key. Raises NotAllowed, NotNow (it is not good any more; itself without overlap), Unknown.
    """
    with store.write() as connection:
        held, old = _changeable(connection, asker, key_id, now=now)
        if old.state(now) != api_keys.ACTIVE:
            raise NotNow("the key was revoked or has expired: make a new one")
        if key_id == asker.key_id and not overlap:
            raise NotNow("a key that rotates itself needs an overlap", at=("overlap_seconds",))
        lifetime = None if old.expires_at is None else old.expires_at - old.created_at
        new = NewApiKey(old.name, old.rights, None if lifetime is None else now + lifetime)
        issued = _issue(connection, asker.tenant_id, held, new, new_id=new_id, now=now)
        if overlap:
            ends = min(now + overlap, old.expires_at or now + overlap)
            connection.execute(update(api_key).where(api_key.c.id == key_id).values(expires_at=ends))
        else:
            api_keys.end(connection, key_id, now=now)
        return issued


def _changeable(connection: Connection, asker: Asker, key_id: int, *, now: datetime) -> tuple[Rights, ApiKey]:
    """The asker's rights, and the key, of which it may change anything."""
    held = asking.admitted(connection, asker, now=now).rights
    key = _find(connection, asker.tenant_id, key_id)
    asking.require(held, key.rights)
    return held, key


def _issue(
    connection: Connection,
    tenant_id: int,
    held: Rights,
    new: NewApiKey,
    *,
    new_id: Callable[[], int],
    now: datetime,
) -> Issued:
    asking.require(held, api_keys.checked(connection, tenant_id, new.rights), is_written=True)
    if new.expires_at is not None and new.expires_at <= now:
        raise BadName("a key must expire later than now", at=("expires_at",))
    good = select(func.count()).where(
        api_key.c.tenant_id == tenant_id,
        api_key.c.revoked_at.is_(None),
        or_(api_key.c.expires_at.is_(None), api_key.c.expires_at > now),
    )
    if connection.execute(good).scalar_one() >= MOST:
        raise TooMany(f"a tenant may have {MOST} API keys that are good: revoke some first")
    row = connection.execute(select(tenant).where(tenant.c.id == tenant_id)).one()
    owner = tenants.Tenant(row.id, row.name, row.state, row.created_at)
    made = keys.new_key(new_id())
    presented = PresentedKey(made.key_id, made.secret_hash)
    api_keys.insert(
        connection, owner, new.name, presented, rights=new.rights, expires_at=new.expires_at, now=now
    )
    return Issued(_find(connection, tenant_id, made.key_id), made.text)


def _find(connection: Connection, tenant_id: int, key_id: int) -> ApiKey:
    mine = api_keys.rows().where(api_key.c.id == key_id, api_key.c.tenant_id == tenant_id)
    row = connection.execute(mine).first()
    if row is None:
        raise Unknown("this tenant has no such API key")
    return api_keys.shown(row)
