"""The header fields that a final delivery puts on top of a message (RFC 5321 §4.4)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime

from mailer.compose.trace import literal, smtp_protocol, word


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
    protocol = smtp_protocol(
        is_extended=arrival.is_esmtp,
        is_tls=arrival.is_tls,
        is_authenticated=False,
        is_utf8=arrival.is_utf8,
    )
    lines = (
        f"Return-Path: <{reverse_path}>",
        f"Delivered-To: {recipient}",
        f"Received: from {word(arrival.peer_name)} ({literal(arrival.peer_address)})",
        f"\tby {arrival.host} with {protocol} id {key}",
        f"\tfor <{recipient}>; {format_datetime(arrival.at)}",
    )
    return "".join(f"{line}\r\n" for line in lines).encode()
