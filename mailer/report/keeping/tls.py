"""TLS reports of others about hosts of our domains, by sending domain, policy, and kind of failure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert

from mailer.report.formats.tlsrpt import TlsPolicy, TlsReport
from mailer.report.keeping.owners import Owner, owners
from mailer.report.keeping.received import Received, is_new, key_of
from mailer.store.tables import tls_failure, tls_policy, tls_report


def keep(
    connection: Connection,
    report: TlsReport,
    *,
    received: Received,
    new_id: Callable[[], int],
    now: datetime,
) -> bool:
    """Kept, for every sending domain of ours that it speaks of; whether anything was new.

    Mostly it speaks of the return path's host, for that is where mail comes in.
    """
    known = owners(connection, [policy.domain for policy in report.policies])
    found: dict[Owner, list[TlsPolicy]] = {}
    for policy in report.policies:
        if policy.domain in known:
            found.setdefault(known[policy.domain], []).append(policy)
    kept = False
    for owner, policies in sorted(found.items()):
        row = {
            "id": new_id(),
            "tenant_id": owner.tenant_id,
            "domain_id": owner.domain_id,
            "organization": report.organization,
            "contact": report.contact,
            "report_id": report.report_id,
            "report_key": key_of(report.organization.casefold(), report.report_id),
            "begins_at": report.begins_at,
            "ends_at": report.ends_at,
            "successful": sum(policy.successful for policy in policies),
            "failed": sum(policy.failed for policy in policies),
            **received.columns(now),
        }
        if is_new(connection, tls_report, row, tls_failure, tls_policy, now=now):
            kept = True
            _keep_policies(connection, policies, row)
    return kept


def _keep_policies(connection: Connection, policies: list[TlsPolicy], report: dict[str, Any]) -> None:
    shared = {"report_id": report["id"], "domain_id": report["domain_id"], "begins_at": report["begins_at"]}
    found = [
        shared
        | {
            "number": number,
            "type": policy.type,
            "policy_domain": policy.domain,
            "lines": list(policy.lines),
            "hosts": list(policy.hosts),
            "successful": policy.successful,
            "failed": policy.failed,
        }
        for number, policy in enumerate(policies)
    ]
    connection.execute(insert(tls_policy), found)
    failures = [(number, failure) for number, policy in enumerate(policies) for failure in policy.failures]
    rows = [
        shared
        | {
            "number": n,
            "policy": number,
            "result": failure.result,
            "sessions": failure.sessions,
            "sending_ip": failure.sending_ip,
            "receiving_host": failure.receiving_host,
            "receiving_ip": failure.receiving_ip,
            "reason_code": failure.reason_code,
            "more": failure.more,
        }
        for n, (number, failure) in enumerate(failures)
    ]
    if rows:
        connection.execute(insert(tls_failure), rows)
