"""The routes of /inbox: a page for people, JSON for tests and scripts, and what a message holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Header, HTTPException, Query
from fastapi.responses import FileResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from mailer.web.hostile import DOWNLOAD_POLICY, FRAME_POLICY, disposition, framed, media_type, safe_name
from mailer.web.leaving import leaving_of
from mailer.web.reading import Part, Reading, read
from mailer.web.shelf import Listing, Shelf, Summary
from mailer.web.verdict import Lookup, Verdict, verdicts

_HERE = Path(__file__).parent
_ASSETS = {"inbox.js": "text/javascript", "inbox.css": "text/css"}
_SHOWN_BYTES = 512 * 1024  # of text or source; the whole is a download
_PAGE_MESSAGES = 200
_VIEWS = ("html", "text", "headers", "source")

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # a link's target is not told where its mail lies
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; "
    "frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_templates = Environment(
    loader=FileSystemLoader(_HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def _size(octets: int) -> str:
    """For people: 812 bytes, 5.6 KB, 12.0 MB."""
    if octets < 1000:
        return f"{octets} bytes"
    return f"{octets / 1000:.1f} KB" if octets < 1_000_000 else f"{octets / 1_000_000:.1f} MB"


_templates.filters["size"] = _size


def inbox_router(maildir_path: Path, dkim_lookup: Lookup) -> APIRouter:
    """Everything under /inbox, for the HTTP role to mount in sandbox mode only: it asks nobody who they are.

    maildir_path  the inbox role's folder; need not exist yet
    dkim_lookup   the TXT record that a name should have by our own books; None: no such key. It is
                  called in a worker thread
    """
    pages = _Pages(Shelf(maildir_path), dkim_lookup)
    router = APIRouter(prefix="/inbox", include_in_schema=False)
    routes: dict[str, Callable[..., Response]] = {
        "": pages.front,
        "/view/{key}": pages.view,
        "/messages": pages.list_messages,
        "/messages/{key}": pages.message,
        "/messages/{key}/raw": pages.raw,
        "/messages/{key}/html": pages.html,
        "/messages/{key}/parts/{number}": pages.part,
        "/assets/{name}": _asset,
        "/": lambda: RedirectResponse("../inbox"),
    }
    for path, endpoint in routes.items():
        router.add_api_route(path, endpoint, methods=["GET"], response_model=None)
    return router


@dataclass(frozen=True, slots=True)
class _Pages:
    """The endpoints. Plain functions, so that FastAPI runs them in threads: they read files."""

    shelf: Shelf
    lookup: Lookup

    def front(self) -> Response:
        return _page("inbox.html", listing=self.shelf.listing(limit=_PAGE_MESSAGES), opened=None)

    def view(self, key: str, show: str = "") -> Response:
        listing = self.shelf.listing(limit=_PAGE_MESSAGES)
        opened = self._opened(key, show)
        return _page("inbox.html", 200 if opened else 404, listing=listing, opened=opened or "gone")

    def list_messages(
        self,
        recipient: str | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        if_none_match: Annotated[str | None, Header()] = None,
    ) -> Response:
        if if_none_match == f'"{self.shelf.tag(recipient, limit)}"':
            return Response(status_code=304, headers={**_HEADERS, "ETag": if_none_match})
        listing = self.shelf.listing(recipient=recipient, limit=limit)
        return _json(_list_body(listing), {"ETag": f'"{listing.tag}"'})

    def message(self, key: str) -> Response:
        data = self._data(key)
        summary = self.shelf.summary(key)
        if summary is None:
            raise _gone()
        return _json(_message_body(summary, read(data), verdicts(data, self.lookup)))

    def raw(self, key: str) -> Response:
        """The file as it is kept. Its key is the file's name: nothing of the sender's is in the header."""
        return _download(self._data(key), "message/rfc822", f"{key}.eml")

    def html(self, key: str) -> Response:
        reading = read(self._data(key))
        if reading.html is None:
            raise _gone()
        body = framed(reading.html.text, reading.parts)
        headers = {**_HEADERS, "Content-Security-Policy": FRAME_POLICY}
        return Response(body, media_type="text/html; charset=utf-8", headers=headers)

    def part(self, key: str, number: int) -> Response:
        parts = read(self._data(key)).parts
        if not 0 <= number < len(parts):
            raise _gone()
        return _download(parts[number].content, media_type(parts[number]), _filename(parts[number]))

    def _data(self, key: str) -> bytes:
        data = self.shelf.message(key)
        if data is None:
            raise _gone()
        return data

    def _opened(self, key: str, show: str) -> dict[str, Any] | None:
        """What the message's pane shows; None if it is not kept any more."""
        data, summary = self.shelf.message(key), self.shelf.summary(key)
        if data is None or summary is None:
            return None
        reading = read(data)
        text = reading.text.text if reading.text else ""
        return {
            "summary": summary,
            "reading": reading,
            "shown": _shown(show, reading),
            "text": text[:_SHOWN_BYTES],
            "is_text_cut": len(text) > _SHOWN_BYTES,
            "source": data[:_SHOWN_BYTES].decode("utf-8", "replace"),
            "is_source_cut": len(data) > _SHOWN_BYTES,
            "verdicts": verdicts(data, self.lookup),
            "attachments": [_attachment_line(key, part) for part in reading.attachments],
            "leave": leaving_of(reading),
        }


def _shown(wanted: str, reading: Reading) -> str:
    """The view that was asked for where the message has it; else the richest it has."""
    lacks = {"html": reading.html is None, "text": reading.text is None}
    return next(view for view in (wanted, *_VIEWS) if view in _VIEWS and not lacks.get(view, False))


def _list_body(listing: Listing) -> dict[str, Any]:
    return {"total": listing.total, "messages": [_summary_line(summary) for summary in listing.messages]}


def _summary_line(summary: Summary) -> dict[str, Any]:
    line = asdict(summary)
    del line["reference"]  # it stands among the header fields
    return line | {"from": line.pop("header_from"), "to": line.pop("header_to")}


def _message_body(summary: Summary, reading: Reading, found: list[Verdict]) -> dict[str, Any]:
    return _summary_line(summary) | {
        "headers": [{"name": name, "value": value} for name, value in reading.fields],
        "text": reading.text.text if reading.text else None,
        "html": reading.html.text if reading.html else None,
        "attachments": [_attachment_line(summary.key, part) for part in reading.attachments],
        "dkim": [asdict(verdict) for verdict in found],
        "fault": reading.fault,
        "raw_url": f"/inbox/messages/{summary.key}/raw",
    }


def _attachment_line(key: str, part: Part) -> dict[str, Any]:
    return {
        "number": part.number,
        "filename": _filename(part),
        "content_type": part.content_type,
        "size_bytes": len(part.content),
        "url": f"/inbox/messages/{key}/parts/{part.number}",
    }


def _filename(part: Part) -> str:
    """A name for a part that has none: forwarded messages and inline images often do not."""
    if part.filename:
        return safe_name(part.filename)
    extension = {"message/rfc822": "eml", "text/plain": "txt", "text/html": "html"}.get(part.content_type)
    return f"part-{part.number}.{extension or safe_name(part.content_type.partition('/')[2])}"


def _page(template: str, status: int = 200, **values: Any) -> Response:
    body = _templates.get_template(template).render(**values)
    headers = {**_HEADERS, "Content-Security-Policy": _PAGE_POLICY}
    return Response(body, status, media_type="text/html; charset=utf-8", headers=headers)


def _json(body: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    all_headers = {**_HEADERS, **(headers or {})}
    return Response(msgspec.json.encode(body), media_type="application/json", headers=all_headers)


def _download(content: bytes, content_type: str, filename: str) -> Response:
    headers = {
        **_HEADERS,
        "Content-Security-Policy": DOWNLOAD_POLICY,
        "Content-Disposition": disposition(filename),
    }
    return Response(content, media_type=content_type, headers=headers)


def _asset(name: str) -> Response:
    if name not in _ASSETS:
        raise _gone()
    headers = {**_HEADERS, "Cache-Control": "no-cache"}
    return FileResponse(_HERE / "static" / name, media_type=_ASSETS[name], headers=headers)


def _gone() -> HTTPException:
    return HTTPException(404, "The inbox keeps no such message, or not any more.")
