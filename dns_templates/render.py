"""Records as text, for a name server, a person or a program."""

from __future__ import annotations

import enum
import json
import textwrap
from collections.abc import Sequence
from dataclasses import asdict

from dns_templates.records import Record

_STRING_OCTETS = 255  # of one character-string (RFC 1035 §3.3); a verifier joins them (RFC 6376 §3.6.2.2)
_WIDTH = 100


class Format(enum.StrEnum):
    """zone: a whole zone file. include: only the records, for a zone that exists. table: for people."""

    ZONE = "zone"
    INCLUDE = "include"
    TABLE = "table"
    JSON = "json"


def render(found: Sequence[Record], how: str) -> str:
    """`found` as a text that ends with a newline; `how` is a Format. Raises ValueError for another word."""
    match Format(how):
        case Format.ZONE:
            return _zone(found)
        case Format.INCLUDE:
            return _lines(found)
        case Format.TABLE:
            return _table(found)
        case Format.JSON:
            return json.dumps([_entry(record) for record in found], indent=2, ensure_ascii=False) + "\n"


def strings(text: str) -> tuple[str, ...]:
    """A TXT record's text cut into character-strings; all our texts are ASCII."""
    return tuple(text[at : at + _STRING_OCTETS] for at in range(0, max(1, len(text)), _STRING_OCTETS))


def _zone(found: Sequence[Record]) -> str:
    if not found:
        return ""
    zone, ttl = found[0].zone, found[0].ttl_seconds
    return (
        f"; The records that {zone} must publish to send mail. In a zone that exists already, leave out\n"
        "; the SOA and the NS, which are placeholders here so that a name server loads this file as it is.\n"
        f"$ORIGIN {zone}.\n$TTL {ttl}\n"
        f"@ IN SOA localhost. hostmaster.{zone}. 1 7200 3600 1209600 3600\n"
        f"@ IN NS localhost.\n" + _lines(found)
    )


def _lines(found: Sequence[Record]) -> str:
    """Names are absolute, so the lines mean the same under any $ORIGIN."""
    blocks = []
    for record in found:
        comment = textwrap.fill(record.why, _WIDTH, initial_indent="; ", subsequent_indent="; ")
        owner = f"{record.name}. {record.ttl_seconds} IN {record.type}"
        blocks.append(f"\n{comment}\n{owner} {_presented(record)}\n")
    return "".join(blocks)


def _presented(record: Record) -> str:
    """The value as in a zone file (RFC 1035 §5.1)."""
    if record.type != "TXT":
        return record.value
    quoted = [f'"{_escaped(part)}"' for part in strings(record.value)]
    return quoted[0] if len(quoted) == 1 else "( " + "\n    ".join(quoted) + " )"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _table(found: Sequence[Record]) -> str:
    """A block a record and not columns: a key of 400 characters in a column cannot be copied."""
    blocks = []
    for record in found:
        why = textwrap.fill(record.why, _WIDTH)
        blocks.append(
            f"{record.purpose}\n{why}\n"
            f"  name   {record.name}\n  type   {record.type}\n"
            f"  value  {record.value}\n  ttl    {record.ttl_seconds}\n"
        )
    return "\n".join(blocks)


def _entry(record: Record) -> dict[str, object]:
    return asdict(record) | {"strings": strings(record.value) if record.type == "TXT" else None}
