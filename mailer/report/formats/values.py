"""Texts, numbers, domains, addresses and instants as strangers write them; None where they make no sense."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import idna

from mailer.policy.bounceclass import BounceClass

TEXT_CHARS = 500
NAME_CHARS = 255
MOST_MESSAGES = 10**12  # of one row: more than anybody sends, and small enough to be added up
_LATEST_SECONDS = 4_102_444_800  # the year 2100: later than that is no date of a report
_SPACE = re.compile(r"\s+")
_DIGITS = re.compile(r"[0-9]{1,15}", re.ASCII)
_SECONDS = re.compile(r"([0-9]{1,12})(\.[0-9]{0,9})?", re.ASCII)
_DOMAIN = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Unparsable:
    """It is no such report. why: a sentence for whoever looks at the raw octets, without words of theirs."""

    why: str

    @property
    def bounce_class(self) -> BounceClass:
        return BounceClass.UNDETERMINED


def line(text: object, most: int = TEXT_CHARS) -> str:
    """As one printable line, cut to `most` characters; empty if it is no text."""
    if not isinstance(text, str):
        return ""
    # Cut before as well as after: the pattern need not see what is thrown away.
    shown = _SPACE.sub(" ", text[: most * 4]).strip()
    return "".join(c if c.isprintable() else "\ufffd" for c in shown)[:most].strip()


def word(text: object, most: int = 40) -> str:
    """A keyword: lower case, `-` and `_` and space alike. Vendors write Pass, PASS and trusted-forwarder."""
    return line(text, most).lower().replace("-", "_").replace(" ", "_")


def domain(text: object) -> str:
    """In A-labels and lower case, without a final dot; empty if it is no domain name."""
    name = line(text, NAME_CHARS).rstrip(".").lower()
    if not name.isascii():
        try:
            name = idna.encode(name, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError, IndexError, ValueError):
            return ""
    return name if _DOMAIN.fullmatch(name) and len(name) <= NAME_CHARS else ""


def address(text: object) -> str | None:
    """An IP address in its one written form; None if it is none. IPv4 in IPv6 is IPv4."""
    try:
        found = ipaddress.ip_address(line(text, 60).strip("[]"))
    except ValueError:
        return None
    inner = getattr(found, "ipv4_mapped", None)
    return str(inner or found).partition("%")[0]


def count(value: object, most: int = MOST_MESSAGES) -> int | None:
    """A whole number from 0 to `most`, also where it is written as text; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) <= most:
        value = int(value)
    if isinstance(value, str) and _DIGITS.fullmatch(value.strip()):
        value = int(value.strip())
    return value if isinstance(value, int) and 0 <= value <= most else None


def seconds(text: str) -> datetime | None:
    """Seconds since 1970 as an instant."""
    found = _SECONDS.fullmatch(text.strip())
    if found is None or int(found[1]) > _LATEST_SECONDS:
        return None
    return datetime.fromtimestamp(int(found[1]), UTC)


def rfc3339(text: object) -> datetime | None:
    """RFC 3339 §5.6, and what looks like it: without a zone it is UTC."""
    return _instant(datetime.fromisoformat, line(text, 60))


def rfc5322(text: object) -> datetime | None:
    """A date as in a header field (RFC 5322 §3.3); without a zone it is UTC."""
    return _instant(parsedate_to_datetime, line(text, 100))


def _instant(read: Callable[[str], datetime], text: str) -> datetime | None:
    try:
        found = read(text)
        at = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, TypeError, OverflowError, IndexError, AttributeError):
        return None  # the standard library raises any of these for dates that are none
    return at if 1970 <= at.year <= 2100 else None
