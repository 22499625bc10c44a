"""Header fields beside those we write ourselves: which a submitter may set, and each recipient's own."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mailer.compose import fields
from mailer.compose.unsubscribe import (
    LIST_UNSUBSCRIBE,
    LIST_UNSUBSCRIBE_POST,
    UnsubscribeFieldError,
    check_own,
)

_FIELD_NAME = re.compile(r"[!-9;-~]+")  # RFC 5322 §3.6.8: printable US-ASCII without the colon
_VALUE_CHARS = 8192
# Tab is white space in mail. U+2028, U+2029 and U+0085 are line breaks to some readers downstream; a lone
# surrogate is half a character, which UTF-8 cannot carry.
_NOT_IN_FIELD = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

# Written by us, or by the hosts the message passes, which would be forging their trace (RFC 5322 §3.6.7).
_RESERVED = frozenset(
    {
        "from", "sender", "reply-to", "to", "cc", "bcc", "subject", "date", "message-id", "mime-version",
        "return-path", "received", "received-spf", "delivered-to", "envelope-to", "x-original-to",
        "dkim-signature", "domainkey-signature", "authentication-results", "x-mailer-ref", "apparently-to",
    }
)  # fmt: skip
_RESERVED_PREFIXES = ("content-", "resent-", "arc-", "bimi-", "x-mailer-")

# Fields whose grammar knows no encoded-words (RFC 2047 §5): these must be ASCII and go out as they are.
# RFC 5322 §3.6.4; RFC 2369 §3, RFC 2919 §3, RFC 8058 §3.1; RFC 3834 §5; RFC 8098 §2.1; RFC 8689 §5.
_STRUCTURED = frozenset(
    {
        "in-reply-to", "references", "feedback-id", "auto-submitted", "precedence", "importance", "priority",
        "x-priority", "disposition-notification-to", "tls-required", "autocrypt", "x-auto-response-suppress",
    }
)  # fmt: skip
# A second one would leave it to the reader which counts (RFC 5322 §3.6, RFC 2369 §3, RFC 8058 §3.1).
_LISTED = (LIST_UNSUBSCRIBE, LIST_UNSUBSCRIBE_POST)
_AT_MOST_ONCE = _STRUCTURED - {"autocrypt"}


class HeaderError(ValueError):
    """The field may not be set, or not so. The message is a sentence for people and repeats no value."""


def check_custom_header(name: str, value: str) -> None:
    """A submitter may add this field. Raises HeaderError."""
    if _FIELD_NAME.fullmatch(name) is None:
        raise HeaderError("a header field name is made of printable ASCII characters without ':'")
    if len(name) > fields.NAME_CHARS:
        raise HeaderError(f"a header field name is at most {fields.NAME_CHARS} characters long")
    lowered = name.lower()
    if lowered in _RESERVED or lowered.startswith(_RESERVED_PREFIXES):
        raise HeaderError(f"the header field {name} is written by the mailer and cannot be set")
    check_field_text(value, f"the header field {name}")
    if len(value) > _VALUE_CHARS:
        raise HeaderError(f"the header field {name} is longer than {_VALUE_CHARS} characters")
    if not value.strip(" "):
        # RFC 5322 §3.2.2: a field of white space only is obsolete syntax, and relays drop it.
        raise HeaderError(f"the header field {name} has no value")
    if _is_structured(lowered):
        _check_structured(name, value)


def check_custom_headers(headers: Sequence[tuple[str, str]]) -> None:
    """Each of `headers` may be added, none twice that must stand alone, and List-Unsubscribe-Post only where
    it may stand. Raises HeaderError."""
    seen: set[str] = set()
    for name, value in headers:
        check_custom_header(name, value)
        lowered = name.lower()
        if lowered in seen and (lowered in _AT_MOST_ONCE or lowered.startswith("list-")):
            raise HeaderError(f"the header field {name} is given more than once")
        seen.add(lowered)
    if LIST_UNSUBSCRIBE_POST.lower() in seen:
        named = [[v for name, v in headers if name.lower() == wanted.lower()] for wanted in _LISTED]
        try:
            check_own(*named)
        except UnsubscribeFieldError as error:
            raise HeaderError(str(error)) from None


def check_field_text(text: str, what: str) -> None:
    """`text` fits into one header field: no line break starts another one. Raises HeaderError.

    what  begins the sentence of a refusal, "the subject"
    """
    if _NOT_IN_FIELD.search(text):
        raise HeaderError(f"{what} holds a line break or another control character")


def custom_field(name: str, value: str) -> str:
    """A checked custom field, folded, ending in CRLF."""
    if _is_structured(name.lower()):
        return fields.structured_field(name, value.strip(" "))
    return fields.text_field(name, value)


def per_recipient_prefix(token: str) -> bytes:
    """The header fields of one recipient alone: the reference that a bounce without envelope is known by."""
    return f"X-Mailer-Ref: {token}\r\n".encode("ascii")


def _is_structured(lowered: str) -> bool:
    return lowered in _STRUCTURED or lowered.startswith("list-")


def _check_structured(name: str, value: str) -> None:
    if not (value.isascii() and value.isprintable()):
        raise HeaderError(f"the header field {name} must be printable ASCII")
    if max(map(len, value.split())) > fields.LINE_OCTETS - len(name) - 2:
        raise HeaderError(f"the header field {name} holds a word too long for a line of mail")
