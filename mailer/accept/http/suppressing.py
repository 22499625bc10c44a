"""/v1/suppressions: whom a tenant does not send to. Reading needs `read`; all else `manage`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from tempfile import TemporaryFile
from typing import IO, Annotated, Any, Literal

from fastapi import APIRouter, Body, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import Field
from starlette.requests import ClientDisconnect

from mailer import ids
from mailer.accept.credentials import Authenticator, Identity
from mailer.accept.http import cursors, openapi
from mailer.accept.http.asked import (
    Asked,
    Digits,
    Instant,
    NotGiven,
    examples,
    id_path,
    left_out,
    number_of,
    once,
    position_of,
)
from mailer.accept.http.callers import Caller, as_json
from mailer.accept.http.listing import DomainText
from mailer.accept.http.shapes import At, AttemptId, RecipientId, Shape, shown_as
from mailer.accept.http.smallbody import SmallBody
from mailer.accept.http.visits import ClientGone
from mailer.accept.submission import Fault, SubmissionError
from mailer.accept.suppressions import Lists, NewEntry
from mailer.identity import asking
from mailer.identity.streams import NAME_PATTERN
from mailer.policy.suppression import Reason
from mailer.policy.suppressionkey import canonical
from mailer.queue.suppressionfile import NoList, Outcome
from mailer.queue.suppressionlist import Wanted
from mailer.queue.suppressiontext import written

_PATH = "/suppressions"
_MOST = 1000
_IMPORT_BYTES = 256 * 1024 * 1024
_SILENCE_SECONDS = 30.0  # between pieces of a list that is being imported
_KIND = "sup"
_CSV = "text/csv"
_Cause = Literal["reply", "report", "link", "api", "import", "operator"]
_Stream = Annotated[str, Field(pattern=f"^{NAME_PATTERN}$")]
_Note = Annotated[str, Field(max_length=500, pattern="^[^\\x00-\\x1f\\x7f]*$")]
IdText = Annotated[str, id_path(_KIND, "a suppression")]


class Suppression(Shape):
    """Somebody who is not sent to."""

    id: Annotated[int, *shown_as(_KIND)]
    target: str | None = Field(
        description="An address, a domain, or `*.` and a domain for it and all beneath; null: erased"
    )
    stream: str | None = Field(description="Mail of this stream only; null: all of the tenant's")
    reason: Reason
    cause: _Cause = Field(description="How it came about")
    recipient_id: RecipientId | None = Field(description="Of whom it was heard")
    attempt_id: AttemptId | None = Field(description="That heard the reply")
    report_id: Annotated[int, *shown_as("ret")] | None = Field(description="The returned mail")
    note: str | None = Field(description="The peer's words, or of who added it")
    added_by: str | None = Field(description="Id of an API key, or who gave the command")
    created_at: At
    expires_at: At | None = Field(description="null: never")


class SuppressionPage(Shape):
    """The newest first."""

    suppressions: Sequence[Suppression]
    next_cursor: str | None = Field(description="`cursor` of the next page; null: there is nothing more")


class SuppressionQuery(Asked):
    """Which entries. All that is given must be met."""

    reason: Reason | NotGiven = Field(None, description="Only those made for it")
    stream: _Stream | NotGiven = Field(None, description="Only those of this stream")
    domain: DomainText | NotGiven = Field(None, description="Of that domain, or addresses at it")
    search: str | NotGiven = Field(
        None, min_length=1, max_length=320, description="What addresses begin with; case makes no difference"
    )
    limit: Digits = Field(100, ge=1, le=_MOST, description="Most entries in the answer")
    cursor: str | NotGiven = Field(None, max_length=64, description="`next_cursor` of the page before")

    def wanted(self) -> Wanted:
        prefix = None if self.search is None else _folded(self.search)
        return Wanted(reason=self.reason, stream=self.stream, domain=self.domain, prefix=prefix)

    def question(self) -> str:
        said = self.model_dump(mode="json", exclude={"limit", "cursor"})
        return json.dumps(said | {"list": "suppressions"}, sort_keys=True)


class SuppressionRequest(Asked):
    """Somebody who is not to be sent to from now on."""

    target: str = Field(
        min_length=1, max_length=400, json_schema_extra={"format": "suppression"},
        description="An address, a domain, or `*.` and a domain for it and all beneath",
    )  # fmt: skip
    stream: _Stream = left_out("Only mail of this stream; without it all of the tenant's")
    note: _Note = left_out("Why, for you")
    expires_at: Instant = left_out("Without it never")


class RemoveQuery(Asked):
    send_again: bool = Field(False, description="Accept anew what it stopped")


class Removed(Shape):
    """It stops nothing any more."""

    sent_again: int = Field(
        description="Recipients that it had stopped and that are accepted anew within seconds, but for those"
        " whose stream is archived or whose sending domain is revoked"
    )


class RowFault(Shape):
    line: int = Field(description="Of the file, from 1")
    detail: str


class Imported(Shape):
    added: int = Field(description="New entries")
    known: int = Field(description="Rows about what stood already, or stands in another row")
    refused: int = Field(description="Rows with a fault; the others were taken")
    faults: Sequence[RowFault] = Field(description="The first thousand of them")


_NEW = examples(
    person={"target": "ada@example.org", "note": "asked by telephone"},
    domain={"target": "*.example.org", "stream": "broadcast"},
)
_EXAMPLE = "address,reason\r\nada@example.org,complaint\r\nexample.net,\r\n"
_CSV_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            _CSV: {
                "schema": {"type": "string"},
                "examples": {
                    "two": {"value": "address,reason\r\nada@example.org,complaint\r\nexample.net,\r\n"}
                },
            }
        },
    },
    openapi.FAULTS: (Fault.REQUEST_TIMEOUT, Fault.UNKNOWN_STREAM),
}
_CSV_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {"description": "The list", "content": {_CSV: {"schema": {"type": "string"}}}}
}


def router(lists: Lists, authenticator: Authenticator) -> APIRouter:
    """Synchronous functions: FastAPI runs them in threads, where the database may be used."""
    routes = APIRouter(prefix="/v1", tags=["suppressions"], route_class=SmallBody)
    reader = Depends(Caller(authenticator, "read", once=once(SuppressionQuery)))
    manager = Depends(Caller(authenticator, asking.SCOPE, changes=True, once=once(RemoveQuery)))
    _add_files(routes, lists, reader, manager)
    _add_looking(routes, lists, reader)
    _add_changing(routes, lists, manager)
    return routes


def _add_looking(routes: APIRouter, lists: Lists, reader: Any) -> None:
    @routes.get(_PATH, response_model=SuppressionPage, summary="List suppressions")
    def list_suppressions(
        query: Annotated[SuppressionQuery, Query()], identity: Identity = reader
    ) -> Response:
        """Whom nothing is sent to: the tenant's own list, the newest entries first. Those that are over are
        left out."""
        question = query.question()
        after = position_of(query.cursor, question)
        page = lists.page(identity, query.wanted(), after=after, limit=query.limit)
        more = None if page.next_after is None else cursors.cursor(page.next_after, question)
        found = [_values(row) for row in page.entries]
        return as_json(SuppressionPage.model_validate({"suppressions": found, "next_cursor": more}))

    @routes.get(f"{_PATH}/{{suppression_id}}", response_model=Suppression, summary="Get a suppression")
    def get_suppression(suppression_id: IdText, identity: Identity = reader) -> Response:
        return as_json(Suppression.model_validate(_values(lists.one(identity, _number(suppression_id)))))


def _add_changing(routes: APIRouter, lists: Lists, manager: Any) -> None:
    @routes.post(
        _PATH, response_model=Suppression, status_code=201, summary="Add a suppression",
        openapi_extra={openapi.FAULTS: (Fault.UNKNOWN_STREAM,)},
    )  # fmt: skip
    def add_suppression(
        request: Annotated[SuppressionRequest, Body(openapi_examples=_NEW)], identity: Identity = manager
    ) -> Response:
        """Nothing is sent there from now on; what waits is stopped within a minute. What stands already is
        left as it is, and answered."""
        new = NewEntry(
            target=request.target, stream=request.stream, note=request.note, expires_at=request.expires_at
        )
        row, _made = lists.add(identity, new)
        return as_json(
            Suppression.model_validate(_values(row)), location=f"/v1{_PATH}/{ids.show(_KIND, row.id)}"
        )

    @routes.delete(f"{_PATH}/{{suppression_id}}", response_model=Removed, summary="Remove a suppression")
    def remove_suppression(
        suppression_id: IdText, query: Annotated[RemoveQuery, Query()], identity: Identity = manager
    ) -> Response:
        """Its recipients are sent to again. What it stopped stays as it ended, unless `send_again` accepts it
        anew, as new recipients of the same messages."""
        removed = lists.remove(identity, _number(suppression_id), send_again=query.send_again)
        return as_json(Removed(sent_again=removed.send_again))


def _add_files(routes: APIRouter, lists: Lists, reader: Any, manager: Any) -> None:
    @routes.get(
        f"{_PATH}/export", response_class=Response, responses=_CSV_ANSWER, summary="Export suppressions"
    )
    def export_suppressions(identity: Identity = reader) -> Response:
        """The whole list as CSV, the oldest entries first; those that were erased are left out."""
        lines: Iterator[str] = lists.export(identity)
        return StreamingResponse(lines, media_type=_CSV, headers={"Cache-Control": "no-store"})

    @routes.post(
        f"{_PATH}/import", response_model=Imported, summary="Import suppressions", openapi_extra=_CSV_BODY
    )
    async def import_suppressions(request: Request, identity: Identity = manager) -> Response:
        """A list as CSV whose first line names the columns: `address` (or `recipient`, or a name that ends in
        `mail`), and if wanted `stream`, `reason`, `note`, `created_at`, `expires_at`. Rows with a fault are
        named, all others taken. May be repeated: what stands already stays as it is."""
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _CSV:
            raise SubmissionError(Fault.UNSUPPORTED_MEDIA_TYPE, "a list is sent as text/csv")
        with TemporaryFile() as file:
            await _receive(request, file)
            outcome = await asyncio.to_thread(_import, lists, identity, file)
        return as_json(Imported.model_validate(outcome))


async def _receive(request: Request, file: IO[bytes]) -> None:
    """To the disk: a long list would take all memory set aside for messages."""
    size = 0
    pieces = request.stream()
    try:
        while True:
            async with asyncio.timeout(_SILENCE_SECONDS):
                piece = await anext(pieces, None)
            if piece is None:
                return
            size += len(piece)
            if size > _IMPORT_BYTES:
                raise SubmissionError(
                    Fault.REQUEST_TOO_LARGE, f"a list may have {_IMPORT_BYTES} octets at most"
                )
            await asyncio.to_thread(file.write, piece)
    except TimeoutError:
        raise SubmissionError(Fault.REQUEST_TIMEOUT, "the list did not arrive in time") from None
    except ClientDisconnect:
        raise ClientGone from None


def _import(lists: Lists, identity: Identity, file: IO[bytes]) -> Outcome:
    file.seek(0)
    try:
        return lists.importer(identity).run(line.decode() for line in file)
    except UnicodeDecodeError:
        raise SubmissionError(Fault.MALFORMED_REQUEST, "the list is not in UTF-8") from None
    except NoList as error:
        raise SubmissionError(Fault.MALFORMED_REQUEST, str(error)) from None


def _folded(search: str) -> str:
    return canonical(search) if "@" in search else search.casefold()


def _number(text: str) -> int:
    return number_of(_KIND, text, what="suppression")


def _values(row: Any) -> dict[str, Any]:
    return {
        "id": row.id, "target": written(row), "stream": row.stream, "reason": row.reason, "cause": row.cause,
        "recipient_id": row.recipient_id, "attempt_id": row.attempt_id, "report_id": row.report_id,
        "note": row.words, "added_by": row.added_by, "created_at": row.created_at,
        "expires_at": row.expires_at,
    }  # fmt: skip
