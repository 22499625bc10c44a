"""JSON of strangers, with a limit on what it may become in memory; and its members as values."""

from __future__ import annotations

from typing import Any

import msgspec

from mailer.report.formats import unpack
from mailer.report.formats.values import Unparsable

# Each of these octets becomes an object at most: 100 to 250 octets of memory each.
_OPENINGS = 200_000
_MEMBERS = 1_000_000


def decoded(content: bytes, *, most: int) -> dict[str, Any] | Unparsable:
    """The object, unpacked first; `most`: octets unpacked."""
    octets = unpack.unpacked(content, most=most)
    if isinstance(octets, Unparsable):
        return octets
    openings = octets.count(b"{") + octets.count(b"[")
    if openings > _OPENINGS or octets.count(b",") > _MEMBERS:
        return Unparsable("it has more members than a report has")
    try:
        found = msgspec.json.decode(octets.removeprefix(b"\xef\xbb\xbf").strip())
    except (msgspec.DecodeError, ValueError, RecursionError):
        return Unparsable("it is not JSON")
    return found if isinstance(found, dict) else Unparsable("it is not a JSON object")


def member(value: object, *path: str) -> Any:
    """What stands below, by the names on the way; None if it is not there."""
    for name in path:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def listed(value: object) -> list[Any]:
    """The list; of a single thing, that. Some vendors write one where the format has a list."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
