"""HTML as it is sent: style rules written into the elements, and the text that stands beside it.

Both are done to HTML that has its data already. In a template they could not be: an HTML parser moves a
Liquid tag that stands between the rows of a table out of the table, as the HTML standard tells it to. It is
cheap enough to do for each message: a page of 1.5 KB takes 0.1 ms for its styles and 0.6 ms for its text.
"""

from __future__ import annotations

import re
from functools import cache

import css_inline
from inscriptis.css_profiles import CSS_PROFILES
from inscriptis.html_engine import Inscriptis
from inscriptis.model.config import ParserConfig
from lxml import html as lxml_html
from lxml.etree import LxmlError, ParserError

MOST_CHARS = 2_000_000
# Characters of style times elements: every rule may be written into every element.
_MOST_STYLING = 100_000_000
_STYLE = re.compile(r"<style\b", re.IGNORECASE)
_HIDDEN = re.compile(r"(?:^|;)\s*(?:display\s*:\s*none|mso-hide\s*:\s*all)", re.IGNORECASE)
_TABLE_COLUMNS = 78  # RFC 5322 §2.1.1: a line of text should not pass this
_TABLE_PARTS = ("caption", "thead", "tbody", "tfoot", "tr", "th", "td")
_MOST_TAGS = 30_000  # that a text is made of; a long newsletter has 3,000
_FOLLOWED = ("http:", "https:", "mailto:", "tel:")
_BLANK_LINES = re.compile(r"\n{3,}")


class FinishingFault(Exception):
    """The HTML cannot be finished; one sentence for its author."""


def inline_css(html: str) -> str:
    """`html` with the rules of its style elements in style attributes, for readers that drop the former.

    The elements stay, for what no attribute can say: media queries, :hover. Without any the HTML is left
    as it is, octet for octet. Nothing is fetched, from the network or from a disk; `link` is left alone. A
    style element with `data-css-inline="ignore"` is left alone too.

    Raises FinishingFault.
    """
    first = _STYLE.search(html)
    if first is None:
        return html
    # The style elements together, from above: cheap to count, and only ever too much.
    styles = sum(len(piece) for piece in _between(html, "<style", "</style"))
    if styles * html.count("<") > _MOST_STYLING:
        raise FinishingFault("the HTML has too many style rules for so many elements")
    try:
        finished: str = _inliner().inline(html)
    except ValueError as error:  # css_inline.InlineError is one
        raise FinishingFault(f"the CSS cannot be read: {error}") from error
    if len(finished) > MOST_CHARS:
        raise FinishingFault("the HTML is too large with its styles in the elements")
    return finished


def text_of(html: str) -> str:
    """What a reader without HTML reads: `html` as plain text.

    A link is followed by its target in angle brackets (RFC 3986 appendix C), unless it is written out
    already. A picture in a link is its alternative text. What is hidden by a style attribute is left out.
    A table is laid out in columns where it is one of data and fits; else its cells follow one another, since
    most tables in mail only place things.

    Raises FinishingFault.
    """
    if html.count("<") > _MOST_TAGS:
        raise FinishingFault("the HTML is too large to make a text of; give one")
    try:
        page = lxml_html.document_fromstring(_without_nul(html))
        _prepare(page)
        text = Inscriptis(page, ParserConfig(css=CSS_PROFILES["strict"])).get_text()
    except ParserError:  # there is nothing in it
        return ""
    except (LxmlError, ValueError, RecursionError) as error:
        raise FinishingFault("no text can be made of the HTML; give one") from error
    lines = [line.rstrip() for line in text.splitlines()]
    return _BLANK_LINES.sub("\n\n", "\n".join(lines)).strip("\n") + "\n"


@cache
def _inliner() -> css_inline.CSSInliner:
    return css_inline.CSSInliner(
        load_remote_stylesheets=False, keep_style_tags=True, keep_at_rules=True, keep_link_tags=True
    )


def _between(html: str, opening: str, closing: str) -> list[str]:
    low = html.lower()
    pieces = []
    start = low.find(opening)
    while start >= 0:
        end = low.find(closing, start)
        end = len(low) if end < 0 else end
        pieces.append(low[start:end])
        start = low.find(opening, end)
    return pieces


def _without_nul(html: str) -> str:
    """libxml2 ends the document at a NUL; and refuses text that declares an encoding of octets."""
    return re.sub(r"^\s*<\?xml[^>]*>", "", html.replace("\0", ""))


def _prepare(page: lxml_html.HtmlElement) -> None:
    for link in list(page.iter("a")):
        _write_out(link)
    for element in list(page.iter()):
        style = element.attrib.get("style", "") if isinstance(element.tag, str) else ""
        if style:
            if _HIDDEN.search(style) and element.getparent() is not None:
                element.drop_tree()
                continue
            # Margins and paddings of a page would only indent the text.
            del element.attrib["style"]
    for table in list(page.iter("table")):
        if not _is_of_data(table):
            _make_flow(table)


def _write_out(link: lxml_html.HtmlElement) -> None:
    target = (link.get("href") or "").strip()
    said = " ".join(link.text_content().split())
    if not said:
        said = " ".join(filter(None, (image.get("alt", "").strip() for image in link.iter("img"))))
        if said:
            link.text = said
    if not target.lower().startswith(_FOLLOWED if said else _FOLLOWED[:2]):
        return
    plain = target.removeprefix("mailto:").removeprefix("tel:")
    if said.rstrip("/") in (plain, target.rstrip("/"), plain.partition("://")[2].rstrip("/")):
        return
    written = f"<{target}>" if not said else f" <{target}>"
    link.tail = written + (link.tail or "")


def _make_flow(table: lxml_html.HtmlElement) -> None:
    """Its rows and cells follow one another; tables in it are left to themselves."""
    table.tag = "div"
    parts = list(table)
    while parts:
        part = parts.pop()
        if part.tag in _TABLE_PARTS:
            part.tag = "div"
            parts += [child for child in part if child.tag in _TABLE_PARTS]


def _is_of_data(table: lxml_html.HtmlElement) -> bool:
    """Its columns mean something, and are no wider together than a line of text."""
    if (
        table.get("role") in ("presentation", "none")
        or next(table.iterdescendants("table"), None) is not None
    ):
        return False
    widths: list[int] = []
    for row in table.iter("tr"):
        cells = [cell for cell in row if cell.tag in ("td", "th")]
        for column, cell in enumerate(cells):
            width = len(" ".join(cell.text_content().split()))
            if column == len(widths):
                widths.append(0)
            widths[column] = max(widths[column], width)
            if sum(widths) + 2 * len(widths) > _TABLE_COLUMNS:
                return False
    return len(widths) > 1
