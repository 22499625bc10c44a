"""What became of TLS with the hosts of recipient domains, counted for their owners (RFC 8460)."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select

from mailer.store import Store, dialect
from mailer.store.tables import tls_result

_DROPPED_AT_ONCE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultKind:
    """A row of `tls_result` without its hash and its count."""

    day: str
    domain: str
    policy_type: str
    policy_domain: str
    policy_lines: tuple[str, ...]
    result: str
    mx_host: str
    mx_ip: str
    sending_ip: str
    reason: str


def add(store: Store, sessions: Mapping[ResultKind, int]) -> None:
    """Adds sessions to what is counted. A repeat counts them again."""
    if not sessions:
        return
    rows = sorted((_row(kind, number) for kind, number in sessions.items()), key=_key)
    with store.write() as connection:
        new = dialect.insert(connection, tls_result)
        connection.execute(
            new.on_conflict_do_update(
                index_elements=["day", "domain", "kind_hash"],
                set_={"sessions": tls_result.c.sessions + new.excluded.sessions},
            ),
            rows,
        )


def of_day(store: Store, day: str, domain: str) -> dict[ResultKind, int]:
    """Sessions by kind that a recipient domain's report of that day tells of."""
    wanted = select(tls_result).where(tls_result.c.day == day, tls_result.c.domain == domain)
    with store.read() as connection:
        return {
            ResultKind(
                day=row.day,
                domain=row.domain,
                policy_type=row.policy_type,
                policy_domain=row.policy_domain,
                policy_lines=tuple(row.policy_lines),
                result=row.result,
                mx_host=row.mx_host,
                mx_ip=row.mx_ip,
                sending_ip=row.sending_ip,
                reason=row.reason,
            ): row.sessions
            for row in connection.execute(wanted)
        }


def domains_of(store: Store, day: str) -> list[str]:
    """Recipient domains with results of that day."""
    wanted = select(tls_result.c.domain).where(tls_result.c.day == day).distinct().order_by("domain")
    with store.read() as connection:
        return list(connection.execute(wanted).scalars())


def drop(store: Store, *, before: datetime) -> int:
    """Drops some results of days before; returns how many."""
    old = select(tls_result.c.day).where(tls_result.c.day < before.date().isoformat()).limit(1)
    with store.write() as connection:
        day = connection.execute(old).scalar()
        if day is None:
            return 0
        some = select(tls_result.c.domain).where(tls_result.c.day == day).distinct().limit(_DROPPED_AT_ONCE)
        gone = delete(tls_result).where(tls_result.c.day == day, tls_result.c.domain.in_(some))
        return connection.execute(gone).rowcount


def _row(kind: ResultKind, sessions: int) -> dict[str, Any]:
    values: dict[str, Any] = {
        name: getattr(kind, name)
        for name in ("policy_type", "policy_domain", "result", "mx_host", "mx_ip", "sending_ip", "reason")
    }
    values["policy_lines"] = list(kind.policy_lines)
    octets = json.dumps(values, sort_keys=True).encode()
    digest = base64.b64encode(hashlib.sha256(octets).digest()).decode()
    return values | {"day": kind.day, "domain": kind.domain, "kind_hash": digest, "sessions": sessions}


def _key(row: dict[str, Any]) -> tuple[str, str, str]:
    """One order for all writers, so that none waits for another in a circle."""
    return row["day"], row["domain"], row["kind_hash"]
