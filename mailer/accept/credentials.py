"""Who knocks: the bearer key of a request, judged by what the database said a second ago at most.

This is the doors' early look. The accepting transaction judges the key again (admission.py), so the
second during which a revoked key still passes here never lets a message in.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select

from mailer.accept.submission import Fault, SubmissionError
from mailer.identity.api_keys import OPERATE
from mailer.identity.keys import MalformedKey, PresentedKey, parse_key
from mailer.store import Store, StoreUnavailable
from mailer.store.tables import api_key, tenant

# RFC 9110 §11.1: the scheme is case-insensitive, one or more spaces follow it; RFC 6750 §2.1.
_BEARER = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9._~+/=-]+)")
_CACHE_SECONDS = 1.0
_CACHED_KEYS = 10_000


@dataclass(frozen=True, slots=True)
class Identity:
    """A key that is good, and its tenant. secret_hash: SHA-256, proof for the accepting transaction."""

    tenant_id: int
    key_id: int
    secret_hash: bytes
    scopes: frozenset[str]
    is_suspended: bool

    @property
    def is_operator(self) -> bool:
        """It acts for the installation, and not for its tenant alone."""
        return OPERATE in self.scopes

    def require(self, scope: str) -> None:
        """Raises SubmissionError (FORBIDDEN) unless the key has `scope`."""
        if scope not in self.scopes:
            raise SubmissionError(Fault.FORBIDDEN, f"the API key lacks the scope {scope}")


@dataclass(frozen=True, slots=True)
class _Known:
    """The row of a key, as it was at `read_at` on the monotonic clock; no identity: there was none."""

    identity: Identity | None
    expires_at: datetime | None
    is_revoked: bool
    read_at: float


_ROW = select(
    api_key.c.id,
    api_key.c.tenant_id,
    api_key.c.secret_hash,
    api_key.c.scopes,
    api_key.c.expires_at,
    api_key.c.revoked_at,
    tenant.c.state.label("tenant_state"),
).join(tenant, tenant.c.id == api_key.c.tenant_id)


class Authenticator:
    """Lives on one event loop; its database reads run in threads."""

    def __init__(self, store: Store, *, monotonic: Callable[[], float], now: Callable[[], datetime]) -> None:
        self._store = store
        self._monotonic = monotonic
        self._now = now
        self._known: dict[int, _Known] = {}
        self._seen: dict[bytes, PresentedKey] = {}
        self._asked: dict[int, asyncio.Task[_Known]] = {}

    async def identify(self, authorization: str | None) -> Identity:
        """The owner of the key in an `Authorization` header field.

        Raises SubmissionError: UNAUTHENTICATED, in the same words whether the key is unknown or its secret
        is wrong; UNAVAILABLE if the database did not answer.
        """
        presented = self._presented(authorization)
        known = self._known.get(presented.key_id)
        if known is None or self._monotonic() - known.read_at >= _CACHE_SECONDS:
            known = await self._ask(presented.key_id)
        identity = known.identity
        if identity is None or not hmac.compare_digest(identity.secret_hash, presented.secret_hash):
            raise SubmissionError(Fault.UNAUTHENTICATED, "the API key is not known")
        if known.is_revoked or (known.expires_at is not None and known.expires_at <= self._now()):
            raise SubmissionError(Fault.UNAUTHENTICATED, "the API key was revoked or has expired")
        return identity

    def _presented(self, authorization: str | None) -> PresentedKey:
        """What a header field says, remembered under its digest, so that no key stays in memory."""
        digest = hashlib.sha256((authorization or "").encode("utf-8", "replace")).digest()
        presented = self._seen.get(digest)
        if presented is None:
            presented = _read_header(authorization)
            if len(self._seen) >= _CACHED_KEYS:
                self._seen.clear()
            self._seen[digest] = presented
        return presented

    async def _ask(self, key_id: int) -> _Known:
        """One look-up for all requests that wait for the same key."""
        task = self._asked.get(key_id)
        if task is None:
            task = self._asked[key_id] = asyncio.create_task(self._look_up(key_id))
            task.add_done_callback(lambda done: self._answered(key_id, done))
        try:
            # Shielded: the others still wait when the one that asked first hangs up.
            return await asyncio.shield(task)
        except StoreUnavailable as error:
            raise SubmissionError(
                Fault.UNAVAILABLE, "the database did not answer; the key could not be checked"
            ) from error

    def _answered(self, key_id: int, done: asyncio.Task[_Known]) -> None:
        del self._asked[key_id]
        if not done.cancelled():
            done.exception()  # seen: all who waited may have hung up, and nobody else would look at it

    async def _look_up(self, key_id: int) -> _Known:
        # Taken before the read: what is revoked while the read runs is a second old in a second.
        asked_at = self._monotonic()
        row = await asyncio.to_thread(self._read, key_id)
        known = _known(row, asked_at)
        if len(self._known) >= _CACHED_KEYS:
            self._forget(asked_at)
        self._known[key_id] = known
        return known

    def _read(self, key_id: int) -> Any:
        with self._store.read() as connection:
            return connection.execute(_ROW.where(api_key.c.id == key_id)).first()

    def _forget(self, now: float) -> None:
        """A flood of well-formed keys that nobody has must not fill the memory."""
        self._known = {i: k for i, k in self._known.items() if now - k.read_at < _CACHE_SECONDS}
        if len(self._known) >= _CACHED_KEYS:
            self._known.clear()


def _read_header(authorization: str | None) -> PresentedKey:
    if authorization is None:
        raise SubmissionError(Fault.UNAUTHENTICATED, "the request carries no API key")
    bearer = _BEARER.fullmatch(authorization)
    if bearer is None:
        raise SubmissionError(Fault.UNAUTHENTICATED, "Authorization must be of the form Bearer <API key>")
    try:
        return parse_key(bearer[1])
    except MalformedKey as error:
        raise SubmissionError(Fault.UNAUTHENTICATED, str(error)) from None


def _known(row: Any, read_at: float) -> _Known:
    if row is None:
        return _Known(None, None, False, read_at)
    identity = Identity(
        row.tenant_id, row.id, row.secret_hash, frozenset(row.scopes), row.tenant_state != "active"
    )
    return _Known(identity, row.expires_at, row.revoked_at is not None, read_at)
