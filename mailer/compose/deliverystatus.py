"""The part of a DSN that programs read: message/delivery-status (RFC 3464 §2), or its form for UTF-8.

A group of fields about the message, then one for each recipient, an empty line between them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mailer.compose import fields, trace
from mailer.events import NoticeKind

_DIAGNOSTIC_CHARS = 900  # of a reply; with its type it may be one word, and must fit into a line of mail
_AS_GIVEN = frozenset({"Original-Envelope-Id", "Original-Recipient"})  # folding may lose one of two spaces
_NOT_ASCII = re.compile(r"[^ -~]")
_ADDRESS_LITERAL = re.compile(r"[0-9.]+|[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """What became of one recipient.

    address          as it goes on the wire
    orcpt            "type;address" as its submitter gave it; None: not given
    status           enhanced status (RFC 3463 §2)
    remote_mta       name or address of the host that decided it; None where none did
    diagnostic       its reply, or our own reason; None: nothing is known
    is_reply         diagnostic is what a host said
    last_attempt_at  aware; None: never tried
    retry_until      aware; None unless it is tried again
    has_expired      its time was over
    in_doubt         an attempt may have delivered it without our hearing so
    """

    address: str
    orcpt: str | None
    status: str
    remote_mta: str | None
    diagnostic: str | None
    is_reply: bool
    last_attempt_at: datetime | None
    retry_until: datetime | None
    has_expired: bool = False
    in_doubt: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """reporting_mta: our own name. envid: the submitter's, decoded; None: not given. arrived_at: aware."""

    kind: NoticeKind
    reporting_mta: str
    envid: str | None
    arrived_at: datetime
    recipients: Sequence[Reported]

    @property
    def needs_utf8(self) -> bool:
        """An address has no ASCII form, so that it takes message/global-delivery-status (RFC 6533 §4)."""
        return not all((r.address + (r.orcpt or "")).isascii() for r in self.recipients)


def written(status: Status) -> str:
    """The groups of fields, CRLF lines; ASCII unless needs_utf8."""
    groups = [_of_message(status), *[_of_recipient(status, r) for r in status.recipients]]
    return "\r\n".join(groups)


def _of_message(status: Status) -> str:
    """RFC 3464 §2.2."""
    return _group(
        ("Original-Envelope-Id", status.envid),
        ("Reporting-MTA", f"dns; {_host(status.reporting_mta)}"),
        ("Arrival-Date", fields.date_text(status.arrived_at)),
    )


def _of_recipient(status: Status, r: Reported) -> str:
    """RFC 3464 §2.3."""
    return _group(
        ("Original-Recipient", r.orcpt and _typed(r.orcpt)),
        ("Final-Recipient", f"{'rfc822' if r.address.isascii() else 'utf-8'}; {r.address}"),
        ("Action", str(status.kind)),
        ("Status", r.status),
        ("Remote-MTA", r.remote_mta and f"dns; {_host(r.remote_mta)}"),
        ("Diagnostic-Code", r.diagnostic and _diagnostic(r, is_utf8=status.needs_utf8)),
        ("Last-Attempt-Date", _date(r.last_attempt_at)),
        ("Will-Retry-Until", _date(r.retry_until)),
    )


def _group(*found: tuple[str, str | None]) -> str:
    return "".join(_field(name, value) for name, value in found if value and value.strip())


def _field(name: str, value: str) -> str:
    if name in _AS_GIVEN:
        return f"{name}: {value}\r\n"
    return fields.structured_field(name, value)


def _date(at: datetime | None) -> str | None:
    return None if at is None else fields.date_text(at)


def _typed(orcpt: str) -> str:
    """RFC 3461 §6.3: decoded, with the type that it had."""
    kind, _, address = orcpt.partition(";")
    return f"{kind}; {address}"


def _host(name: str) -> str:
    """RFC 3464 §2.1.2: a domain, or an address in brackets."""
    return trace.literal(name) if _ADDRESS_LITERAL.fullmatch(name) else trace.word(name)


def _diagnostic(r: Reported, *, is_utf8: bool) -> str:
    """RFC 3464 §2.3.6: of type smtp only what a host said."""
    text = (r.diagnostic or "")[:_DIAGNOSTIC_CHARS]
    if not is_utf8:
        text = _NOT_ASCII.sub("?", text)
    return f"{'smtp' if r.is_reply else 'x-mailer'}; {text}"
