"""The words of a mail that people read: its own, without the message that it returns."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from mailer.report.reading.mime import Part
from mailer.report.reading.wording import alternatives, wording

TEXT_OCTETS = 64 * 1024  # of a part; what a host says of a delivery is far shorter
_TEXT_CHARS = 96 * 1024
_LINE_CHARS = 1000  # RFC 5322 §2.1.1
_LOOK_OCTETS = 4096
_PARTS_MOST = 12
_TEXTS = frozenset({"text/plain", "text", "text/html"})
# Quotes as typographers set them, and blanks that do not break: templates and gateways put either.
_SIGNS = str.maketrans({
    "\u2018": "'", "\u2019": "'", "\u201a": "'", "\u201c": '"', "\u201d": '"', "\u201e": '"', "\u00a0": " ",
    "\u202f": " ", "\u2007": " ", "\u200b": "", "\ufeff": "",
})  # fmt: skip

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
_FRAME = re.compile(r"[-=_*|]{3}")
# What stands in every mail of somebody's, whatever it is about.
_BOILERPLATE = wording("boilerplate")
_BOILERPLATE_CHARS = 2000
_REPLY = re.compile(r"(?<![\d.])[45]\d\d[ -]|(?<![\d.])[245]\.\d\.\d|@")
# Or a header simply begins.
_HEADER_LINE = re.compile(
    r"^(?:[>|] ?)?(received|return-path|message-id|date|from|to|subject|mime-version|content-type|x-mailer"
    r"|dkim-signature|reply-to|sender|delivered-to|content-transfer-encoding|x-[a-z0-9-]{2,40})[ \t]?:",
    re.IGNORECASE | re.MULTILINE,
)
_HEADER_NEEDS = 3
_HEADER_CHARS = 8000


def words_of(root: Part) -> str:
    """The texts that the mail's author wrote, lines ending in LF. HTML where no plain text says the same."""
    found: list[str] = []
    for part in _shown(root):
        if len(found) == _PARTS_MOST:
            break
        text = part.text(TEXT_OCTETS)
        shown = without_tags(text) if part.type.essence == "text/html" else _perhaps_html(text)
        found.append(shown.translate(_SIGNS))
    # A header that is a file of its own would else begin the copy, wherever the gateway puts it.
    found.sort(key=_is_header)
    return "\n\n".join(text for text in found if text.strip())[:_TEXT_CHARS]


def _is_header(text: str) -> bool:
    return _header_at(text[:_HEADER_CHARS].lstrip()) == 0


def _shown(part: Part) -> Iterator[Part]:
    """Leaves that are text, of alternatives the plain ones (RFC 2046 §5.1.4)."""
    if part.is_nested:
        return
    if not part.children:
        if part.type.essence in _TEXTS or part.type.main == "multipart":
            yield part
        return
    leaves = [leaf for child in part.children for leaf in _shown(child)]
    if part.type.essence == "multipart/alternative":
        plain = [
            leaf for leaf in leaves if leaf.type.essence != "text/html" and leaf.text(_LOOK_OCTETS).strip()
        ]
        leaves = plain or leaves
    yield from leaves


def _perhaps_html(text: str) -> str:
    return without_tags(text) if re.match(r"\s*<(?:!doctype )?html\b", text, re.IGNORECASE) else text


def without_tags(text: str) -> str:
    """HTML as lines of text. A tag's attributes are lost, and an address in angle brackets is kept."""
    # Line breaks of the source mean nothing in HTML.
    shown = _TAG.sub(_break, _seen(text).replace("\n", " "))
    return "\n".join(_as_shown(line) for line in html.unescape(shown).split("\n"))


def _as_shown(line: str) -> str:
    """Blanks as one, but for those at the beginning that do not break: they are how far in it stands."""
    text = line.lstrip(" \t\u00a0")
    further_in = line[: len(line) - len(text)].count("\u00a0")
    return " " * further_in + _BLANKS.sub(" ", text).rstrip()


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
    cut = next((found for found in _COPY.finditer(text) if _stands_alone(found)), None)
    at = cut.end() if cut is not None else len(text)
    start = cut.start() if cut is not None else len(text)
    header = _header_at(text[:start])
    if header is not None:
        return _of_this_mail(text[:header]), text[header:]
    return _of_this_mail(text[:start]), text[at:]


def _stands_alone(found: re.Match[str]) -> bool:
    """Framed, or the last words before something; not the line on which a sentence happens to end."""
    line = found[0].strip()
    if line.endswith(":") or _FRAME.search(line):
        return True
    before = found.string[max(found.start() - _LINE_CHARS, 0) : found.start()].rstrip(" \t|>")
    is_last = found.string.startswith("\n\n", found.end())
    return not before or before.endswith("\n\n") or (is_last and not line.endswith("."))


def _of_this_mail(text: str) -> str:
    """Without the paragraphs that gateways put into every mail, unless they tell of a delivery."""
    return "\n\n".join(part for part in text.split("\n\n") if not _is_boilerplate(part))


def _is_boilerplate(paragraph: str) -> bool:
    words = " ".join(paragraph[:_BOILERPLATE_CHARS].split())
    return bool(_BOILERPLATE.search(words)) and not _REPLY.search(words)


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
