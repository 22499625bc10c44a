"""A message that came whole, as every door that takes one submits it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from mailer.accept import times
from mailer.accept.credentials import Identity
from mailer.accept.submission import Envelope, Submission
from mailer.compose.submitted import Submitted
from mailer.policy.tls import Wish

_STREAM = "transactional"


class Handover(msgspec.Struct, frozen=True, kw_only=True):
    """What a door knows beside the message.

    mail_from        "" for the null reverse-path
    message_id       the message bears it already
    idempotency_key  None: the submitter gave none
    sha256           of what came, where there is a key
    ret, envid       what the submitter asked of DSNs (RFC 3461 §4.3, §4.4); None: not said
    requiretls       it asked for REQUIRETLS (RFC 8689 §2)
    """

    identity: Identity
    door: str
    mail_from: str
    message_id: int
    idempotency_key: str | None = None
    sha256: bytes = b""
    ret: str | None = None
    envid: str | None = None
    requiretls: bool = False


def submission_of(
    content: Submitted, recipients: Sequence[Envelope], handover: Handover, now: datetime
) -> Submission:
    """What its X-Mailer-* fields ask for is done. Raises SubmissionError: its times cannot be."""
    said = content.control
    return Submission(
        key_id=handover.identity.key_id,
        secret_hash=handover.identity.secret_hash,
        content=content,
        recipients=tuple(recipients),
        door=handover.door,
        stream=said.stream or _STREAM,
        tags=said.tags,
        metadata=said.metadata,
        idempotency_key=handover.idempotency_key,
        body_sha256=handover.sha256,
        due_at=times.due_at(said.send_at, now),
        expires_at=times.expires_at(said.expires_at, said.send_at, now),
        mail_from=handover.mail_from,
        message_id=handover.message_id,
        ret=handover.ret,
        envid=handover.envid,
        tenant_id=handover.identity.tenant_id,
        unsubscribe=said.unsubscribe,
        tls=Wish.REQUIRETLS if handover.requiretls else said.tls or _as_written(content),
    )


def _as_written(content: Submitted) -> str | None:
    """TLS-Required is ignored beside REQUIRETLS (RFC 8689 §5), and here beside what X-Mailer-TLS says."""
    return Wish.OPTIONAL if content.no_tls_required else None
