"""/v1/inbox: what end-to-end tests of applications ask of the sandbox inbox, each tenant for its own mail."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass
from typing import Annotated, Any, NoReturn

from fastapi import APIRouter, Depends, Query, Request, Response

from mailer.accept.credentials import Authenticator, Identity
from mailer.accept.http.asked import once
from mailer.accept.http.callers import Caller, as_json
from mailer.accept.http.openapi import FAULTS
from mailer.accept.submission import Fault, SubmissionError
from mailer.web.hostile import DOWNLOAD_POLICY
from mailer.web.inbox_shapes import (
    Deleted,
    InboxAttachment,
    InboxField,
    InboxLink,
    InboxMessage,
    InboxPage,
    InboxQuery,
    InboxSummary,
    InboxVerdict,
    KeyText,
    Matcher,
    WaitQuery,
)
from mailer.web.links import links_of
from mailer.web.owned import Kept, OwnMail
from mailer.web.reading import Part, read
from mailer.web.verdict import Lookup, verdicts
from mailer.web.waiting import WaitingRoom

_TAGS = ["inbox"]
_RAW: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The whole file",
        "content": {"message/rfc822": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@dataclass(frozen=True, slots=True)
class InboxApi:
    """The routes; call it with the application's authenticator.

    dkim_lookup  the TXT record that a name should have by our own books; called in a worker thread
    """

    mail: OwnMail
    waiting: WaitingRoom
    dkim_lookup: Lookup

    def __call__(self, authenticator: Authenticator) -> APIRouter:
        routes = APIRouter(prefix="/v1/inbox", tags=list(_TAGS))
        reader = Depends(Caller(authenticator, "read", once=once(InboxQuery, WaitQuery)))
        self._add_reading(routes, reader)
        self._add_one(routes, reader)
        self._add_deleting(routes, Depends(Caller(authenticator, "send", changes=True, once=once(Matcher))))
        return routes

    def _add_reading(self, routes: APIRouter, reader: Any) -> None:
        @routes.get("", response_model=InboxPage, summary="List the messages in the sandbox inbox")
        def list_inbox(query: Annotated[InboxQuery, Query()], identity: Identity = reader) -> Response:
            """Copies of your own messages, newest first. Sandbox mode only."""
            found = list(self.mail.matching(identity.tenant_id, query.wanted()))
            page = [InboxSummary(**_facts(kept)) for kept in found[: query.limit]]
            return as_json(InboxPage(messages=page, total=len(found)))

        @routes.get(
            "/wait", response_model=InboxMessage, summary="Wait for a message in the sandbox inbox",
            openapi_extra={FAULTS: [Fault.NOTHING_CAME, Fault.BUSY]},
        )  # fmt: skip
        async def wait_for_message(
            request: Request, query: Annotated[WaitQuery, Query()], identity: Identity = reader
        ) -> Response:
            """Answers with the newest message that meets the conditions, as soon as there is one; it may be
            there already. Without one after `timeout` seconds: 404, problem `nothing-came`."""
            kept = await self.waiting.first(
                identity.tenant_id, query.wanted(), query.timeout, request.is_disconnected
            )
            message = None if kept is None else await asyncio.to_thread(self._opened, kept)
            if message is None:
                raise SubmissionError(
                    Fault.NOTHING_CAME, f"no message met all conditions within {query.timeout} seconds"
                )
            return as_json(message)

    def _add_one(self, routes: APIRouter, reader: Any) -> None:
        @routes.get("/{key}", response_model=InboxMessage, summary="Get a message of the sandbox inbox")
        def get_inbox_message(key: KeyText, identity: Identity = reader) -> Response:
            """Taken apart: header, text, HTML, links, attachments, and a verdict on each DKIM signature."""
            message = self._opened(self._own(identity, key))
            return as_json(message) if message is not None else _gone()

        @routes.get(
            "/{key}/raw", response_class=Response, responses=_RAW,
            summary="Get a message of the sandbox inbox as it came",
        )  # fmt: skip
        def get_raw_inbox_message(key: KeyText, identity: Identity = reader) -> Response:
            """Octet for octet, under the trace fields of the delivery (RFC 5321 §4.4)."""
            content = self.mail.content(self._own(identity, key))
            if content is None:
                _gone()
            headers = {"Cache-Control": "no-store", "Content-Security-Policy": DOWNLOAD_POLICY}
            return Response(content, media_type="message/rfc822", headers=headers)

    def _add_deleting(self, routes: APIRouter, sender: Any) -> None:
        @routes.delete("", response_model=Deleted, summary="Empty the sandbox inbox")
        def delete_inbox(query: Annotated[Matcher, Query()], identity: Identity = sender) -> Response:
            """Removes the copies of your own messages, all, or those that meet the conditions."""
            found = list(self.mail.matching(identity.tenant_id, query.wanted()))
            return as_json(Deleted(deleted=self.mail.discard(found)))

        @routes.delete("/{key}", response_model=Deleted, summary="Delete a message of the sandbox inbox")
        def delete_inbox_message(key: KeyText, identity: Identity = sender) -> Response:
            return as_json(Deleted(deleted=self.mail.discard([self._own(identity, key)])))

    def _own(self, identity: Identity, key: str) -> Kept:
        kept = self.mail.find(identity.tenant_id, key)
        return kept if kept is not None else _gone()

    def _opened(self, kept: Kept) -> InboxMessage | None:
        """None if it is not kept any more."""
        content = self.mail.content(kept)
        if content is None:
            return None
        reading = read(content)
        return InboxMessage(
            **_facts(kept),
            headers=[InboxField(name=name, value=value) for name, value in reading.fields],
            text=reading.text.text if reading.text else None,
            html=reading.html.text if reading.html else None,
            links=[InboxLink.model_validate(link) for link in links_of(reading)],
            attachments=[_attachment(part) for part in reading.attachments],
            dkim=[InboxVerdict(**asdict(verdict)) for verdict in verdicts(content, self.dkim_lookup)],
            fault=reading.fault,
        )


def _facts(kept: Kept) -> dict[str, Any]:
    """The fields of an InboxSummary."""
    summary = kept.summary
    return {
        "key": summary.key,
        "received_at": summary.received_at,
        "message_id": kept.message_id,
        "recipient_id": kept.recipient_id,
        "recipient": summary.delivered_to,
        "return_path": summary.return_path.strip("<>"),
        "sender": summary.header_from,
        "to": summary.header_to,
        "subject": summary.subject,
        "size_bytes": summary.size_bytes,
    }


def _attachment(part: Part) -> InboxAttachment:
    return InboxAttachment(
        number=part.number,
        filename=part.filename,
        content_type=part.content_type,
        content_id=part.content_id,
        size_bytes=len(part.content),
    )


def _gone() -> NoReturn:
    raise SubmissionError(Fault.NOT_FOUND, "the inbox keeps no such message of this tenant, or not any more")
