"""A stranger's HTML and file names, made harmless. Pure."""

from __future__ import annotations

import base64
import re
import unicodedata
from collections.abc import Iterable
from urllib.parse import quote

from mailer.web.reading import Part

# The message's own document: an origin of its own, no script, no form, nothing fetched. Pop-ups are
# allowed so that a click on a link opens it in a tab of its own: people test links here.
FRAME_POLICY = (
    "default-src 'none'; img-src data:; font-src data:; media-src data:; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'; "
    "sandbox allow-popups allow-popups-to-escape-sandbox"
)
DOWNLOAD_POLICY = "default-src 'none'; sandbox"

_CID = re.compile(r"cid:([^\"'\s()<>]+)", re.IGNORECASE)
_START = re.compile(
    r"\ufeff?\s*(<!doctype[^>]*>)?\s*(<html(\s[^>]*)?>)?\s*(<head(\s[^>]*)?>)?", re.IGNORECASE
)
_BASE = '<base target="_blank">'
_DISPLAYED = re.compile(
    r"(image/(png|jpeg|gif|webp|avif|bmp))|audio/[a-z0-9.+-]+|video/[a-z0-9.+-]+|application/pdf"
)
_LONGEST_NAME = 120


def framed(html: str, parts: Iterable[Part]) -> str:
    """The document for the frame: links open in a new tab, images that the message carries are put in.

    Nothing is taken out: FRAME_POLICY, not a filter, makes it harmless, and a filter would hide faults
    of the mail that is being tested.
    """
    images = {p.content_id: p for p in parts if p.content_id and p.content_type.startswith("image/")}
    document = _CID.sub(lambda found: _image(images.get(found[1]), found[0]), html)
    start = _START.match(document)
    at = start.end() if start else 0  # behind the doctype: in front of it, the page would be in quirks mode
    return f"{document[:at]}{_BASE}{document[at:]}"


def _image(part: Part | None, otherwise: str) -> str:
    """RFC 2392: the part with that Content-ID, as a data URL; unknown ones stay and show broken."""
    if part is None:
        return otherwise
    return f"data:{part.content_type};base64,{base64.b64encode(part.content).decode()}"


def disposition(filename: str) -> str:
    """A Content-Disposition that saves under a harmless form of `filename` (RFC 6266 §4.3, §5)."""
    name = safe_name(filename)
    plain = re.sub(r"[^A-Za-z0-9 ._()+-]", "_", unicodedata.normalize("NFKD", name))
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def safe_name(filename: str) -> str:
    """Without folders, control and direction characters, leading dots; never empty, its extension kept.

    Direction overrides go because "invoice\\u202efdp.exe" reads as a PDF (Unicode TR 36 §2.5).
    """
    last = re.split(r"[/\\]", filename)[-1]
    clean = "".join(c for c in last if unicodedata.category(c)[0] != "C").strip(" .")
    if len(clean) > _LONGEST_NAME:
        stem, _, extension = clean.rpartition(".")
        clean = f"{stem[: _LONGEST_NAME - 21]}.{extension[:20]}" if stem else clean[:_LONGEST_NAME]
    return clean or "attachment"


def media_type(part: Part) -> str:
    """The declared type where a browser does nothing with it but show it; else that of plain octets."""
    return part.content_type if _DISPLAYED.fullmatch(part.content_type) else "application/octet-stream"
