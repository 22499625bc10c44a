"""Parameters of the fields that describe a part: plain, or encoded where they are not (RFC 2231).

RFC 2231 §4 is how a name in any script is written, and what nearly every reader reads. Outlook over POP and
IMAP knows instead what RFC 2047 §5 forbids, encoded-words between quotes, and looks for them in the `name` of
Content-Type. So a file's name stands in both: rightly in Content-Disposition, which comes first for every
reader that knows it, and in Outlook's way in Content-Type. Thunderbird and Gmail write it likewise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from mailer.compose import fields
from mailer.compose.address import quote

_LINE_CHARS = 76  # RFC 5322 §2.1.1 asks for 78
# As it is between quotes. A quoted-pair is legal there, and some readers show its backslash.
_PLAIN = re.compile(r"[ !#-\[\]-~]*")
# RFC 2231 §7: attribute-char, without those that readers of HTTP's form (RFC 8187 §3.2.1) take otherwise.
_BARE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$&+-.^_`|~")
_CHARSET = "utf-8''"


def parameter(name: str, value: str) -> list[str]:
    """`name` with any text as its value, in one piece or more, each with its space in front."""
    plain = f' {name}="{value}"'
    if _is_plain(value) and len(plain) < _LINE_CHARS:
        return [plain]
    whole = f" {name}*={_CHARSET}{''.join(_escaped(value))}"
    if len(whole) < _LINE_CHARS:
        return [whole]
    return [f" {name}*{number}*={text}" for number, text in enumerate(_sections(name, value))]


def structured(name: str, head: str, *parameters: Sequence[str]) -> str:
    """The field `name: head; parameter; ...`, folded, CRLF at its end."""
    pieces = [f" {head}", *(piece for pieces in parameters for piece in pieces)]
    return fields.fold(name, [piece + ";" for piece in pieces[:-1]] + pieces[-1:])


def quoted(name: str, value: str) -> list[str]:
    """A parameter whose value is printable ASCII, quoted-pairs where they must be."""
    return [f" {name}={quote(value)}"]


def name_for_outlook(value: str) -> list[str]:
    """A file's name as a parameter `name` of Content-Type, on lines of its own where it needs several."""
    if _is_plain(value):
        return [f' name="{value}"']
    first, *others = fields.encoded_words(value)
    words = [f' name="{first}', *(f" {word}" for word in others)]
    # Folded within the quotes: unfolding leaves the space between two words, which a reader drops.
    return ["\r\n".join(words) + '"']


def _is_plain(value: str) -> bool:
    return _PLAIN.fullmatch(value) is not None and "=?" not in value and value == value.strip(" ")


def _escaped(value: str) -> Iterator[str]:
    """Each character: Python decodes every section by itself, so none may end within one."""
    for char in value:
        yield "".join(chr(octet) if octet in _BARE else f"%{octet:02X}" for octet in char.encode())


def _sections(name: str, value: str) -> Iterator[str]:
    """RFC 2231 §3: what is too long for a line goes on in a parameter of its own."""
    room = _LINE_CHARS - len(f" {name}*99*=;")
    section = _CHARSET
    for char in _escaped(value):
        if len(section) + len(char) > room:
            yield section
            section = ""
        section += char
    yield section
