"""The header fields that a final delivery puts on top of a message (RFC 5321 §4.4)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime

_UNSAFE = re.compile(r"[^A-Za-z0-9.:_\[\]-]")


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a message came in.

    peer_name     what the client called itself in EHLO, as it came
    peer_address  its IP address
    host          our own name
    is_esmtp      it said EHLO, not HELO
    is_tls        the session was encrypted
    is_utf8       MAIL carried SMTPUTF8 (RFC 6531 §3.4)
    """

    peer_name: str
    peer_address: str
    host: str
    is_esmtp: bool
    is_tls: bool
    is_utf8: bool
    at: datetime


def trace_fields(arrival: Arrival, reverse_path: str, recipient: str, key: str) -> bytes:
    """Return-Path, Delivered-To and Received, each with CRLF, for one recipient's copy.

    Addresses come without angle brackets and free of control characters; an empty reverse_path is the
    null one (RFC 5321 §4.5.5).
    """
    lines = (
        f"Return-Path: <{reverse_path}>",
        f"Delivered-To: {recipient}",
        f"Received: from {_word(arrival.peer_name)} ({_literal(arrival.peer_address)})",
        f"\tby {arrival.host} with {_protocol(arrival)} id {key}",
        f"\tfor <{recipient}>; {format_datetime(arrival.at)}",
    )
    return "".join(f"{line}\r\n" for line in lines).encode()


def _protocol(arrival: Arrival) -> str:
    """The registered name of what was spoken (RFC 3848, RFC 6531 §4.3)."""
    if not arrival.is_esmtp:
        return "SMTP"
    return ("UTF8SMTP" if arrival.is_utf8 else "ESMTP") + ("S" if arrival.is_tls else "")


def _literal(address: str) -> str:
    """An address literal (RFC 5321 §4.1.3)."""
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


def _word(text: str) -> str:
    """A stranger's EHLO name must not be able to end the field or open a comment."""
    return _UNSAFE.sub("?", text)[:255] or "unknown"
