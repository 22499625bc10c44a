"""Which hosts were seen with TLS, which failed at it, and which at BDAT; shared by all workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, or_, select

from mailer.store import Store, dialect
from mailer.store.tables import tls_host


@dataclass(frozen=True, slots=True)
class TlsHost:
    """Last session over TLS, last failed handshake since, and last failure at BDAT; None: never."""

    seen_at: datetime | None
    failed_at: datetime | None
    bdat_failed_at: datetime | None = None


def recent(store: Store, *, since: datetime) -> dict[str, TlsHost]:
    """Hosts that were seen or failed since then."""
    columns = (tls_host.c.seen_at, tls_host.c.failed_at, tls_host.c.bdat_failed_at)
    young = select(tls_host).where(or_(*(column >= since for column in columns)))
    with store.read() as connection:
        return {
            row.host: TlsHost(row.seen_at, row.failed_at, row.bdat_failed_at)
            for row in connection.execute(young)
        }


def note(store: Store, hosts: Mapping[str, TlsHost]) -> None:
    """Keeps the newer of what is known and what is noted; a success clears an older failure."""
    rows = [
        {"host": name, "seen_at": h.seen_at, "failed_at": h.failed_at} for name, h in sorted(hosts.items())
    ]
    if not rows:
        return
    with store.write() as connection:
        new = dialect.insert(connection, tls_host)
        connection.execute(
            new.on_conflict_do_update(
                index_elements=["host"],
                set_={
                    "seen_at": func.coalesce(new.excluded.seen_at, tls_host.c.seen_at),
                    "failed_at": new.excluded.failed_at,
                },
            ),
            rows,
        )


def note_bdat(store: Store, failed: Mapping[str, datetime]) -> None:
    """Keeps when hosts handled BDAT badly; what is known of their TLS stays."""
    if not failed:
        return
    with store.write() as connection:
        new = dialect.insert(connection, tls_host)
        later = {"bdat_failed_at": new.excluded.bdat_failed_at}
        rows = [{"host": host, "bdat_failed_at": at} for host, at in sorted(failed.items())]
        connection.execute(new.on_conflict_do_update(index_elements=["host"], set_=later), rows)
