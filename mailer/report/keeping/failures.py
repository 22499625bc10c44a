"""DMARC failure reports, a row each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from mailer.report.formats.dmarc_failure import FailureReport
from mailer.report.keeping.owners import owners
from mailer.report.keeping.received import Received, is_new, key_of
from mailer.store.tables import dmarc_failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """The mail of ours that a report is about, where it is known."""

    tenant_id: int
    stream_id: int
    message_id: int
    recipient_id: int | None = None


def keep(
    connection: Connection,
    report: FailureReport,
    *,
    received: Received,
    matched: Matched | None = None,
    new_id: Callable[[], int],
    now: datetime,
) -> bool:
    """Kept, if it is about a domain of ours; whether it was new. What it says stands for an id."""
    owner = owners(connection, [report.domain]).get(report.domain)
    if owner is None:
        return False
    of_owner = matched if matched is not None and matched.tenant_id == owner.tenant_id else None
    row = {
        "id": new_id(),
        "tenant_id": owner.tenant_id,
        "domain_id": owner.domain_id,
        "stream_id": of_owner.stream_id if of_owner else None,
        "message_id": of_owner.message_id if of_owner else None,
        "report_key": key_of(
            report.domain, report.source_ip, report.mail_from, report.recipient, report.arrived_at,
            report.message_id, ",".join(report.failures), report.reporter, report.agent,
        ),
        "source_ip": report.source_ip or "",
        "failures": list(report.failures),
        "delivery": report.delivery,
        "mail_from": report.mail_from,
        "recipient": report.recipient,
        "rfc_message_id": report.message_id,
        "subject": report.subject,
        "results": report.results,
        "reporter": report.reporter or report.agent,
        "incidents": report.incidents,
        "arrived_at": report.arrived_at or now,
        **received.columns(now),
    }  # fmt: skip
    return is_new(connection, dmarc_failure, row, now=now)
