"""Complaints, by whatever format they came, a row each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from mailer.report.formats.xarf import AbuseReport
from mailer.report.keeping.failures import Matched
from mailer.report.keeping.owners import Owner, owners
from mailer.report.keeping.received import Received, is_new, key_of
from mailer.store.tables import complaint, message


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """Empty or None: not said.

    names        what names the report: its id and who gave it, or a digest of its octets
    domains      in which one of them the sender of the mail lies; the first that is ours
    format       arf | xarf | jmrp | ...
    kind         abuse, fraud, virus, not-spam, spam ...
    is_verified  a token of ours or a provider's signature proves it
    """

    names: tuple[str, ...]
    domains: tuple[str, ...]
    format: str
    kind: str
    source_ip: str | None = None
    reporter: str = ""
    message_id: str = ""
    subject: str = ""
    incidents: int = 1
    arrived_at: datetime | None = None
    is_verified: bool = False


def of_xarf(report: AbuseReport) -> Complaint:
    """A XARF report as a complaint: a stranger's word until the caller knows better."""
    return Complaint(
        names=("xarf", report.report_id),
        domains=(report.mail_from.rpartition("@")[2].lower(), report.source.lower()),
        format="xarf",
        kind=report.type or "spam",
        source_ip=report.source_ip,
        reporter=report.reporter_domain or report.reporter,
        message_id=report.message_id,
        subject=report.subject,
        arrived_at=report.at,
    )


def keep(
    connection: Connection,
    found: Complaint,
    *,
    received: Received,
    matched: Matched | None = None,
    new_id: Callable[[], int],
    now: datetime,
) -> bool:
    """Kept, if it is about mail of ours; whether it was new. matched: its message goes before its domains."""
    owner = _owner_of(connection, found, matched)
    if owner is None:
        return False
    row = {
        "id": new_id(),
        "tenant_id": owner.tenant_id,
        "domain_id": owner.domain_id,
        "stream_id": matched.stream_id if matched else None,
        "message_id": matched.message_id if matched else None,
        "recipient_id": matched.recipient_id if matched else None,
        "report_key": key_of(*found.names),
        "format": found.format[:10],
        "kind": found.kind[:40],
        "source_ip": found.source_ip or "",
        "reporter": found.reporter[:255],
        "rfc_message_id": found.message_id[:255],
        "subject": found.subject[:200],
        "incidents": found.incidents,
        "is_verified": found.is_verified,
        "arrived_at": found.arrived_at or now,
        **received.columns(now),
    }
    return is_new(connection, complaint, row, now=now)


def _owner_of(connection: Connection, found: Complaint, matched: Matched | None) -> Owner | None:
    if matched is not None:
        sent = select(message.c.domain_id).where(
            message.c.id == matched.message_id, message.c.tenant_id == matched.tenant_id
        )
        domain_id = connection.execute(sent).scalar()
        if domain_id is not None:
            return Owner(domain_id, matched.tenant_id)
    known = owners(connection, found.domains)
    return next((known[name] for name in found.domains if name in known), None)
