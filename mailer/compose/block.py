"""Where a message's header ends and which fields it has (RFC 5322 §2.1, §2.2): octets, nothing decoded.

Readers differ on a damaged header. At a line without a colon the body begins for Postfix, Exim and Python's
parser, others skip the line; at a line of white space alone some see the end, some a continuation. Who
writes such a message shows one reader what the other, and the signature, does not. So it is refused.
Two harmless faults of old software are mended instead: the line `From sender date` of a mailbox file in
front (RFC 4155) is left out, as sendmail does, and white space before a colon (RFC 5322 §4.5), at which
Python and dkimpy end the header, is taken away.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from mailer.compose.fields import LINE_OCTETS
from mailer.compose.malformed import HeaderBlockError, LineError

HEADER_OCTETS = 256 * 1024  # each attempt signs the header again; Gmail takes 500 KB, Postfix 100 KB a field

_CRLF = b"\r\n"
_LINE = LINE_OCTETS + len(_CRLF)
_SLICE = 1 << 18
_MAILBOX_FILE_LINE = re.compile(rb">?From (?![ \t]*:)[^\r]*\r\n")
# Name, obsolete white space, and the rest with its continuations, each of which holds more than white space.
_FIELD = re.compile(rb"([!-9;-~]++)([ \t]*+):[^\r]*+(?:\r\n[ \t]++[^\r]++)*\r\n(?![ \t])")


class Field(NamedTuple):
    """A header field.

    name  in lower case; "" of the mailbox file's line
    text  as it came, CRLF at the end of each of its lines
    """

    name: str
    text: bytes

    @property
    def value(self) -> bytes:
        """Unfolded (RFC 5322 §2.2.3), without white space at its ends."""
        return self.text[len(self.name) + 1 :].replace(_CRLF, b"").strip(b" \t")

    @property
    def written_name(self) -> str:
        """In the submitter's case."""
        return self.text[: len(self.name)].decode("ascii")


def check_lines(message: bytes) -> None:
    """All lines end in CRLF and have at most 998 octets; no octet is NUL. Raises LineError."""
    # A copy and two searches take a third of the time of counting the three; of a big message, a slice at a
    # time is copied.
    start = 0
    while start < len(message):
        end = start + _SLICE
        end += message[end - 1 : end] == b"\r"  # no CRLF is cut
        without = message[start:end].replace(_CRLF, b"")
        if b"\n" in without or b"\r" in without:
            raise LineError("the message has a CR or LF that is not part of a CRLF")
        start = end
    if b"\0" in message:
        raise LineError("the message holds a NUL octet")
    # The last line end within reach is the farthest of them: one step passes many lines.
    start = 0
    while len(message) - start > LINE_OCTETS:
        end = message.rfind(_CRLF, start, start + _LINE)
        if end < 0:
            raise LineError(f"a line of the message has more than {LINE_OCTETS} octets")
        start = end + len(_CRLF)


def divide(message: bytes) -> tuple[bytes, bytes]:
    """Header block (CRLF lines, without the empty line) and body of a message whose lines are checked.

    A message without an empty line is a header only; its last line gets the CRLF it may lack. Raises
    HeaderBlockError for a header over HEADER_OCTETS.
    """
    if message.startswith(_CRLF):
        return b"", message[len(_CRLF) :]
    end = message.find(_CRLF + _CRLF)
    if (end if end >= 0 else len(message)) > HEADER_OCTETS:
        raise HeaderBlockError(f"the header has more than {HEADER_OCTETS} octets")
    if end >= 0:
        return message[: end + 2], message[end + 4 :]
    return (message if not message or message.endswith(_CRLF) else message + _CRLF), b""


def fields_of(block: bytes) -> list[Field]:
    """The fields of a header block, in order, a mailbox file's line in front. Raises HeaderBlockError."""
    found = []
    at = 0
    line = _MAILBOX_FILE_LINE.match(block)
    if line is not None:
        found.append(Field("", line[0]))
        at = line.end()
    while at < len(block):
        match = _FIELD.match(block, at)
        if match is None:
            number = block.count(_CRLF, 0, at) + 1
            raise HeaderBlockError(f"the header has a line that is no field, in or after line {number}")
        name, space = match.groups()
        text = match[0] if not space else match[0].replace(space, b"", 1)
        found.append(Field(name.decode("ascii").lower(), text))
        at = match.end()
    return found
