"""What comes back from a simulated recipient, as octets: a complaint, a wish to leave, an absence.

Each goes to the reverse-path of the message it answers (RFC 3834 §4), as the real ones do or may: complaints
as the report that mailbox providers send (RFC 5965), a wish to leave as what a mail program makes of
`List-Unsubscribe: <mailto:...?subject=unsubscribe>` (RFC 2369 §3.2), an absence with Auto-Submitted (RFC 3834
§3.1.7). None is sent where the reverse-path is null, so that nothing answers an answer (RFC 3834 §2).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime

from mailer.report.simulator import DOMAIN, Manner

_HEADER_OCTETS = 64 * 1024  # of the message answered; cut at the end of a line
_FIELD_CHARS = 300
_USER_AGENT = "ECM-Mailer-Simulator/1"


@dataclass(frozen=True, slots=True)
class Original:
    """The message that is answered.

    key           under which it is kept; makes what is written of it unique
    reverse_path  without angle brackets; not null
    recipient     the simulated one, as it stood in RCPT
    """

    key: str
    reverse_path: str
    recipient: str
    peer_address: str
    arrived_at: datetime
    content: bytes


@dataclass(frozen=True, slots=True)
class Outgoing:
    """sender: "" is the null reverse-path, so that a failure of it goes nowhere (RFC 5321 §4.5.5)."""

    sender: str
    recipient: str
    content: bytes


def reply_of(manner: Manner, original: Original, now: datetime) -> Outgoing | None:
    """What a recipient of this manner sends back; None from most, and to a path that needs SMTPUTF8: none
    of ours does."""
    if not original.reverse_path.isascii():
        return None
    match manner:
        case Manner.COMPLAINT:
            return Outgoing("", original.reverse_path, _complaint(original, now))
        case Manner.UNSUBSCRIBE:
            sender = f"{manner}@{DOMAIN}"
            return Outgoing(sender, original.reverse_path, _unsubscribe(original, now))
        case Manner.OOF:
            return Outgoing("", original.reverse_path, _absence(original, now))
        case _:
            return None


def _complaint(original: Original, now: datetime) -> bytes:
    """RFC 5965 §2. Providers return the header or the whole; it may be the header alone (§2 d)."""
    boundary = f"=_{original.key}"
    kind = f'multipart/report; report-type=feedback-report;\r\n\tboundary="{boundary}"'
    report = [
        ("Feedback-Type", "abuse"),
        ("User-Agent", _USER_AGENT),
        ("Version", "1"),
        ("Original-Mail-From", f"<{original.reverse_path}>"),
        ("Original-Rcpt-To", f"<{original.recipient}>"),
        ("Arrival-Date", format_datetime(original.arrived_at)),
        ("Source-IP", original.peer_address),
    ]  # RFC 5965 §3.1, §3.2
    parts = [
        (
            "text/plain; charset=us-ascii",
            b"A recipient of the simulator says that this message is abuse.\r\n",
        ),
        ("message/feedback-report", _lines(report)),
        ("text/rfc822-headers", _header_of(original.content)),
    ]
    written = b"".join(
        f"--{boundary}\r\nContent-Type: {of}\r\n\r\n".encode() + body + b"\r\n" for of, body in parts
    )
    fields = {"Subject": "Abuse report", "Content-Type": kind}
    return _message(Manner.COMPLAINT, original, now, fields) + written + f"--{boundary}--\r\n".encode()


def _unsubscribe(original: Original, now: datetime) -> bytes:
    fields = {"Subject": "unsubscribe"}
    return _message(Manner.UNSUBSCRIBE, original, now, fields) + b"unsubscribe\r\n"


def _absence(original: Original, now: datetime) -> bytes:
    """RFC 3834 §3.1.5, §3.1.6, §3.1.7."""
    fields = {"Subject": f"Auto: {_field(original, 'Subject') or 'your message'}"}
    if rfc_message_id := _field(original, "Message-ID"):
        fields |= {"In-Reply-To": rfc_message_id, "References": rfc_message_id}
    fields["Auto-Submitted"] = "auto-replied"
    text = b"This simulated recipient is away. The message was received and is not read.\r\n"
    return _message(Manner.OOF, original, now, fields) + text


def _message(manner: Manner, original: Original, now: datetime, fields: Mapping[str, str]) -> bytes:
    """The header with its empty line; `fields` after those that every message has (RFC 5322 §3.6)."""
    first = [
        ("From", f"<{manner}@{DOMAIN}>"),
        ("To", f"<{original.reverse_path}>"),
        ("Date", format_datetime(now)),
        ("Message-ID", f"<{original.key}.{manner}@{DOMAIN}>"),
        ("MIME-Version", "1.0"),
    ]
    return _lines([*first, *fields.items()]) + b"\r\n"


def _lines(fields: Sequence[tuple[str, str]]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in fields).encode()


def _header_of(content: bytes) -> bytes:
    section = content.partition(b"\r\n\r\n")[0][:_HEADER_OCTETS]
    whole, end, cut = section.rpartition(b"\r\n")
    return (whole if len(section) == _HEADER_OCTETS else whole + end + cut) + b"\r\n"


def _field(original: Original, name: str) -> str:
    """Unfolded and fit to stand in a field of ours; empty if there is none, or it is not plain ASCII."""
    pattern = rf"(?:^|\r\n){name}:((?:[^\r]|\r\n[ \t])*)".encode()
    found = re.search(pattern, _header_of(original.content), re.IGNORECASE)
    text = "" if found is None else " ".join(found[1].decode("ascii", "replace").split())
    return text if text.isascii() and text.isprintable() and len(text) <= _FIELD_CHARS else ""
