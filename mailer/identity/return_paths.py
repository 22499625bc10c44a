"""The secrets of return-path tokens: which holds when, and how another one comes.

The first is derived from the installation's secret and holds from the beginning. A new one is announced
before it holds, so that every process has read it when the first token is made with it
(mailer/compose/verp.py).
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy import select

from mailer.compose.verp import Epoch, TokenKeys
from mailer.identity.vault import Vault
from mailer.store import Store, StoreUnavailable
from mailer.store.tables import return_path_secret

_log = structlog.get_logger(__name__)

LOOK_SECONDS = 60.0
LEAD = timedelta(minutes=10)  # ten looks, and clocks that differ a little
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class Secret:
    """starts_at: of recipients accepted from then on; None: from the beginning."""

    starts_at: datetime | None
    created_at: datetime | None


def load(store: Store, vault: Vault) -> TokenKeys:
    """All of them. Raises StoreUnavailable, SealBroken."""
    with store.read() as connection:
        rows = connection.execute(select(return_path_secret)).all()
    later = [Epoch(row.starts_ms, vault.open(bytes(row.secret), _context(row.starts_ms))) for row in rows]
    return TokenKeys([Epoch(0, vault.derive("verp")), *later])


def listed(store: Store) -> list[Secret]:
    """Newest first."""
    newest = select(return_path_secret).order_by(return_path_secret.c.starts_ms.desc())
    with store.read() as connection:
        rows = connection.execute(newest).all()
    later = [Secret(datetime.fromtimestamp(row.starts_ms / 1000, UTC), row.created_at) for row in rows]
    return [*later, Secret(None, None)]


def rotate(store: Store, vault: Vault, *, now: datetime, lead: timedelta = LEAD) -> datetime:
    """Another secret for recipients accepted from the answer on. Raises ValueError: lead is short."""
    if lead < LEAD:
        raise ValueError(f"a new secret is announced at least {LEAD.total_seconds() / 60:.0f} minutes ahead")
    starts_ms = int((now + lead).timestamp() * 1000)
    sealed = vault.seal(secrets.token_bytes(_SECRET_BYTES), _context(starts_ms))
    with store.write() as connection:
        new = return_path_secret.insert().values(starts_ms=starts_ms, secret=sealed, created_at=now)
        connection.execute(new)
    return datetime.fromtimestamp(starts_ms / 1000, UTC)


def _context(starts_ms: int) -> str:
    return f"return-path {starts_ms}"


class TokenKeeper:
    """The secrets as a process has them; `look` by threads that may wait, `keys` from any."""

    def __init__(self, store: Store, vault: Vault, *, monotonic: Callable[[], float]) -> None:
        """Raises StoreUnavailable, SealBroken."""
        self._store = store
        self._vault = vault
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._looked_at = monotonic()
        self._keys = load(store, vault)

    def keys(self) -> TokenKeys:
        return self._keys

    def look(self) -> None:
        """Reads them again where that is due; what is known stays while the database is away."""
        with self._lock:
            if self._monotonic() - self._looked_at < LOOK_SECONDS:
                return
            try:
                self._keys = load(self._store, self._vault)
            except StoreUnavailable as error:
                _log.warning("return_paths.not_read", error=str(error))
                return
            self._looked_at = self._monotonic()
