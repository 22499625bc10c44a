"""One header field as a line or more: folding, encoded-words, address lists (RFC 5322 §2.2.3, RFC 2047).

Every function named after a field returns text that ends in CRLF. Text that is not printable ASCII becomes
encoded-words as a whole: mixing them with plain words saves octets and loses spaces in some readers.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache

from mailer.compose.address import Mailbox, quote

LINE_OCTETS = 998  # RFC 5322 §2.1.1, without CRLF
_LINE_AIM = 76  # RFC 5322 §2.1.1 asks for 78; RFC 2047 §2 for 76 where an encoded-word stands in the line
_WORD_CHARS = 62  # of one encoded-word, of which RFC 2047 §2 allows 75: one fits beside "Subject: "
_WORD_ENDS = len("=?utf-8?q?") + len("?=")
NAME_CHARS = 50  # of a field name: beside a longer one no encoded-word fits into the line
_QUOTED_CHARS = 62  # of a display name as one quoted-string: a longer one could not be folded

_PIECE = re.compile(r" *[^ ]+")
_PHRASE = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
# RFC 2047 §5 (3): what an encoded-word may hold as it is where it stands for a display name.
_Q_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/")
_Q = ["_" if o == 0x20 else chr(o) if o in _Q_SAFE else f"={o:02X}" for o in range(256)]
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_CONTINUATION = range(0x80, 0xC0)  # the second to fourth octet of a character in UTF-8


def text_field(name: str, text: str) -> str:
    """An unstructured field (RFC 5322 §2.2.1) that reads as `text` again when unfolded and decoded.

    name  of at most NAME_CHARS
    text  any text without line breaks and lone surrogates
    """
    if is_plain(text):
        if len(name) + 2 + len(text) <= _LINE_AIM:
            return f"{name}: {text}\r\n"
        pieces = _PIECE.findall(text)
        # A line may not pass 998 octets, and a word without spaces has no other way to be folded.
        if max(map(len, pieces)) < LINE_OCTETS - len(name) - 2:
            return fold(name, [" " + pieces[0], *pieces[1:]])
    return fold(name, [" " + word for word in encoded_words(text, _LINE_AIM - len(name) - 2)])


def structured_field(name: str, value: str) -> str:
    """A field whose syntax has no place for encoded-words, folded at its spaces. `value` is ASCII."""
    if len(name) + 2 + len(value) <= _LINE_AIM:
        return f"{name}: {value}\r\n"
    return fold(name, [" " + word for word in value.split()])


def address_field(name: str, mailboxes: Sequence[Mailbox]) -> str:
    """A mailbox-list or address-list (RFC 5322 §3.4), one or more mailboxes.

    Not ASCII where a local part is not (RFC 6532 §3.2).
    """
    pieces = [piece for mailbox in mailboxes[:-1] for piece in _mailbox_pieces(mailbox, ",")]
    return fold(name, pieces + _mailbox_pieces(mailboxes[-1], ""))


def date_text(date: datetime) -> str:
    """An aware instant as Date carries it (RFC 5322 §3.3), in English and UTC whatever the locale."""
    if date.tzinfo is None:
        raise ValueError("the date must be aware")
    return _date_text(int(date.timestamp() // 1))


@lru_cache(maxsize=64)
def _date_text(second: int) -> str:
    utc = datetime.fromtimestamp(second, UTC)
    return f"{_DAYS[utc.weekday()]}, {utc.day:02} {_MONTHS[utc.month - 1]} {utc.year:04} {utc:%H:%M:%S} +0000"


def is_plain(text: str) -> bool:
    """True if `text` can stand in a field as it is and comes out of a parser unchanged.

    Spaces at the ends are lost in unfolding, and "=?" would be taken for an encoded-word.
    """
    return text.isascii() and text.isprintable() and "=?" not in text and text == text.strip(" ")


def fold(name: str, pieces: Sequence[str]) -> str:
    """`name:` and `pieces` (each with its space in front), broken before a piece that passes the line's aim.

    Unfolding gives the pieces back as they were (RFC 5322 §2.2.3): only CRLF is added, none of the space.
    """
    # The first piece stays beside the name: some parsers, Python's among them, give the text of a field
    # that begins on its second line a leading space.
    lines = [f"{name}:{pieces[0]}"]
    for piece in pieces[1:]:
        if len(lines[-1]) + len(piece) > _LINE_AIM:
            lines.append(piece)
        else:
            lines[-1] += piece
    return "\r\n".join(lines) + "\r\n"


def encoded_words(text: str, room: int = _WORD_CHARS) -> list[str]:
    """`text` as encoded-words of whole characters (RFC 2047 §5), base64 or Q, whichever is shorter.

    room  characters that one word may take, 24 or more
    """
    room = min(room, _WORD_CHARS) - _WORD_ENDS
    octets = text.encode()
    quoted = [_Q[octet] for octet in octets]
    if sum(map(len, quoted)) * 3 > len(octets) * 4:
        return [
            f"=?utf-8?b?{base64.b64encode(octets[start:end]).decode()}?="
            for start, end in _spans(octets, [1] * len(octets), room // 4 * 3)
        ]
    spans = _spans(octets, [len(q) for q in quoted], room)
    return [f"=?utf-8?q?{''.join(quoted[start:end])}?=" for start, end in spans]


def _spans(octets: bytes, costs: Sequence[int], room: int) -> list[tuple[int, int]]:
    """Where to cut, so that no span costs more than `room` and none ends within a character.

    A reader decodes each word by itself: half a character would show as two unknown ones.
    """
    spans = []
    start = cut = used = since_cut = 0
    for at, cost in enumerate(costs):
        if octets[at] not in _CONTINUATION:
            cut, since_cut = at, 0
        used += cost
        since_cut += cost
        if used > room:
            spans.append((start, cut))
            start, used = cut, since_cut
    spans.append((start, len(octets)))
    return spans


def _mailbox_pieces(mailbox: Mailbox, end: str) -> list[str]:
    name = mailbox.display_name
    if not name:
        return [f" {mailbox.addr_spec}{end}"]
    address = f" <{mailbox.addr_spec}>{end}"
    quoted = name if _PHRASE.fullmatch(name) else quote(name)
    if len(quoted) > _QUOTED_CHARS or not is_plain(name):
        return [*(" " + word for word in encoded_words(name)), address]
    return [" " + quoted, address]
