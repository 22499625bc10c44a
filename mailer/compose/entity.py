"""A message's body as a tree of parts, written once into one buffer (RFC 2045 §2.4, RFC 2046 §5.1).

Nothing is joined on the way: a file of 20 MB is there as its octets and as what is being written of it,
never a third time.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from io import BytesIO

import msgspec

from mailer.compose.attachments import Attachment

_LINE_CHARS = 76  # RFC 2045 §6.8
_PIECE = _LINE_CHARS // 4 * 3 * 1024  # whole lines


class Leaf(msgspec.Struct, frozen=True):
    """A part that is not divided.

    head       fields that say what it is: lines ending in CRLF, ASCII
    content    in its transfer encoding already, lines ending in CRLF; or octets, if is_encoded is False
    essence    type/subtype
    encoding   its transfer encoding (RFC 2045 §6)
    file       the attachment that it carries; None: a text
    """

    head: str
    content: bytes
    essence: str
    encoding: str
    is_encoded: bool = True
    file: Attachment | None = None

    @property
    def leaves(self) -> Iterator[Leaf]:
        yield self

    @property
    def size_bytes(self) -> int:
        """Of the body, as sent."""
        if self.is_encoded:
            return len(self.content)
        chars = -(-len(self.content) // 3) * 4
        return chars + -(-chars // _LINE_CHARS) * len("\r\n")

    def body(self) -> bytes:
        if self.is_encoded:
            return self.content
        out = BytesIO()
        self.write(out)
        return out.getvalue()

    def write(self, out: BytesIO) -> None:
        if self.is_encoded:
            out.write(self.content)
            return
        octets = memoryview(self.content)
        for start in range(0, len(octets), _PIECE):
            out.write(base64.encodebytes(octets[start : start + _PIECE]).replace(b"\n", b"\r\n"))


class Multipart(msgspec.Struct, frozen=True):
    """Parts under one roof; no part holds the delimiter. parameters: further ones, each with its space."""

    subtype: str
    parts: Sequence[Entity]
    boundary: str
    parameters: tuple[str, ...] = ()

    @property
    def head(self) -> str:
        further = "".join(f"\r\n{parameter};" for parameter in self.parameters)
        return f'Content-Type: multipart/{self.subtype};{further}\r\n boundary="{self.boundary}"\r\n'

    @property
    def leaves(self) -> Iterator[Leaf]:
        for part in self.parts:
            yield from part.leaves

    def body(self) -> bytes:
        out = BytesIO()
        self.write(out)
        return out.getvalue()  # the buffer itself, not a copy of it

    def write(self, out: BytesIO) -> None:
        delimiter = b"--" + self.boundary.encode("ascii")
        for part in self.parts:
            # The CRLF before a delimiter belongs to it, not to the part (RFC 2046 §5.1.1).
            out.write(b"%b\r\n%b\r\n" % (delimiter, part.head.encode("ascii")))
            part.write(out)
            out.write(b"\r\n")
        out.write(delimiter + b"--\r\n")


Entity = Leaf | Multipart
