"""What a submitter tells this mailer about a message beside its content: limits, and the X-Mailer-* fields.

Every door takes the same; one that gets a whole message reads it from header fields, which are never sent:

    X-Mailer-Stream: broadcast
    X-Mailer-Tags: invoice, 2026-q1              words between commas; the field may repeat
    X-Mailer-Metadata: order=4711                one pair a field, split at the first "="; repeats
    X-Mailer-Idempotency-Key: invoice-4711
    X-Mailer-Send-At: 2026-01-31T08:00:00+01:00  RFC 3339 §5.6
    X-Mailer-Expires-At: 2026-02-01T08:00:00Z
    X-Mailer-TLS: required                       what a next hop must prove: encrypted, required, requiretls
    X-Mailer-Unsubscribe: yes                    List-Unsubscribe fields where the stream gives none: yes, no

A pair a field rather than one JSON object: software that can only add a header field can write it, and
folding cannot break it. A name not listed is refused, since a typing error would lose what was asked for.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from typing import Any

from mailer.compose.block import Field
from mailer.compose.malformed import ControlFieldError

PREFIX = "x-mailer-"
STREAM_CHARS = 100
TAGS = 10
TAG_CHARS = 64
METADATA_PAIRS = 50
METADATA_KEY_CHARS = 64
METADATA_VALUE_CHARS = 500
TAG_PATTERN = f"[!-~]{{1,{TAG_CHARS}}}"
IDEMPOTENCY_KEY_PATTERN = "[!-~]{1,255}"
TLS_WORDS = ("encrypted", "required", "requiretls")  # of policy.tls.Wish; "optional" is TLS-Required: No

_OURS = "x-mailer-ref"  # of a message that passed here before, or forged: taken out, never read
_TAG = re.compile(TAG_PATTERN)
_IDEMPOTENCY_KEY = re.compile(IDEMPOTENCY_KEY_PATTERN)
NOT_AN_INSTANT = "must be an instant with its offset from UTC, such as 2026-01-31T08:00:00+01:00"
_INSTANT = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,6})\d*)?(?:([Zz])|([+-]\d\d:\d\d))", re.ASCII
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """What the X-Mailer-* fields of a message say.

    stream, idempotency_key, send_at, expires_at, tls, unsubscribe
        None: not said. Instants are aware UTC, and may have passed
    """

    stream: str | None = None
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    idempotency_key: str | None = None
    send_at: datetime | None = None
    expires_at: datetime | None = None
    tls: str | None = None
    unsubscribe: bool | None = None


_NOTHING = Control()


def read_control(fields: Iterable[Field]) -> Control:
    """What these fields, all named X-Mailer-*, say. Raises ControlFieldError."""
    values: dict[str, list[str]] = {}
    for given in fields:
        if given.name == _OURS:
            continue
        if given.name not in _READERS:
            known = ", ".join(written for written, _, _ in _READERS.values())
            raise ControlFieldError(
                f"there is no field {given.written_name}; there are {known}", field=given.written_name
            )
        values.setdefault(given.name, []).append(_text(given))
    if not values:
        return _NOTHING
    said: dict[str, Any] = {}
    for name, texts in values.items():
        written, attribute, read = _READERS[name]
        try:
            said[attribute] = read(texts)
        except ValueError as error:
            raise ControlFieldError(f"the field {written} {error}", field=written) from None
    return Control(**said)


def _text(given: Field) -> str:
    """The value in UTF-8; encoded-words, which mail libraries make of anything else, are read."""
    written = given.written_name
    try:
        text = given.value.decode()
        return str(make_header(decode_header(text))) if "=?" in text else text
    except (UnicodeError, LookupError, HeaderParseError, binascii.Error):
        raise ControlFieldError(f"the field {written} is not text in UTF-8", field=written) from None


def _one(texts: list[str]) -> str:
    if len(texts) > 1:
        raise ValueError("is given more than once")
    return texts[0]


def _stream(texts: list[str]) -> str:
    name = _one(texts)
    if not 1 <= len(name) <= STREAM_CHARS:
        raise ValueError(f"names a stream with 1 to {STREAM_CHARS} characters")
    return name


def _tags(texts: list[str]) -> tuple[str, ...]:
    tags = [tag.strip(" \t") for text in texts for tag in text.split(",")]
    tags = [tag for tag in tags if tag]
    if len(tags) > TAGS:
        raise ValueError(f"may give {TAGS} tags")
    if not all(map(_TAG.fullmatch, tags)):
        raise ValueError(f"gives tags of 1 to {TAG_CHARS} visible ASCII characters")
    return tuple(tags)


def _metadata(texts: list[str]) -> dict[str, str]:
    if len(texts) > METADATA_PAIRS:
        raise ValueError(f"may be given {METADATA_PAIRS} times")
    pairs: dict[str, str] = {}
    for text in texts:
        key, equals, value = (part.strip(" \t") for part in text.partition("="))
        if not equals or not 1 <= len(key) <= METADATA_KEY_CHARS or len(value) > METADATA_VALUE_CHARS:
            raise ValueError(
                "has the form key=value,"
                f" of at most {METADATA_KEY_CHARS} and {METADATA_VALUE_CHARS} characters"
            )
        if key in pairs:
            raise ValueError("gives one key more than once")
        pairs[key] = value
    return pairs


def _idempotency_key(texts: list[str]) -> str:
    key = _one(texts)
    if _IDEMPOTENCY_KEY.fullmatch(key) is None:
        raise ValueError("is made of 1 to 255 visible ASCII characters")
    return key


def _tls(texts: list[str]) -> str:
    word = _one(texts).strip(" \t").lower()
    if word not in TLS_WORDS:
        raise ValueError(f"is one of {', '.join(TLS_WORDS)}")
    return word


def _yes_or_no(texts: list[str]) -> bool:
    word = _one(texts).strip(" \t").lower()
    if word not in ("yes", "no"):
        raise ValueError("is yes or no")
    return word == "yes"


def _instant(texts: list[str]) -> datetime:
    return read_instant(_one(texts))


def read_instant(text: str) -> datetime:
    """In UTC, of RFC 3339 §5.6. Raises ValueError, which goes on after the name of what it was read from."""
    try:
        return written_instant(text).astimezone(UTC)
    except OverflowError:  # a day before the year 1
        raise ValueError(NOT_AN_INSTANT) from None


def written_instant(text: str) -> datetime:
    """With the offset it was written with, of RFC 3339 §5.6. Raises ValueError, as read_instant does."""
    given = _INSTANT.fullmatch(text)
    if given is None:
        raise ValueError(NOT_AN_INSTANT)
    day, time, fraction, _, offset = given.groups()
    try:
        return datetime.fromisoformat(f"{day}T{time}.{(fraction or '').ljust(6, '0')}{offset or '+00:00'}")
    except ValueError:  # the 31st of February
        raise ValueError(NOT_AN_INSTANT) from None


# As people write it, which attribute it is, and who reads all its values.
_READERS: Mapping[str, tuple[str, str, Callable[[list[str]], object]]] = {
    written.lower(): (written, attribute, read)
    for written, attribute, read in (
        ("X-Mailer-Stream", "stream", _stream),
        ("X-Mailer-Tags", "tags", _tags),
        ("X-Mailer-Metadata", "metadata", _metadata),
        ("X-Mailer-Idempotency-Key", "idempotency_key", _idempotency_key),
        ("X-Mailer-Send-At", "send_at", _instant),
        ("X-Mailer-Expires-At", "expires_at", _instant),
        ("X-Mailer-TLS", "tls", _tls),
        ("X-Mailer-Unsubscribe", "unsubscribe", _yes_or_no),
    )
}
