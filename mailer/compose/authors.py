"""Whose message it is, and whose it shall be: mailboxes of fields (RFC 5322 §3.4, §3.6.2, RFC 6854 §2).

Whether a tenant may send as the authors is decided from what this returns, so of them it never sees fewer
mailboxes than a lax reader would: one that stands as a display name without quotes, as in
`a@b.example <c@d.example>`, is returned beside the other. What else could be read in two ways is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from mailer.compose.address import AddressError, Mailbox, parse_mailbox
from mailer.compose.malformed import AuthorError, DestinationError

_VALUE_OCTETS = 8192
_DESTINATION_OCTETS = 64_000  # a thousand mailboxes with their names

_PLAIN = re.compile(
    r"""(?:"[^"\\]*"[ \t]*|[^"\\<>()\[\],;:@]*)<([^"\\<>()\[\],;: \t]*)>|([^"\\<>()\[\],;: \t]+)"""
)
_OPAQUE = re.compile(r'"(?:[^"\\]|\\.)*"|\[[^\[\]"]*\]')
_MASK = "\0"
_STRAY = re.compile(r'["\\\[\]]')
_MARK = re.compile(r"<[^<>]*>|[,;:<>]")
_ANGLE = re.compile(r"([^<]*)<([^<>]*)>([^<>]*)")
_SPACED_DOT = re.compile(r"[ \t]*([.@])[ \t]*")


@lru_cache(maxsize=1024)
def mailboxes(field: str, value: bytes) -> tuple[Mailbox, ...]:
    """Each mailbox in `value` once, one or more, without display names, for those decide nothing.

    field  From or Sender, for the error
    value  unfolded; octets outside UTF-8 may stand in a display name

    Raises AuthorError and nothing else. Few write nearly everything, so the last ones are remembered.
    """
    if len(value) > _VALUE_OCTETS:
        raise AuthorError(f"the field {field} has more than {_VALUE_OCTETS} octets", field=field)
    text = value.decode("utf-8", "surrogateescape")
    try:
        plain = _PLAIN.fullmatch(text)
        found = (
            [_read(plain[1] or plain[2] or "")]
            if plain
            else [mailbox for entry in _list(text) for mailbox in entry]
        )
    except AddressError as error:
        raise AuthorError(f"the field {field} is not a list of mailboxes: {error}", field=field) from None
    if not found:
        raise AuthorError(f"the field {field} holds no mailbox", field=field)
    return tuple(dict.fromkeys(found))


def destinations(field: str, value: bytes) -> tuple[Mailbox, ...]:
    """Each mailbox that `value` is addressed to once, without display names; () for an empty group.

    field  To, Cc, Bcc or what stands for them, for the error
    value  unfolded, in UTF-8

    Raises DestinationError and nothing else.
    """
    if len(value) > _DESTINATION_OCTETS:
        raise DestinationError(f"the field {field} has more than {_DESTINATION_OCTETS} octets", field=field)
    try:
        return tuple(dict.fromkeys(entry[0] for entry in _list(value.decode("utf-8", "surrogateescape"))))
    except AddressError as error:
        raise DestinationError(
            f"the field {field} is not a list of mailboxes: {error}", field=field
        ) from None


def _list(text: str) -> Iterator[tuple[Mailbox, ...]]:
    """The mailboxes of each entry: its own, and those that a lax reader would find in its name."""
    text = _without_comments(text) if "(" in text or ")" in text else text
    # As long as `text`, with nothing in it that only looks like punctuation.
    masked = _OPAQUE.sub(lambda opaque: _MASK * len(opaque[0]), text)
    # A backslash out here hides a quote from some readers and not from others.
    if _STRAY.search(masked):
        raise AddressError("quotes or square brackets do not match, or a backslash stands outside quotes")
    for start, end in _entries(masked):
        entry = tuple(_entry(text[start:end], masked[start:end]))
        if entry:
            yield entry


def _entries(masked: str) -> Iterator[tuple[int, int]]:
    """Where each mailbox of a list stands, those in groups too. Empty ones are obsolete (RFC 5322 §4.4)."""
    start, in_group = 0, False
    for mark in _MARK.finditer(masked):
        if mark[0] in "<>":
            raise AddressError("the angle brackets do not match")
        if mark[0][0] == "<":
            continue
        if mark[0] == ":" and "@" in masked[start : mark.start()]:
            raise AddressError("the name of a group holds an address")
        if mark[0] in ":;":
            if in_group == (mark[0] == ":"):
                raise AddressError("a group begins with one ':' and ends with ';'")
            in_group = not in_group
        if mark[0] != ":":
            yield start, mark.start()
        start = mark.end()
    if in_group:
        raise AddressError("a group begins with one ':' and ends with ';'")
    yield start, len(masked)


def _entry(text: str, masked: str) -> Iterator[Mailbox]:
    if not text.strip(" \t"):
        return
    angle = _ANGLE.fullmatch(masked)
    if angle is None:
        yield _addr_spec(text)
        return
    if angle[3].strip(" \t"):
        raise AddressError("text follows the closing angle bracket")
    yield _addr_spec(text[angle.start(2) : angle.end(2)])
    # Beside an '@' or '[' without quotes, Python's parser decodes first and looks for addresses then.
    if "=?" in angle[1] and ("@" in angle[1] or "[" in text):
        raise AddressError("a display name with '@' or '[' and an encoded-word must stand in double quotes")
    yield from (_addr_spec(word) for word in angle[1].replace(_MASK, " ").split() if "@" in word)


def _addr_spec(text: str) -> Mailbox:
    """Old software writes white space around dots and '@' (RFC 5322 §4.4), never within quotes."""
    text = text.strip(" \t")
    if '"' not in text and (" " in text or "\t" in text):
        text = _SPACED_DOT.sub(r"\1", text)
    return _read(text)


def _read(addr_spec: str) -> Mailbox:
    """RFC 2047 §5: no encoded-word in an address. A reader that decodes one finds another address there."""
    if "=?" in addr_spec:
        raise AddressError("an encoded-word cannot stand in an address")
    return parse_mailbox(addr_spec)  # which knows ordinary ones at a glance; no ">" is left in the text


def _without_comments(text: str) -> str:
    """Comments nest, and end neither at a quoted ')' nor within quotes (RFC 5322 §3.2.2)."""
    kept = []
    depth = 0
    in_quotes = escaped = False
    for char in text:
        is_bare = not escaped and not in_quotes
        depth += (char == "(" and is_bare) - (char == ")" and is_bare)
        if depth < 0:
            raise AddressError("the parentheses do not match")
        if not depth:
            kept.append(" " if char == ")" and is_bare else char)
            in_quotes ^= char == '"' and not escaped
        escaped = char == "\\" and not escaped
    if depth:
        raise AddressError("the parentheses do not match")
    return "".join(kept)
