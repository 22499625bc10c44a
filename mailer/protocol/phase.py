"""The steps of a delivery, in order (RFC 5321 §3)."""

from __future__ import annotations

import enum


class Phase(enum.StrEnum):
    """The step an answer or a failure belongs to."""

    RESOLVE = "resolve"  # MX and address look-up (RFC 5321 §5.1)
    CONNECT = "connect"
    GREETING = "greeting"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    CONTENT = "content"
    END_OF_DATA = "end-of-data"


# After a delivery: where events say what was heard of a recipient later.
RETURNED = "returned"  # a mail that came back
WEB = "web"  # a page or a button
