"""Who may send this: read once a group, inside the accepting transaction, and decided per submission.

Because it is read there, a key revoked or a tenant suspended before the commit refuses the message,
whatever a door had cached.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, select

from mailer.accept.submission import Fault, Submission, SubmissionError
from mailer.store import dialect
from mailer.store.bare import Hot, bare
from mailer.store.tables import api_key, sending_domain, stream, tenant
from mailer.store.types import to_microseconds


@dataclass(frozen=True, slots=True)
class Admitted:
    """The tenant, stream and sending domain a submission is accepted for."""

    tenant_id: int
    stream_id: int
    domain_id: int
    return_path_domain: str


class _Key(NamedTuple):
    """A credential as stored: scopes as JSON text, instants in microseconds."""

    id: int
    tenant_id: int
    secret_hash: bytes
    scopes: str
    expires_at: int | None
    revoked_at: int | None
    tenant_state: str


class _Domain(NamedTuple):
    id: int
    tenant_id: int
    name: str
    return_path_domain: str
    state: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Rows that decide about a group: keys by id, domains by name, streams by (tenant, name)."""

    keys: Mapping[int, _Key]
    domains: Mapping[str, _Domain]
    streams: Mapping[tuple[int, str], int]


_KEY, _TENANT, _DOMAIN, _STREAM = bare(api_key), bare(tenant), bare(sending_domain), bare(stream)
_KEYS = Hot(
    select(
        _KEY.c.id,
        _KEY.c.tenant_id,
        _KEY.c.secret_hash,
        _KEY.c.scopes,
        _KEY.c.expires_at,
        _KEY.c.revoked_at,
        _TENANT.c.state,
    )
    .join(_TENANT, _TENANT.c.id == _KEY.c.tenant_id)
    .where(dialect.OneOf(_KEY.c.id, "ids"))
)
_DOMAINS = Hot(
    select(*(_DOMAIN.c[name] for name in _Domain._fields)).where(dialect.OneOf(_DOMAIN.c.name, "names"))
)
_STREAMS = Hot(
    select(_STREAM.c.tenant_id, _STREAM.c.name, _STREAM.c.id).where(
        dialect.OneOf(_STREAM.c.tenant_id, "tenants")
    )
)


def read_facts(connection: Connection, submissions: Sequence[Submission]) -> Facts:
    def among(values: set[int] | set[str]) -> Any:
        return dialect.listed(connection, values)

    keys = [_Key(*row) for row in _KEYS.rows(connection, {"ids": among({s.key_id for s in submissions})})]
    names = {mailbox.domain for s in submissions for mailbox in (*s.authors, *s.senders)}
    domains = [_Domain(*row) for row in _DOMAINS.rows(connection, {"names": among(names)})]
    streams = _STREAMS.rows(connection, {"tenants": among({key.tenant_id for key in keys})})
    return Facts(
        {key.id: key for key in keys},
        {domain.name: domain for domain in domains},
        {(tenant_id, name): stream_id for tenant_id, name, stream_id in streams},
    )


def admit(submission: Submission, facts: Facts, now: datetime) -> Admitted:
    """Raises SubmissionError: the credential, the tenant's state, From, or the stream forbids it."""
    key = _good_key(submission, facts, now)
    if key.tenant_state != "active":
        raise SubmissionError(Fault.TENANT_SUSPENDED, "this tenant is suspended and may not send")
    domain, *_ = [_own_domain("From", m.domain, key, facts) for m in submission.authors]
    for mailbox in submission.senders:
        _own_domain("Sender", mailbox.domain, key, facts)
    stream_id = own_stream(submission.stream, key.tenant_id, facts)
    return Admitted(key.tenant_id, stream_id, domain.id, domain.return_path_domain)


def own_stream(name: str, tenant_id: int, facts: Facts) -> int:
    """The stream's id. Raises SubmissionError."""
    stream_id = facts.streams.get((tenant_id, name))
    if stream_id is None:
        raise SubmissionError(Fault.UNKNOWN_STREAM, f"this tenant has no stream {name!r}", pointer="/stream")
    return stream_id


def _own_domain(field: str, name: str, key: _Key, facts: Facts) -> _Domain:
    domain = facts.domains.get(name)
    if domain is None or domain.tenant_id != key.tenant_id or domain.state != "active":
        raise SubmissionError(
            Fault.FROM_NOT_ALLOWED,
            f"the domain {name} of {field} is not an active sending domain of this tenant",
            pointer="/from",
        )
    return domain


def _good_key(submission: Submission, facts: Facts, now: datetime) -> _Key:
    key = facts.keys.get(submission.key_id)
    if key is None or not hmac.compare_digest(key.secret_hash, submission.secret_hash):
        raise SubmissionError(Fault.UNAUTHENTICATED, "the API key is not known")
    if key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= to_microseconds(now)):
        raise SubmissionError(Fault.UNAUTHENTICATED, "the API key was revoked or has expired")
    if "send" not in msgspec.json.decode(key.scopes):
        raise SubmissionError(Fault.FORBIDDEN, "the API key lacks the scope send")
    return key


def tenant_of(submission: Submission, facts: Facts) -> int | None:
    """Whose log a refusal belongs to; None when the credential proves no tenant."""
    key = facts.keys.get(submission.key_id)
    if key is None or not hmac.compare_digest(key.secret_hash, submission.secret_hash):
        return None
    return int(key.tenant_id)
