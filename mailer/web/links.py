"""The links in a message: what an application's test wants to follow. Bounded; nothing in it raises."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass

from mailer.web.reading import Reading

_READ_CHARS = 512 * 1024
_MOST = 500
_TEXT_CHARS = 500
# None of these can run past the next "<", so that hostile markup costs no more than its length.
_ANCHOR = re.compile(r"<a\s([^<>]*)>", re.IGNORECASE)
_HREF = re.compile(r"\bhref\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'>]+))", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]*>")
_END = re.compile(r"</a\b", re.IGNORECASE)
_URL = re.compile(r"\bhttps?://[^\s<>\"']+", re.IGNORECASE)
_CLOSING = ".,;:!?)]}"


@dataclass(frozen=True, slots=True)
class Link:
    """text: what is shown for it in HTML, without markup; None where it was found in plain text."""

    url: str
    text: str | None


def links_of(reading: Reading) -> tuple[Link, ...]:
    """Those of the HTML in order, then those that stand in the text alone; each address once."""
    found: dict[str, Link] = {}
    for link in _all(reading):
        found.setdefault(link.url, link)
        if len(found) >= _MOST:
            break
    return tuple(found.values())


def _all(reading: Reading) -> Iterator[Link]:
    if reading.html is not None:
        yield from _anchors(reading.html.text[:_READ_CHARS])
    if reading.text is not None:
        for url in _URL.findall(reading.text.text[:_READ_CHARS]):
            yield Link(url.rstrip(_CLOSING), None)


def _anchors(markup: str) -> Iterator[Link]:
    for anchor in _ANCHOR.finditer(markup):
        href = _HREF.search(anchor[1])
        url = "" if href is None else html.unescape(href[1] or href[2] or href[3] or "").strip()
        if url and not url.startswith("#"):
            yield Link(url, _shown(markup[anchor.end() : anchor.end() + _TEXT_CHARS]))


def _shown(after: str) -> str:
    """The text of an anchor, `after` its start tag."""
    end = _END.search(after)
    inner = after[: end.start()] if end else after
    return " ".join(html.unescape(_TAG.sub("", inner)).split())
