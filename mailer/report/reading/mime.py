"""A message as a tree of parts, read in one pass and within bounds (RFC 2045, RFC 2046).

Python's own parser keeps every line as an object and calls itself for every level, so that a nesting bomb
ends it and 50 MB cost ten times that; this one keeps positions. Depth, parts and looks for a delimiter
are limited. What lies beyond a limit is one undivided part. Nothing in it raises.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from mailer.report.reading.decoding import text_of, unwrapped
from mailer.report.reading.fields import SECTION_OCTETS, Fields, MediaType, media_type_of, read_fields

DEPTH_MOST = 24
PARTS_MOST = 400
_FALSE_DELIMITERS_MOST = 20_000
_HEADER_END = re.compile(rb"(?:\A|\n)\r?\n")
# A line that is no field and goes on none ends a header as well: hosts forget the empty line.
_NOT_A_FIELD = re.compile(
    rb"^(?![!-9;-~]{1,100}[ \t]*:|[ \t]|\r?$|>?From |\Z)[^\n]*(?:\n(?![!-9;-~]{1,100}[ \t]*:)|\Z)",
    re.MULTILINE,
)
_GUESSED = re.compile(
    rb"^--([!-~](?:[ -~]{0,198}[!-~])?)[ \t]*\r?\n(?=Content-)", re.MULTILINE | re.IGNORECASE
)
_GUESS_OCTETS = 64 * 1024
_PREAMBLE_OCTETS = 400
_TAIL_OCTETS = 1000
_IDENTITY = frozenset({"", "7bit", "8bit", "binary"})


@dataclass(slots=True)
class Part:
    """A part, or the message itself.

    source     the whole message; start and end are the part's body in it
    children   of a multipart its parts; of a message/* its one message
    is_nested  it lies inside a message that is carried (RFC 2046 §5.2.1): nothing that its sender says of us
    """

    source: bytes
    fields: Fields
    type: MediaType
    start: int
    end: int
    depth: int
    is_nested: bool = False
    children: list[Part] = field(default_factory=list)

    @property
    def encoding(self) -> str:
        return self.fields.raw("content-transfer-encoding").strip().lower()

    def octets(self, most: int) -> bytes:
        """Its content without the transfer encoding; what `most` encoded octets hold."""
        body = self.source[self.start : min(self.end, self.start + most)]
        return unwrapped(body, self.encoding)

    def text(self, most: int) -> str:
        """Its content as text, lines ending in LF."""
        text = text_of(self.octets(most), self.type.parameters.get("charset"))
        return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")

    def walk(self) -> Iterator[Part]:
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(slots=True)
class _Open:
    """A multipart whose end is not reached.

    at       where its delimiter stands next; -1: nowhere any more
    current  its part that is being read, and the messages in it down to what is divided again, or to a leaf
    """

    part: Part
    delimiter: bytes
    at: int = 0
    current: list[Part] = field(default_factory=list)

    @property
    def inner_type(self) -> str:
        return "message/rfc822" if self.part.type.essence == "multipart/digest" else "text/plain"


def read_message(content: bytes) -> Part:
    """The tree of `content`."""
    if b"\n" not in content:
        content = content.replace(b"\r", b"\n")  # from a system that ends its lines so
    return _Reader(content).run()


class _Reader:
    def __init__(self, content: bytes) -> None:
        self.content = content
        self.open: list[_Open] = []
        self.parts = 0
        self.misses = 0

    def run(self) -> Part:
        root = self.begin(0, None)[0]
        at = root.start
        while self.open and (found := self.next_delimiter(at)) is not None:
            level, place, after, is_last = found
            for ended in self.open[level:]:
                for part in ended.current:
                    part.end = max(part.start, self.before(place))
                ended.current = []
            del self.open[level + 1 :]
            if is_last or self.parts >= PARTS_MOST:
                # What follows belongs to nobody (RFC 2046 §5.1.1, epilogue).
                self.open.pop()
                at = after
            else:
                around = self.open[level]
                around.current = self.begin(after, around)
                at = around.current[-1].start
        return root

    def before(self, at: int) -> int:
        """The line break before a delimiter is its own (RFC 2046 §5.1.1)."""
        if self.content[at - 1 : at] == b"\n":
            at -= 1
        if self.content[at - 1 : at] == b"\r":
            at -= 1
        return at

    def begin(self, at: int, around: _Open | None) -> list[Part]:
        """The part that begins at `at` and, where it carries a message, that one, and so on inwards."""
        if around is None:
            chain = [self.one(at, None, "text/plain")]
        else:
            chain = [self.one(at, around.part, around.inner_type)]
        while _carries_message(chain[-1]):
            chain.append(self.one(chain[-1].start, chain[-1], "text/plain"))
        self.divide(chain[-1])
        return chain

    def one(self, at: int, parent: Part | None, default: str) -> Part:
        self.parts += 1
        # A header does not go beyond the next delimiter of an open multipart.
        found = self.next_delimiter(at)
        head_end, start = self.header_of(at, len(self.content) if found is None else found[1])
        fields = read_fields(self.content[at:head_end])
        kind = media_type_of(fields.raw("content-type"))
        if not kind.essence:
            kind = MediaType(default, kind.parameters)
        depth = 0 if parent is None else parent.depth + 1
        nested = parent is not None and (parent.is_nested or parent.type.main == "message")
        part = Part(self.content, fields, kind, start, len(self.content), depth, nested)
        if parent is not None:
            parent.children.append(part)
        return part

    def header_of(self, at: int, limit: int) -> tuple[int, int]:
        """Where the header that begins at `at` ends, and where the body begins."""
        cut = min(limit, at + SECTION_OCTETS)
        end = _HEADER_END.search(self.content, max(at - 1, 0), cut)
        if end is not None and end.start() < at:
            return at, end.end()
        broken = _NOT_A_FIELD.search(self.content, at, cut if end is None else end.start() + 1)
        if broken is not None:
            return broken.start(), broken.start()
        return (cut, cut) if end is None else (end.start(), end.end())

    def divide(self, part: Part) -> None:
        """Opens `part` if it is a multipart whose delimiter is known, or can be guessed."""
        if part.depth >= DEPTH_MOST:
            return
        if part.type.main == "multipart":
            boundary = part.type.parameters.get("boundary", "").rstrip().encode("utf-8", "surrogateescape")
            opened = _Open(part, b"--" + boundary)
            if boundary and self.find(opened, part.start) is not None:
                self.open.append(opened)
                return
        elif part.depth or "content-type" in part.fields:
            return
        # Without a type only at the beginning: a text may return a message that is divided.
        reach = _GUESS_OCTETS if part.type.main == "multipart" else _PREAMBLE_OCTETS
        guessed = _GUESSED.search(self.content, part.start, part.start + reach)
        if guessed is None or any(o.delimiter == b"--" + guessed[1] for o in self.open):
            return
        if part.type.main != "multipart":
            part.type = MediaType("multipart/mixed", {})
        self.open.append(_Open(part, b"--" + guessed[1]))

    def next_delimiter(self, at: int) -> tuple[int, int, int, bool] | None:
        """Level, place, place after its line, and whether it is the last one, of the nearest delimiter."""
        best: tuple[int, int, int, bool] | None = None
        for level in range(len(self.open) - 1, -1, -1):
            found = self.find(self.open[level], at)
            if found is not None and (best is None or found[0] < best[1]):
                best = (level, *found)
        return best

    def find(self, opened: _Open, at: int) -> tuple[int, int, bool] | None:
        """The first line from `at` on that is this delimiter. Remembered: no text is searched twice."""
        if opened.at < 0:
            return None
        place = max(opened.at, at)
        while self.misses < _FALSE_DELIMITERS_MOST:
            place = self.content.find(opened.delimiter, place)
            if place < 0:
                break
            opened.at = place
            rest = place + len(opened.delimiter)
            line_end = self.content.find(b"\n", rest, rest + _TAIL_OCTETS)
            line_end = min(rest + _TAIL_OCTETS, len(self.content)) if line_end < 0 else line_end
            tail = self.content[rest:line_end].strip(b" \t\r")
            if self.content[place - 1 : place] in b"\r\n" and tail in (b"", b"--"):
                return place, min(line_end + 1, len(self.content)), tail == b"--"
            self.misses += 1
            place = rest
        opened.at = -1
        return None


def _carries_message(part: Part) -> bool:
    """RFC 2046 §5.2.1, RFC 6532 §3.7. An encoded one is a leaf here; who needs it reads its octets."""
    carries = part.type.essence in {"message/rfc822", "message/global"}
    return carries and part.depth < DEPTH_MOST and part.encoding in _IDENTITY
