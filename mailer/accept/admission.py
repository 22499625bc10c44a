"""Who may send this: read once a group, inside the accepting transaction, and decided per submission.

Because it is read there, a key revoked or a tenant suspended before the commit refuses the message,
whatever a door had cached.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, bindparam, select

from mailer.accept.submission import Fault, Submission, SubmissionError
from mailer.store.tables import api_key, sending_domain, stream, tenant


@dataclass(frozen=True, slots=True)
class Admitted:
    """The tenant, stream and sending domain a submission is accepted for."""

    tenant_id: int
    stream_id: int
    domain_id: int
    return_path_domain: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Rows that decide about a group: keys by id, domains by name, streams by (tenant, name)."""

    keys: Mapping[int, Any]
    domains: Mapping[str, Any]
    streams: Mapping[tuple[int, str], int]


class _Finder:
    """Rows by one column. A group mostly asks for one value, and an IN list costs three times an equality."""

    def __init__(self, statement: Select[Any], by: ColumnElement[Any]) -> None:
        self._one = statement.where(by == bindparam("value"))
        self._many = statement.where(by.in_(bindparam("values", expanding=True)))

    def find(self, connection: Connection, values: Collection[Any]) -> Sequence[Any]:
        if len(values) == 1:
            return connection.execute(self._one, {"value": next(iter(values))}).all()
        return connection.execute(self._many, {"values": list(values)}).all() if values else ()


_KEYS = _Finder(
    select(
        api_key.c.id,
        api_key.c.tenant_id,
        api_key.c.secret_hash,
        api_key.c.scopes,
        api_key.c.expires_at,
        api_key.c.revoked_at,
        tenant.c.state.label("tenant_state"),
    ).join(tenant, tenant.c.id == api_key.c.tenant_id),
    api_key.c.id,
)
_DOMAINS = _Finder(
    select(
        sending_domain.c.id,
        sending_domain.c.tenant_id,
        sending_domain.c.name,
        sending_domain.c.return_path_domain,
        sending_domain.c.state,
    ),
    sending_domain.c.name,
)
_STREAMS = _Finder(select(stream.c.tenant_id, stream.c.name, stream.c.id), stream.c.tenant_id)


def read_facts(connection: Connection, submissions: Sequence[Submission]) -> Facts:
    keys = {row.id: row for row in _KEYS.find(connection, {s.key_id for s in submissions})}
    domains = {
        row.name: row for row in _DOMAINS.find(connection, {s.draft.from_.domain for s in submissions})
    }
    streams = _STREAMS.find(connection, {row.tenant_id for row in keys.values()})
    return Facts(keys, domains, {(row.tenant_id, row.name): row.id for row in streams})


def admit(submission: Submission, facts: Facts, now: datetime) -> Admitted:
    """Raises SubmissionError: the credential, the tenant's state, From, or the stream forbids it."""
    key = _good_key(submission, facts, now)
    if key.tenant_state != "active":
        raise SubmissionError(Fault.TENANT_SUSPENDED, "this tenant is suspended and may not send")
    name = submission.draft.from_.domain
    domain = facts.domains.get(name)
    if domain is None or domain.tenant_id != key.tenant_id or domain.state != "active":
        raise SubmissionError(
            Fault.FROM_NOT_ALLOWED,
            f"the domain {name} of From is not an active sending domain of this tenant",
            pointer="/from",
        )
    stream_id = facts.streams.get((key.tenant_id, submission.stream))
    if stream_id is None:
        raise SubmissionError(
            Fault.UNKNOWN_STREAM, f"this tenant has no stream {submission.stream!r}", pointer="/stream"
        )
    return Admitted(key.tenant_id, stream_id, domain.id, domain.return_path_domain)


def _good_key(submission: Submission, facts: Facts, now: datetime) -> Any:
    key = facts.keys.get(submission.key_id)
    if key is None or not hmac.compare_digest(key.secret_hash, submission.secret_hash):
        raise SubmissionError(Fault.UNAUTHENTICATED, "the API key is not known")
    if key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= now):
        raise SubmissionError(Fault.UNAUTHENTICATED, "the API key was revoked or has expired")
    if "send" not in key.scopes:
        raise SubmissionError(Fault.FORBIDDEN, "the API key lacks the scope send")
    return key


def tenant_of(submission: Submission, facts: Facts) -> int | None:
    """Whose log a refusal belongs to; None when the credential proves no tenant."""
    key = facts.keys.get(submission.key_id)
    if key is None or not hmac.compare_digest(key.secret_hash, submission.secret_hash):
        return None
    return int(key.tenant_id)
