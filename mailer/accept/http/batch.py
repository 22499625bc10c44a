"""The JSON of a batch: what its items are, each understood by itself and only when its turn comes.

Two forms: messages that differ in everything, and one message with the data of each recipient. What the
items share is read and compiled at once, and a fault in it refuses the batch; a fault in an item refuses
that item. Pointers lead into the whole body (RFC 6901).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct, field

from mailer.accept.credentials import Identity
from mailer.accept.crowd import Item
from mailer.accept.http import draft, filling, wire
from mailer.accept.http.body import Body
from mailer.accept.http.wire import AnyAddress, SendRequest
from mailer.accept.stationery import Stationery
from mailer.accept.submission import Fault, Submission, SubmissionError
from mailer.compose import control
from mailer.compose.wording import Form

MOST_ITEMS = 1000
_RECIPIENT = "/recipient"  # what a copy calls its own part of the body, where no message has a field


class BatchRecipient(Struct, frozen=True, forbid_unknown_fields=True):
    """One recipient of a message that many get, each a copy of their own."""

    to: Annotated[AnyAddress, Meta(description="The recipient, alone in To")]
    data: Annotated[dict[str, Any], Meta(description="What fills the templates for this one")] = field(
        default_factory=dict
    )
    metadata: Annotated[wire.Metadata, Meta(description="Beside the message's; wins over it")] = None
    tags: (
        Annotated[list[wire.Tag], Meta(max_length=control.TAGS, description="Beside the message's")] | None
    ) = None


class _Outline(Struct, frozen=True, forbid_unknown_fields=True):
    messages: list[Raw] | None = None
    message: Raw = Raw()
    recipients: list[Raw] | None = None


_outline = msgspec.json.Decoder(_Outline)
_recipient = msgspec.json.Decoder(BatchRecipient)


@dataclass(frozen=True, slots=True)
class Reader:
    """Who sent the batch, when, and what its items may be.

    idempotency_key  of the whole batch; None: not given
    """

    identity: Identity
    stationery: Stationery
    most_recipients: int
    idempotency_key: str | None
    now: datetime

    def items(self, raw: Body, sha256: bytes) -> list[Item]:
        """Not for an event loop. Raises SubmissionError, where the batch as a whole is refused.

        sha256  of the whole body, what its items are remembered by
        """
        outline = wire.decode_by(_outline, raw)
        if outline.messages is not None:
            if bytes(outline.message) or outline.recipients is not None:
                raise _invalid("a batch has either messages, or a message and recipients", "/messages")
            _check_number(outline.messages, "/messages")
            return [_Message(self, sha256, i, one) for i, one in enumerate(outline.messages)]
        if not bytes(outline.message) or outline.recipients is None:
            raise _invalid("a batch has messages, or a message and recipients", "")
        _check_number(outline.recipients, "/recipients")
        shared = self._shared(outline.message)
        return [_Copy(self, sha256, i, one, shared) for i, one in enumerate(outline.recipients)]

    def key(self, index: int) -> str | None:
        """Idempotency key of an item: no client's own, since it holds spaces."""
        if self.idempotency_key is None:
            return None
        return f"batch {hashlib.sha256(self.idempotency_key.encode()).hexdigest()} {index}"

    def submission(self, request: SendRequest, sha256: bytes, index: int) -> Submission:
        return draft.submission_of(
            request,
            self.identity,
            most_recipients=self.most_recipients,
            idempotency_key=self.key(index),
            body_sha256=sha256,
            now=self.now,
        )

    def _shared(self, raw: Raw) -> _Shared:
        try:
            request = wire.decode(raw)
            for kind in ("to", "cc", "bcc"):
                if getattr(request, kind) is not None:
                    raise _invalid("the recipients of a batch stand in recipients", f"/{kind}")
            return _Shared(request, filling.form_of(request, self.stationery, self.identity.tenant_id))
        except SubmissionError as error:
            raise error.moved(lambda pointer: f"/message{pointer}") from error


@dataclass(frozen=True, slots=True)
class _Shared:
    """The message that all recipients of a batch get, and its words as a form."""

    request: SendRequest
    form: Form


@dataclass(frozen=True, slots=True)
class _Message:
    """An item that is a send request of its own."""

    reader: Reader
    sha256: bytes
    index: int
    raw: Raw

    def submission(self) -> Submission:
        request = wire.decode(self.raw)
        filled = filling.fill(request, self.reader.stationery, self.reader.identity.tenant_id)
        return self.reader.submission(filled, self.sha256, self.index)

    def place(self, pointer: str) -> str:
        return f"/messages/{self.index}{pointer}"


@dataclass(frozen=True, slots=True)
class _Copy:
    """An item that is one recipient's copy of the shared message."""

    reader: Reader
    sha256: bytes
    index: int
    raw: Raw
    shared: _Shared

    def submission(self) -> Submission:
        try:
            one = wire.decode_by(_recipient, self.raw)
        except SubmissionError as error:
            raise error.moved(lambda pointer: f"{_RECIPIENT}{pointer}") from error
        request = self.shared.request
        data = one.data if request.template is None else {**request.template.data, **one.data}
        filled = filling.filled_with(self.shared.form, data, filling.finish_of(request, is_template=True))
        tags = [*(request.tags or ()), *(one.tags or ())]
        metadata = {**(request.metadata or {}), **(one.metadata or {})}
        if len(tags) > control.TAGS or len(metadata) > control.METADATA_PAIRS:
            raise _invalid("together with the message's these are too many tags or metadata", "/tags")
        return self.reader.submission(
            filling.with_words(request, filled, to=one.to, tags=tags, metadata=metadata),
            self.sha256,
            self.index,
        )

    def place(self, pointer: str) -> str:
        """Data and what else a recipient brings lies with the recipient, the rest with the message."""
        where = f"/recipients/{self.index}"
        if pointer.startswith(_RECIPIENT):
            return where + pointer.removeprefix(_RECIPIENT)
        if pointer.startswith("/template/data"):
            return where + pointer.removeprefix("/template")
        if pointer.startswith(("/to", "/tags", "/metadata")):
            return where + pointer
        return f"/message{pointer}"


def _check_number(items: Sequence[Raw], pointer: str) -> None:
    if not 1 <= len(items) <= MOST_ITEMS:
        raise _invalid(f"a batch has 1 to {MOST_ITEMS} messages, this one has {len(items)}", pointer)


def _invalid(detail: str, pointer: str) -> SubmissionError:
    return SubmissionError(Fault.INVALID_FIELD, detail, pointer=pointer)
