"""The text of a template, looked over before the library reads it.

The library finds tags by regular expressions that go back over what they read: a brace that is never closed,
or much white space in a tag, makes them take the square of its length, which for half a megabyte is hours.
One pass here that never goes back refuses such a text.
"""

from __future__ import annotations

import re

_TAG_CHARS = 10_000
_BLANKS = re.compile(r"\s{40}")
_NAME = re.compile(r"-?\s{0,39}(\w*)")
# Between these everything is text.
_VERBATIM = {name: re.compile(rf"{{%-?\s*end{name}\s*-?%}}") for name in ("raw", "doc")}


class SourceFault(Exception):
    """Why the library is not given this text, and the line at fault."""

    def __init__(self, what: str, line: int) -> None:
        super().__init__(what)
        self.what = what
        self.line = line


def check(source: str) -> None:
    """Every tag is closed and none is too long. Raises SourceFault."""
    position = _next(source, 0)
    while position >= 0:
        end = _end_of_tag(source, position)
        name = _NAME.match(source, position + 2)
        if source.startswith("{%", position) and name is not None and name[1] in _VERBATIM:
            closing = _VERBATIM[name[1]].search(source, end)
            if closing is None:
                raise _fault(source, position, f"the tag {name[1]!r} is never ended")
            end = closing.end()
        position = _next(source, end)


def _next(source: str, start: int) -> int:
    """Where the next tag begins; -1 if there is none."""
    brace = source.find("{", start)
    while brace >= 0 and source[brace + 1 : brace + 2] not in ("{", "%"):
        brace = source.find("{", brace + 1)
    return brace


def _end_of_tag(source: str, position: int) -> int:
    closing = "}}" if source.startswith("{{", position) else "%}"
    # Looked for no further than a tag may reach: else every unclosed one would be read to the end.
    end = source.find(closing, position + 2, position + _TAG_CHARS)
    if end < 0:
        raise _fault(source, position, f"the tag is not closed by {closing} within {_TAG_CHARS} characters")
    if _BLANKS.search(source, position, end) is not None:
        raise _fault(source, position, "the tag holds too much white space in one place")
    return end + 2


def _fault(source: str, position: int, what: str) -> SourceFault:
    return SourceFault(what, 1 + source.count("\n", 0, position))
