"""gzip and zip, no further than a limit; told by their first octets, whatever they are called."""

from __future__ import annotations

import struct
import zlib

from mailer.report.formats.values import Unparsable

MOST_OCTETS = 10 * 1024 * 1024  # of a report without its packing
_LAYERS = 2  # some packers pack what is packed
_GZIP = b"\x1f\x8b"  # RFC 1952 §2.3.1
_ZIP = b"PK\x03\x04"  # APPNOTE 6.3.10 §4.3.7, as for what follows
_DIRECTORY_END = b"PK\x05\x06"
_DIRECTORY_ENTRY = b"PK\x01\x02"
_END_OCTETS = 22
_END_REACH = _END_OCTETS + 65535  # a comment may follow
_ENTRY = struct.Struct("<4s6H3I5H2I")
_LOCAL = struct.Struct("<4s5H3I2H")
_MOST_MEMBERS = 20  # one is a report; a few more are a signature or a folder
_STORED, _DEFLATED = 0, 8
_ENCRYPTED = 1


class _Refused(Exception):
    """why: as in Unparsable."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


def unpacked(content: bytes, *, most: int = MOST_OCTETS) -> bytes | Unparsable:
    """The octets themselves, or what was packed in them: at most `most`, or Unparsable."""
    try:
        for _ in range(_LAYERS):
            if content.startswith(_GZIP):
                content = _gunzipped(content, most)
            elif content.startswith(_ZIP):
                content = _unzipped(content, most)
        if len(content) > most:
            raise _Refused(f"it is longer than {most} octets")
    except _Refused as refused:
        return Unparsable(refused.why)
    return content


def _gunzipped(content: bytes, most: int) -> bytes:
    """All members joined (RFC 1952 §2.2); what follows that is no member is left alone, as gzip does."""
    pieces: list[bytes] = []
    room = most
    while content.startswith(_GZIP) and len(pieces) < _MOST_MEMBERS:
        piece, content = _inflated(content, room, 16 + zlib.MAX_WBITS)
        room -= len(piece)
        pieces.append(piece)
    return b"".join(pieces)


def _inflated(content: bytes, most: int, form: int) -> tuple[bytes, bytes]:
    """The octets and what follows them."""
    inflate = zlib.decompressobj(form)
    try:
        # One more than is allowed, so that "too long" is seen without making it.
        found = inflate.decompress(content, most + 1)
    except zlib.error:
        raise _Refused("its packing is damaged") from None
    if len(found) > most:
        raise _Refused(f"unpacked it is longer than {most} octets")
    if not inflate.eof:
        raise _Refused("its packing is cut short")
    return found, inflate.unused_data


def _unzipped(content: bytes, most: int) -> bytes:
    """The largest of few members. By hand: the standard library reads a directory of any size first."""
    best: tuple[int, tuple[int, int, int, int]] | None = None
    offset, entries = _directory(content)
    for _ in range(entries):
        if len(content) < offset + _ENTRY.size:
            raise _Refused("its zip directory is damaged")
        (magic, _, _, flags, method, _, _, _, packed, size, name, extra, comment, _, _, _, start) = (
            _ENTRY.unpack_from(content, offset)
        )
        if magic != _DIRECTORY_ENTRY:
            raise _Refused("its zip directory is damaged")
        offset += _ENTRY.size + name + extra + comment
        if best is None or size > best[0]:
            best = (size, (flags, method, packed, start))
    if best is None:
        raise _Refused("the zip is empty")
    return _member(content, *best[1], most=most)


def _directory(content: bytes) -> tuple[int, int]:
    """Where the directory begins, and its entries (§4.3.16)."""
    at = content.rfind(_DIRECTORY_END, max(0, len(content) - _END_REACH))
    if at < 0 or len(content) < at + _END_OCTETS:
        raise _Refused("the zip is cut short")
    entries, _, offset = struct.unpack_from("<HII", content, at + 10)
    if entries > _MOST_MEMBERS:
        raise _Refused(f"the zip has more than {_MOST_MEMBERS} members")
    return offset, entries


def _member(content: bytes, flags: int, method: int, packed: int, start: int, *, most: int) -> bytes:
    if flags & _ENCRYPTED:
        raise _Refused("the zip is encrypted")
    if len(content) < start + _LOCAL.size or content[start : start + 4] != _ZIP:
        raise _Refused("the zip is damaged")
    name, extra = _LOCAL.unpack_from(content, start)[-2:]
    begin = start + _LOCAL.size + name + extra
    octets = content[begin : begin + packed]
    if method == _STORED:
        if len(octets) > most:
            raise _Refused(f"unpacked it is longer than {most} octets")
        return octets
    if method != _DEFLATED:
        raise _Refused("the zip is packed in a way that reports do not use")
    return _inflated(octets, most, -zlib.MAX_WBITS)[0]
