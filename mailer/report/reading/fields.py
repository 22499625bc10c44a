"""Header fields, and blocks that look like them, read leniently (RFC 5322 §2.2, §4).

Bounded: a section of a few octets more than a header should have is cut, and so is the number of its fields.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from mailer.report.reading.decoding import plain, text_of

SECTION_OCTETS = 128 * 1024
_FIELDS_MOST = 1000
_VALUE_CHARS = 16 * 1024

# RFC 5322 §2.2, and white space before the colon of §4.5.
_FIELD = re.compile(r"([!-9;-~]{1,100})[ \t]*:(.*)", re.DOTALL)
_FOLD = re.compile(r"\r?\n(?=[ \t])")
_PARAMETER = re.compile(
    r'(?<=[;\s])([A-Za-z0-9_.-]{1,40})(?:\*(\d{1,2}))?(\*)?\s*=\s*(?:"((?:[^"\\]|\\.){0,2000})"|([^\s;]{0,2000}))',
    re.DOTALL,
)
_PARAMETERS_MOST = 60
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED_OCTET = re.compile(r"%([0-9A-Fa-f]{2})")


@dataclass(frozen=True)
class Fields:
    """all: name in lower case and value, unfolded, not decoded, in the order in which they stood."""

    all: tuple[tuple[str, str], ...] = ()

    @cached_property
    def _first(self) -> Mapping[str, str]:
        found: dict[str, str] = {}
        for name, value in self.all:
            found.setdefault(name, value)
        return found

    def raw(self, name: str) -> str:
        """The first value as it stood; "" where there is none."""
        return self._first.get(name, "")

    def text(self, name: str) -> str:
        """The first value with encoded-words read, however it is folded."""
        return " ".join(plain(self._first.get(name, "")).split())

    def every(self, name: str) -> Iterator[str]:
        return (value for given, value in self.all if given == name)

    def __contains__(self, name: str) -> bool:
        return name in self._first


def read_fields(section: bytes) -> Fields:
    """What is no field is left out; lines that go on a field are joined to it."""
    return fields_in(text_of(section[:SECTION_OCTETS], None))


def fields_in(section: str) -> Fields:
    found = []
    for line in _FOLD.sub("", section[:SECTION_OCTETS]).split("\n"):
        given = _FIELD.fullmatch(line.rstrip("\r"))
        if given is not None:
            found.append((given[1].lower(), given[2].strip()[:_VALUE_CHARS]))
            if len(found) == _FIELDS_MOST:
                break
    return Fields(tuple(found))


@dataclass(frozen=True, slots=True)
class MediaType:
    """essence: type/subtype in lower case; "" where the field says none. parameters: by lower-case name."""

    essence: str
    parameters: Mapping[str, str]

    @property
    def main(self) -> str:
        return self.essence.partition("/")[0]


_ESSENCE = re.compile(r"\s*([A-Za-z0-9!#$&^_.+-]{1,127})\s*/\s*([A-Za-z0-9!#$&^_.+-]{1,127})")


def media_type_of(value: str) -> MediaType:
    """RFC 2045 §5.1, with what is written instead of it: a missing semicolon, quotes left out."""
    essence = _ESSENCE.match(value)
    if essence is None:
        return MediaType("", parameters_of(value))
    return MediaType(f"{essence[1]}/{essence[2]}".lower(), parameters_of(value[essence.end() :]))


def parameters_of(value: str) -> dict[str, str]:
    """Each by its first value; those in pieces or encoded are put together (RFC 2231 §3, §4)."""
    whole: dict[str, str] = {}
    pieces: dict[str, list[tuple[int, bool, str]]] = {}
    for number, match in enumerate(_PARAMETER.finditer(value[:_VALUE_CHARS])):
        if number == _PARAMETERS_MOST:
            break
        name, section, star, quoted, token = match.groups()
        text = _QUOTED_PAIR.sub(r"\1", quoted) if quoted is not None else token
        if section is None and not star:
            whole.setdefault(name.lower(), text)
        else:
            pieces.setdefault(name.lower(), []).append((int(section or 0), bool(star), text))
    for name, given in pieces.items():
        whole[name] = _together(sorted(given, key=lambda piece: piece[0]))
    return whole


def _together(pieces: list[tuple[int, bool, str]]) -> str:
    charset: str | None = None
    octets = b""
    for number, is_encoded, text in pieces:
        if not is_encoded:
            octets += text.encode("utf-8", "surrogateescape")
            continue
        rest = text
        if number == 0 and text.count("'") >= 2:
            charset, _, rest = text.split("'", 2)
        octets += _unescaped(rest)
    return text_of(octets, charset)


def _unescaped(text: str) -> bytes:
    return _ESCAPED_OCTET.sub(lambda m: chr(int(m[1], 16)), text).encode("latin-1", "replace")
