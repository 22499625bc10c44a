"""A mail as a tree that is written out as it was read; octets stand as characters of Latin-1."""

from __future__ import annotations

import binascii
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_FIELD = re.compile(r"[!-9;-~]+[ \t]*:")
_BOUNDARY = re.compile(r'boundary\s*=\s*(?:"([^"\n]{1,200})"|([^\s;"]{1,200}))', re.IGNORECASE)
_TYPE = re.compile(r"\s*([\w!#$&^.+-]+/[\w!#$&^.+-]+)")
_CHARSET = re.compile(r'charset\s*=\s*"?([^\s";]+)"?', re.IGNORECASE)
_DEPTH_MOST = 6


@dataclass
class Entity:
    """A message or a part.

    fields     lines of one field each, folds as they stood, without the last line break
    gap        what stands between header and body: a line break, or nothing where the header is all
    body       of a leaf, and of what carries a message
    children   of a multipart, each between two delimiters
    closing    the last delimiter and what follows it
    crlf       how the file ends its lines; of the whole mail alone
    """

    fields: list[str] = field(default_factory=list)
    gap: str = "\n"
    body: str = ""
    boundary: str = ""
    preamble: str = ""
    children: list[Entity] = field(default_factory=list)
    closing: str = ""
    crlf: bool = False

    def get(self, name: str) -> str:
        """The value of the first field of that name, unfolded."""
        for each in self.fields:
            if each.partition(":")[0].strip().lower() == name:
                return " ".join(each.partition(":")[2].split())
        return ""

    def put(self, name: str, value: str) -> None:
        """In place of the first field of that name, or behind the others."""
        for at, each in enumerate(self.fields):
            if each.partition(":")[0].strip().lower() == name.lower():
                self.fields[at] = f"{name}: {value}"
                return
        self.fields.append(f"{name}: {value}")

    def drop(self, name: str) -> None:
        self.fields = [each for each in self.fields if each.partition(":")[0].strip().lower() != name]

    @property
    def type(self) -> str:
        given = _TYPE.match(self.get("content-type"))
        return given[1].lower() if given else ""

    @property
    def charset(self) -> str:
        given = _CHARSET.search(self.get("content-type"))
        return given[1].lower() if given else ""

    @property
    def encoding(self) -> str:
        return self.get("content-transfer-encoding").strip("\"'").lower()

    @property
    def is_regular(self) -> bool:
        """Its header has fields only."""
        return all(_FIELD.match(each) for each in self.fields)

    def walk(self) -> Iterator[Entity]:
        yield self
        for child in self.children:
            yield from child.walk()

    def is_plain(self) -> bool:
        return not self.children and self.type in {"text/plain", ""} and bool(self.body.strip())


def read(content: bytes) -> Entity | None:
    """None: it ends its lines with CR alone, or cannot be written out as it stands."""
    text = content.decode("latin-1")
    crlf = "\r\n" in text
    if crlf and text.count("\r\n") != text.count("\n"):
        return None
    text = text.replace("\r\n", "\n")
    if "\r" in text:
        return None
    mail = _entity(text, 0)
    mail.crlf = crlf
    return mail if written(mail) == content else None


def written(mail: Entity) -> bytes:
    text = text_of(mail)
    return (text.replace("\n", "\r\n") if mail.crlf else text).encode("latin-1")


def text_of(mail: Entity) -> str:
    head = "".join(f"{each}\n" for each in mail.fields) + mail.gap
    if not mail.boundary:
        return head + mail.body
    parts = "".join(f"--{mail.boundary}\n{text_of(child)}\n" for child in mail.children)
    return f"{head}{mail.preamble}{parts}{mail.closing}"


def _entity(text: str, depth: int) -> Entity:
    fields: list[str] = []
    at = 0
    while at < len(text):
        end = text.find("\n", at)
        if end < 0:
            break
        line = text[at:end]
        if not line:
            break
        if not fields and line.startswith("From "):
            fields.append(line)  # of a mailbox file
        elif line[0] in " \t" and fields:
            fields[-1] += "\n" + line
        elif _FIELD.match(line):
            fields.append(line)
        else:
            break
        at = end + 1
    gap = "\n" if text[at : at + 1] == "\n" else ""
    made = Entity(fields=fields, gap=gap, body=text[at + len(gap) :])
    if depth < _DEPTH_MOST and made.type.startswith("multipart/"):
        _divide(made, depth)
    return made


def _divide(made: Entity, depth: int) -> None:
    given = _BOUNDARY.search(made.get("content-type"))
    if given is None:
        return
    boundary = given[1] or given[2]
    sought = re.compile(rf"^--{re.escape(boundary)}(--)?[ \t]*$", re.MULTILINE)
    found = list(sought.finditer(made.body))
    last = next((at for at, match in enumerate(found) if match[1]), len(found))
    if last < 1 or any(match[0] != f"--{boundary}" for match in found[:last]):
        return
    made.preamble = made.body[: found[0].start()]
    # Hosts leave the last delimiter out.
    ends = [each.start() for each in found[1 : last + 1]] + [len(made.body)] * (last == len(found))
    for begin, end in zip(found[:last], ends, strict=True):
        made.children.append(_entity(made.body[begin.end() + 1 : max(end - 1, begin.end() + 1)], depth + 1))
    made.closing = made.body[ends[-1] :]
    body, made.body, made.boundary = made.body, "", boundary
    head = "".join(f"{each}\n" for each in made.fields) + made.gap
    if text_of(made) != head + body:
        made.body, made.boundary, made.children, made.preamble, made.closing = body, "", [], "", ""


def decoded(part: Entity) -> str:
    """The body without its transfer encoding, lines ending in LF."""
    octets = part.body.encode("latin-1")
    if part.encoding == "base64":
        try:
            octets = binascii.a2b_base64(octets.strip() + b"==")
        except binascii.Error:
            return part.body
    elif part.encoding == "quoted-printable":
        octets = binascii.a2b_qp(octets)
    return octets.decode("latin-1").replace("\r\n", "\n")


def put_text(part: Entity, text: str) -> None:
    """Gives the part another body, in the encoding that it has."""
    if part.encoding == "base64":
        part.body = as_base64(text, 76)
    elif part.encoding == "quoted-printable":
        part.body = as_quoted_printable(text, lambda: 76)
    else:
        part.body = text


def as_base64(text: str, width: int) -> str:
    encoded = binascii.b2a_base64(text.replace("\n", "\r\n").encode("latin-1"), newline=False).decode()
    return "\n".join(encoded[at : at + width] for at in range(0, len(encoded), width)) + "\n"


def as_quoted_printable(text: str, width: object, dice: random.Random | None = None) -> str:
    """width: how many characters the next line may have. Lines are broken wherever that is, in words as
    well."""
    assert callable(width)
    lines = []
    for line in text.split("\n"):
        pieces: list[str] = []
        length, most = 0, width()
        for at, char in enumerate(line):
            is_last = at == len(line) - 1
            needs = not " " <= char <= "~" or char == "=" or (char == " " and is_last)
            needs = needs or (dice is not None and char.isalnum() and dice.random() < 0.01)
            piece = f"={ord(char):02X}" if needs else char
            if length + len(piece) >= most and not is_last:
                pieces.append("=\n")
                length, most = 0, width()
            pieces.append(piece)
            length += len(piece)
        lines.append("".join(pieces))
    return "\n".join(lines)
