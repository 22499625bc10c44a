"""Addresses in what strangers write: in fields with a type, in lists, and in running text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from mailer.report.reading.decoding import plain

# Wider than RFC 5322 §3.2.3 and RFC 6532 §3.2, but without the punctuation of other scripts.
_PUNCTUATION = r"\u2000-\u206f\u3000-\u303f\uff00-\uff20\uff3b-\uff40\uff5b-\uff65"
_ATOM = rf"""[^\s"<>()\[\]:;,@\\'`|{_PUNCTUATION}]"""
_LOCAL = rf"""(?:"(?:[^"\\\s]|\\.){{1,64}}"|{_ATOM}{{1,120}}(?:'{_ATOM}{{1,60}})?)"""
_OTHER = r"\u00a1-\u1fff\u2c00-\u2fff\u3041-\ud7ff\uf900-\ufdff"
# Text may go on without a space where a script has none: a domain of ASCII ends there.
_ASCII = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,250}[A-Za-z0-9])?(?![A-Za-z0-9\u00c0-\u052f])"
_IDN = rf"[A-Za-z0-9{_OTHER}](?:[A-Za-z0-9{_OTHER}.-]{{0,250}}[A-Za-z0-9{_OTHER}])?"
_DOMAIN = rf"(?:{_ASCII}|{_IDN}|\[[0-9A-Fa-f:.IPv]{{3,60}}\])"
ADDRESS = rf"{_LOCAL}@{_DOMAIN}"

_ADDRESS = re.compile(rf"(?<!{_ATOM}){ADDRESS}")
_WHOLE = re.compile(rf"<?({ADDRESS})>?\.?")
_ROUTE = re.compile(r"^@[^:\s]{1,255}:")  # RFC 5321 §4.1.2, A-d-l
_X_UTF8 = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")  # RFC 6533 §3
_PREFIX = re.compile(r"\[?mailto:|\b(?:SMTP|RFC-?822)=", re.IGNORECASE)  # the latter within X.400 names
_IN_BRACKETS = re.compile(rf"<({ADDRESS})>")
_QUOTED_NAME = re.compile(r'"[^"]{0,200}"(?!@)')
_MOST = 500


def one_address(text: str) -> str | None:
    """The address that `text` is, decorated as hosts do; None if it is none."""
    word = _ROUTE.sub("", text.strip().strip("<>'\"` \t"))
    match = _WHOLE.fullmatch(word)
    return match[1] if match is not None else None


def typed_address(value: str) -> str | None:
    """The address of a field of the form `rfc822; address` (RFC 3464 §2.3.1), of utf-8 too (RFC 6533 §3).

    Hosts leave the type out, put comments after it, or write what is no address: a program, an X.400 name.
    """
    kind, semicolon, rest = value.partition(";")
    kind = kind.strip().lower()
    text = rest if semicolon and "@" not in kind else value
    if kind == "utf-8":
        text = _X_UTF8.sub(_scalar, text)
    elif kind == "x400" or "dda:smtp=" in value.lower():
        return x400_address(value)
    text = text.strip()
    whole = one_address(text)
    if whole is not None:
        return whole
    bracketed = re.match(rf"[^<>]{{0,200}}<({ADDRESS})>", text) or re.match(
        rf"({ADDRESS})(?=[\s(,;]|$)", text
    )
    return bracketed[1] if bracketed is not None else None


def _scalar(match: re.Match[str]) -> str:
    number = int(match[1], 16)
    return chr(number) if number < 0x110000 and not 0xD800 <= number < 0xE000 else ""


def x400_address(text: str) -> str | None:
    """The address for SMTP in an X.400 name: `dda:SMTP=user@example.com;`, or (a) for @ (RFC 2156 §4.2)."""
    match = re.search(
        r"(?:dda[:.]|RFC-?822\s*=|\bSMTP=)(?:\s*(?:SMTP|RFC-?822)\s*=)?\s*([^;/\s]{3,250})", text, re.I
    )
    return None if match is None else one_address(match[1].replace("(a)", "@"))


def addresses_in(text: str) -> Iterator[str]:
    """Every address in running text, those of links included."""
    for number, match in enumerate(_ADDRESS.finditer(_PREFIX.sub(" ", text))):
        if number == _MOST:
            return
        yield match[0].rstrip(".")


def listed(values: Iterable[str]) -> tuple[str, ...]:
    """The addresses of fields like To, display names left out, each once."""
    found: dict[str, str] = {}
    for value in values:
        for one in _QUOTED_NAME.sub(" ", plain(value)).split(","):
            bracketed = [match[1] for match in _IN_BRACKETS.finditer(one)]
            for address in bracketed or addresses_in(one):
                found.setdefault(address.lower(), address)
                if len(found) == _MOST:
                    return tuple(found.values())
    return tuple(found.values())


def together(addresses: Iterable[str]) -> tuple[str, ...]:
    """Each once, whatever the case of its letters."""
    found: dict[str, str] = {}
    for address in addresses:
        found.setdefault(address.lower(), address)
    return tuple(found.values())[:_MOST]


def same(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and one.lower() == other.lower()
