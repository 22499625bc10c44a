"""The words of a mail that people read: its own, without the message that it returns."""

from __future__ import annotations

import html
import re

from mailer.report.reading.mime import Part
from mailer.report.reading.wording import alternatives

TEXT_OCTETS = 64 * 1024  # of a part; what a host says of a delivery is far shorter
_TEXT_CHARS = 96 * 1024
_LINE_CHARS = 1000  # RFC 5322 §2.1.1
_PARTS_MOST = 12

# What is between these is not shown.
_UNSEEN = re.compile(r"<(style|script|head|title)\b|<!--", re.IGNORECASE)
_BREAKS = frozenset(
    [
        "br",
        "p",
        "div",
        "tr",
        "li",
        "ul",
        "ol",
        "table",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "blockquote",
        "pre",
        "hr",
        "dt",
        "dd",
    ]
)
_TAG = re.compile(r"<[/!?]?([A-Za-z][A-Za-z0-9:]{0,30})?(?:[\s/][^<>]{0,2000})?>|<![^<>]{0,500}>")
_BLANKS = re.compile(r"[ \t\u00a0]+")

# Where hosts that put the returned message into their text say so: the line before it, whatever frames it.
_RULE = r"[-=_*|>#+. \t]*"
_COPY = re.compile(
    rf"^{_RULE}{alternatives('copy')}{_RULE}(?::|,[^\n]{{0,80}}|\([^\n]{{0,60}}\)|\.)?{_RULE}$",
    re.IGNORECASE | re.MULTILINE,
)
# Or a header simply begins.
_HEADER_LINE = re.compile(
    r"^(?:[>|] ?)?(received|return-path|message-id|date|from|to|subject|mime-version|content-type|x-mailer"
    r"|dkim-signature|reply-to|sender|delivered-to|content-transfer-encoding|x-[a-z0-9-]{2,40})[ \t]?:",
    re.IGNORECASE | re.MULTILINE,
)
_HEADER_NEEDS = 3
_HEADER_CHARS = 8000


def words_of(root: Part) -> str:
    """The texts that the mail's author wrote, lines ending in LF, plain text before HTML."""
    plain: list[str] = []
    rich: list[str] = []
    for part in root.walk():
        if part.is_nested or part.children:
            continue
        essence = part.type.essence
        if essence == "text/html" and len(rich) < _PARTS_MOST:
            rich.append(without_tags(part.text(TEXT_OCTETS)))
        is_plain = essence in {"text/plain", "text"} or part.type.main == "multipart"
        if is_plain and len(plain) < _PARTS_MOST:
            plain.append(_perhaps_html(part.text(TEXT_OCTETS)))
    return "\n\n".join([text for text in plain if text.strip()] or rich)[:_TEXT_CHARS]


def _perhaps_html(text: str) -> str:
    return without_tags(text) if re.match(r"\s*<(?:!doctype )?html\b", text, re.IGNORECASE) else text


def without_tags(text: str) -> str:
    """HTML as lines of text. A tag's attributes are lost, and an address in angle brackets is kept."""
    # Line breaks of the source mean nothing in HTML.
    shown = _TAG.sub(_break, _seen(text).replace("\n", " "))
    return "\n".join(_BLANKS.sub(" ", line).strip() for line in html.unescape(shown).split("\n"))


def _seen(text: str) -> str:
    """Without comments, styles and scripts, each up to its end or the text's."""
    lowered = text.lower()
    found, at = [], 0
    while (match := _UNSEEN.search(text, at)) is not None:
        found.append(text[at : match.start()])
        ending = "-->" if match[1] is None else f"</{match[1].lower()}"
        end = lowered.find(ending, match.end())
        if end < 0:
            return "".join(found)
        at = end + len(ending)
    return "".join(found) + text[at:]


def _break(tag: re.Match[str]) -> str:
    return "\n" if (tag[1] or "").lower() in _BREAKS else ""


def divided(text: str) -> tuple[str, str]:
    """What the author says, and the copy of the original that follows it in the same text, or nothing."""
    text = "\n".join(_unquoted([line[:_LINE_CHARS] for line in text.split("\n")]))
    cut = _COPY.search(text)
    at = cut.end() if cut is not None else len(text)
    start = cut.start() if cut is not None else len(text)
    header = _header_at(text[:start])
    if header is not None:
        return text[:header], text[header:]
    return text[:start], text[at:]


def _unquoted(lines: list[str]) -> list[str]:
    """Without the angles of somebody who passed it on, where they stand before nearly every line."""
    quoted = sum(line.startswith(">") for line in lines)
    if quoted * 10 < 9 * sum(bool(line.strip()) for line in lines):
        return lines
    return [line.removeprefix(">").removeprefix(" ") for line in lines]


def _header_at(text: str) -> int | None:
    """Where a header of a message begins in `text`: fields on lines that follow one another."""
    at = 0
    while (first := _HEADER_LINE.search(text, at)) is not None:
        names: set[str] = set()
        at = first.start()
        for line in text[at : at + _HEADER_CHARS].split("\n"):
            field = _HEADER_LINE.match(line)
            if field is not None:
                names.add(field[1].lower())
            elif not line[:1].isspace() or not line.strip():
                break
            if len(names) >= _HEADER_NEEDS and names & _TELLING:
                return first.start()
            at += len(line) + 1
        at = max(at, first.end())
    return None


_TELLING = frozenset(
    {"received", "return-path", "message-id", "mime-version", "dkim-signature", "content-type"}
)
