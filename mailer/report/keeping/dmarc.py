"""Aggregate reports, a row a sending domain and a row a record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert

from mailer.report.formats.dmarc import AggregateReport, Record
from mailer.report.keeping.owners import Owner, owners
from mailer.report.keeping.received import Received, is_new, key_of
from mailer.store.tables import dmarc_record, dmarc_report


def keep(
    connection: Connection,
    report: AggregateReport,
    *,
    received: Received,
    new_id: Callable[[], int],
    now: datetime,
) -> bool:
    """Kept, for every sending domain of ours that it speaks of; whether anything was new."""
    kept = False
    # In order, so that two that keep alike do not wait for each other in a circle.
    for owner, records in sorted(_by_owner(connection, report).items()):
        row = {
            "id": new_id(),
            **_whole(report, records),
            "domain_id": owner.domain_id,
            "tenant_id": owner.tenant_id,
            **received.columns(now),
        }
        if is_new(connection, dmarc_report, row, dmarc_record, now=now):
            kept = True
            rows = [_row(record, n, row) for n, record in enumerate(records)]
            if rows:
                connection.execute(insert(dmarc_record), rows)
    return kept


def _by_owner(connection: Connection, report: AggregateReport) -> dict[Owner, list[Record]]:
    """A record belongs where its From does; one whose From is nobody's, where the policy does."""
    names = dict.fromkeys([report.policy.domain, *(record.header_from for record in report.records)])
    known = owners(connection, names)
    home = known.get(report.policy.domain)
    found: dict[Owner, list[Record]] = {} if home is None else {home: []}
    for record in report.records:
        owner = known.get(record.header_from, home)
        if owner is not None:
            found.setdefault(owner, []).append(record)
    return found


def _whole(report: AggregateReport, records: list[Record]) -> dict[str, Any]:
    return {
        "organization": report.organization,
        "contact": report.contact,
        "report_id": report.report_id,
        "report_key": key_of(report.organization.casefold(), report.report_id, report.policy.domain),
        "begins_at": report.begins_at,
        "ends_at": report.ends_at,
        "policy": asdict(report.policy),
        "messages": sum(record.messages for record in records),
        "aligned": sum(record.messages for record in records if record.is_aligned),
        "records": len(records),
        "unreadable": report.unreadable,
    }


def _row(record: Record, number: int, report: dict[str, Any]) -> dict[str, Any]:
    return {
        "report_id": report["id"],
        "number": number,
        "domain_id": report["domain_id"],
        "begins_at": report["begins_at"],
        "source_ip": record.source_ip or "",
        "messages": record.messages,
        "disposition": record.disposition,
        "dkim_aligned": record.dkim_aligned,
        "spf_aligned": record.spf_aligned,
        "header_from": record.header_from,
        "envelope_from": record.envelope_from,
        "envelope_to": record.envelope_to,
        "details": {
            "reasons": [asdict(reason) for reason in record.reasons],
            "dkim": [asdict(result) for result in record.dkim],
            "spf": [asdict(result) for result in record.spf],
        },
    }
