"""Who may send this: read once a group, inside the accepting transaction, and decided per submission.

Because it is read there, a key revoked or a tenant suspended before the commit refuses the message,
whatever a door had cached.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, literal_column, or_, select

from mailer.accept.charging import Payer
from mailer.accept.submission import Fault, Submission, SubmissionError
from mailer.identity.streams import REFUSE
from mailer.policy.egress import BROADCAST
from mailer.policy.limits import read_rates
from mailer.store import dialect
from mailer.store.bare import Hot, bare
from mailer.store.tables import api_key, sending_domain, sending_limit, stream, suppression_owner, tenant
from mailer.store.types import to_microseconds

LINK = "link"  # of the column `message.unsubscribe`
_SHOWN = 10  # of a key's streams or domains, in a sentence about them


class Admitted(msgspec.Struct, frozen=True):
    """The tenant, stream and sending domain a submission is accepted for."""

    tenant_id: int
    stream_id: int
    domain_id: int
    return_path_domain: str
    expires_after: int | None = None  # seconds, of the stream
    unsubscribe: str | None = None  # column of `message`
    has_suppressions: bool = False  # somebody may be on a list of the tenant's, or of the operator's
    takes_roles: bool = True  # addresses of tasks get its mail


class _Key(NamedTuple):
    """A credential as stored: scopes, limits and its tenant's quota as JSON text (None: no limit), instants
    in microseconds."""

    id: int
    tenant_id: int
    secret_hash: bytes
    scopes: str
    streams: str | None
    domains: str | None
    expires_at: int | None
    revoked_at: int | None
    tenant_state: str
    quota: str | None
    has_suppressions: bool


class _Stream(NamedTuple):
    tenant_id: int
    name: str
    id: int
    state: str
    expires_after: int | None
    kind: str
    own_unsubscribe: str | None
    role_accounts: bool


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
    streams: Mapping[tuple[int, str], _Stream]


_KEY, _TENANT, _DOMAIN, _STREAM = bare(api_key), bare(tenant), bare(sending_domain), bare(stream)
_QUOTA, _OWNER = bare(sending_limit), bare(suppression_owner)
_KEYS = Hot(
    select(
        _KEY.c.id,
        _KEY.c.tenant_id,
        _KEY.c.secret_hash,
        _KEY.c.scopes,
        _KEY.c.streams,
        _KEY.c.domains,
        _KEY.c.expires_at,
        _KEY.c.revoked_at,
        _TENANT.c.state,
        _QUOTA.c.rates,
        select(_OWNER.c.tenant_id)
        .where(or_(_OWNER.c.tenant_id == _KEY.c.tenant_id, _OWNER.c.tenant_id == literal_column("0")))
        .exists(),
    )
    .join(_TENANT, _TENANT.c.id == _KEY.c.tenant_id)
    .outerjoin(
        _QUOTA, (_QUOTA.c.subject == literal_column("'accept'")) & (_QUOTA.c.subject_id == _KEY.c.tenant_id)
    )
    .where(dialect.OneOf(_KEY.c.id, "ids"))
)
_DOMAINS = Hot(
    select(*(_DOMAIN.c[name] for name in _Domain._fields)).where(dialect.OneOf(_DOMAIN.c.name, "names"))
)
_STREAMS = Hot(
    select(*(_STREAM.c[name] for name in _Stream._fields)).where(
        dialect.OneOf(_STREAM.c.tenant_id, "tenants")
    )
)


def read_facts(connection: Connection, submissions: Sequence[Submission]) -> Facts:
    def among(values: set[int] | set[str]) -> Any:
        return dialect.listed(connection, values)

    keys = [_Key(*row) for row in _KEYS.rows(connection, {"ids": among({s.key_id for s in submissions})})]
    names = {mailbox.domain for s in submissions for mailbox in (*s.authors, *s.senders)}
    domains = [_Domain(*row) for row in _DOMAINS.rows(connection, {"names": among(names)})]
    tenants = {"tenants": among({key.tenant_id for key in keys})}
    streams = [_Stream(*row) for row in _STREAMS.rows(connection, tenants)]
    return Facts(
        {key.id: key for key in keys},
        {domain.name: domain for domain in domains},
        {(stream.tenant_id, stream.name): stream for stream in streams},
    )


def admit(submission: Submission, facts: Facts, now: datetime) -> Admitted:
    """Raises SubmissionError: the credential or a limit of it, the tenant, From, or the stream forbids it."""
    key = _good_key(submission, facts, now)
    if key.tenant_state != "active":
        raise SubmissionError(Fault.TENANT_SUSPENDED, "this tenant is suspended and may not send")
    _check_limits(submission, key)
    domain, *_ = [_own_domain("From", m.domain, key, facts) for m in submission.authors]
    for mailbox in submission.senders:
        _own_domain("Sender", mailbox.domain, key, facts)
    stream = own_stream(submission.stream, key.tenant_id, facts)
    return Admitted(
        key.tenant_id, stream.id, domain.id, domain.return_path_domain, stream.expires_after,
        unsubscribe=_unsubscribe(submission, stream),
        has_suppressions=bool(key.has_suppressions),
        takes_roles=stream.kind != BROADCAST or bool(stream.role_accounts),
    )  # fmt: skip


def deadline(submission: Submission, admitted: Admitted, now: datetime) -> datetime | None:
    """Its own, else that of its stream; None: the end of its retries."""
    if submission.expires_at is not None or admitted.expires_after is None:
        return submission.expires_at
    return max(submission.due_at or now, now) + timedelta(seconds=admitted.expires_after)


def _unsubscribe(submission: Submission, stream: _Stream) -> str | None:
    """Whose List-Unsubscribe fields it bears: ours, or none but its own. Never both."""
    is_broadcast = stream.kind == BROADCAST
    if is_broadcast and submission.unsubscribe is False:
        raise SubmissionError(
            Fault.INVALID_FIELD,
            f"{stream.name} is a broadcast stream, whose mail always offers to unsubscribe",
            pointer="/unsubscribe",
        )
    if not submission.is_unsubscribable:
        return LINK if is_broadcast or submission.unsubscribe else None
    if stream.own_unsubscribe == REFUSE:
        raise SubmissionError(
            Fault.INVALID_FIELD,
            f"the stream {stream.name} takes no message with a List-Unsubscribe of its own: leave it out",
            pointer="/headers",
        )
    if submission.unsubscribe:
        raise SubmissionError(
            Fault.INVALID_FIELD,
            "the message has a List-Unsubscribe of its own and asks for another, of which there is but one",
            pointer="/unsubscribe",
        )
    return None


def _check_limits(submission: Submission, key: _Key) -> None:
    if key.streams is not None:
        check_limit("streams", msgspec.json.decode(key.streams), [submission.stream], pointer="/stream")
    if key.domains is not None:
        froms = [mailbox.domain for mailbox in (*submission.authors, *submission.senders)]
        check_limit("domains", msgspec.json.decode(key.domains), froms, pointer="/from")


def check_limit(
    field: str, only: Sequence[str] | None, wanted: Sequence[str], *, pointer: str | None = None
) -> None:
    """Raises SubmissionError (KEY_LIMITED) if one of `wanted` is not among a key's only streams or domains.

    field  streams | domains. only: None: any
    """
    if only is None:
        return
    beyond = next((name for name in wanted if name not in only), None)
    if beyond is None:
        return
    names = ", ".join(only[:_SHOWN]) + (f" and {len(only) - _SHOWN} more" if len(only) > _SHOWN else "")
    to = "to" if field == "streams" else "from"
    raise SubmissionError(
        Fault.KEY_LIMITED,
        f"this API key may send {to} the {field} {names} only, and {beyond} is none of them",
        pointer=pointer,
    )


def archived(stream: str) -> SubmissionError:
    return SubmissionError(
        Fault.STREAM_ARCHIVED, f"the stream {stream} is archived and takes nothing more", pointer="/stream"
    )


def own_stream(name: str, tenant_id: int, facts: Facts) -> _Stream:
    """Raises SubmissionError: there is none, or it is archived."""
    stream = facts.streams.get((tenant_id, name))
    if stream is None:
        raise SubmissionError(Fault.UNKNOWN_STREAM, f"this tenant has no stream {name!r}", pointer="/stream")
    if stream.state != "active":
        raise archived(stream.name)
    return stream


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


def payer_of(submission: Submission, facts: Facts) -> Payer | None:
    """Who is charged for it, and in whose log a refusal of it is told; None when the credential proves no
    tenant."""
    key = facts.keys.get(submission.key_id)
    if key is None or not hmac.compare_digest(key.secret_hash, submission.secret_hash):
        return None
    quota = () if key.quota is None else read_rates(msgspec.json.decode(key.quota))
    return Payer(key.id, key.tenant_id, quota)
