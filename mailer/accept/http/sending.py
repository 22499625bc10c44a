"""POST /v1/messages, the hot route: raw ASGI, no framework between the octets and the message."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from starlette.types import Receive, Scope, Send

from mailer import ids
from mailer.accept.budget import ByteBudget, Hold
from mailer.accept.credentials import Authenticator, Identity
from mailer.accept.crowd import Doorway, Workshop
from mailer.accept.http import draft, filling, problems, wire
from mailer.accept.http.body import BodyLimits, read_body
from mailer.accept.http.visits import visit_of
from mailer.accept.http.wire import SendRequest
from mailer.accept.stationery import Stationery
from mailer.accept.submission import (
    NOTED_BY_INTAKE,
    PASSING,
    Fault,
    Receipt,
    Submission,
    SubmissionError,
)
from mailer.compose.control import IDEMPOTENCY_KEY_PATTERN
from mailer.queue.enqueue import Earlier

PATH = "/v1/messages"
SCOPE = "send"
# A field value of one word; draft-ietf-httpapi-idempotency-key-header asks for quotes, vendors do not:
# with or without them, the octets are the key.
_IDEMPOTENCY_KEY = re.compile(IDEMPOTENCY_KEY_PATTERN.encode("ascii"))
_IN_THREAD_FROM_BYTES = 256 * 1024  # decoding more than this would hold up the other requests


LookUp = Callable[[int, Sequence[str]], Mapping[str, Earlier]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SendParts:
    """What the sending routes work with.

    limits   of one request
    budget   of all messages that are being received, by whatever door
    look_up  what idempotency keys of a tenant stand for; called in threads
    """

    intake: Doorway
    authenticator: Authenticator
    budget: ByteBudget
    limits: BodyLimits
    stationery: Stationery
    look_up: LookUp
    workshop: Workshop
    most_recipients: int
    now: Callable[[], datetime]


class SendRoute:
    """An ASGI application; a repeat of a request without Idempotency-Key sends a second message."""

    def __init__(self, parts: SendParts) -> None:
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            receipt = await self._accept(scope, receive)
        except SubmissionError as error:
            await problems.refusal(scope, error)(scope, receive, send)
        else:
            await _answer(receipt, send)

    async def _accept(self, scope: Scope, receive: Receive) -> Receipt:
        visit = visit_of(scope)
        visit.route = PATH
        headers = dict(scope["headers"])
        identity = await self._parts.authenticator.identify(text_of(headers.get(b"authorization")))
        visit.tenant_id = identity.tenant_id
        # The octets count as held until the message is on disk: its copies live about as long.
        with self._parts.budget.hold() as hold:
            try:
                submission = await self._submission(identity, headers, receive, hold)
                if isinstance(submission, Receipt):
                    return submission
            except SubmissionError as error:
                if error.fault not in PASSING:
                    self._parts.intake.refuse(identity.tenant_id, error)
                raise
            try:
                return await self._parts.intake.take(submission)
            except SubmissionError as error:
                if error.fault not in PASSING | NOTED_BY_INTAKE:
                    self._parts.intake.refuse(identity.tenant_id, error)
                raise

    async def _submission(
        self, identity: Identity, headers: Mapping[bytes, bytes], receive: Receive, hold: Hold
    ) -> Submission | Receipt:
        """Cheap refusals first: nothing is read of a body that will not be taken.

        A receipt: this very request was accepted before, and would not be now.
        """
        identity.require(SCOPE)
        if identity.is_suspended:
            raise SubmissionError(Fault.TENANT_SUSPENDED, "this tenant is suspended and may not send")
        check_format(headers)
        idempotency_key = idempotency_key_of(headers.get(b"idempotency-key"))
        raw = await read_body(headers, receive, hold, self._parts.limits)
        try:
            if len(raw) >= _IN_THREAD_FROM_BYTES:
                return await asyncio.to_thread(self._decode, raw, identity, idempotency_key)
            request = wire.decode(raw)
            if filling.is_wanted(request):  # which reads the database, and takes its time
                return await asyncio.get_running_loop().run_in_executor(
                    self._parts.workshop.threads, self._understand, request, raw, identity, idempotency_key
                )
            return self._understand(request, raw, identity, idempotency_key)
        except SubmissionError:
            # Its template may be gone by now, or its time over: whoever repeats it must not hear that
            # nothing was accepted.
            earlier = await self._earlier(raw, identity, idempotency_key)
            if earlier is None:
                raise
            return earlier

    async def _earlier(self, raw: bytes, identity: Identity, idempotency_key: str | None) -> Receipt | None:
        if idempotency_key is None:
            return None
        sha256 = hashlib.sha256(raw).digest()
        found = await asyncio.to_thread(self._parts.look_up, identity.tenant_id, [idempotency_key])
        earlier = found.get(idempotency_key)
        if earlier is None or earlier.body_sha256 != sha256:
            return None
        return Receipt(earlier.message_id, earlier.response, replayed=True)

    def _decode(self, raw: bytes, identity: Identity, idempotency_key: str | None) -> Submission:
        return self._understand(wire.decode(raw), raw, identity, idempotency_key)

    def _understand(
        self, request: SendRequest, raw: bytes, identity: Identity, idempotency_key: str | None
    ) -> Submission:
        return draft.submission_of(
            filling.fill(request, self._parts.stationery, identity.tenant_id),
            identity,
            most_recipients=self._parts.most_recipients,
            idempotency_key=idempotency_key,
            body_sha256=hashlib.sha256(raw).digest() if idempotency_key is not None else b"",
            now=self._parts.now(),
        )


def text_of(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


def check_format(headers: Mapping[bytes, bytes]) -> None:
    media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if media_type != b"application/json":
        raise SubmissionError(Fault.UNSUPPORTED_MEDIA_TYPE, "the body must be application/json")
    if headers.get(b"content-encoding", b"identity").strip().lower() != b"identity":
        raise SubmissionError(Fault.UNSUPPORTED_MEDIA_TYPE, "no content coding of the body is supported")


def idempotency_key_of(value: bytes | None) -> str | None:
    if value is None:
        return None
    if _IDEMPOTENCY_KEY.fullmatch(value) is None:
        raise SubmissionError(
            Fault.MALFORMED_REQUEST, "an Idempotency-Key is made of 1 to 255 visible ASCII characters"
        )
    return value.decode("ascii")


async def _answer(receipt: Receipt, send: Send) -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(receipt.body)).encode("ascii")),
        (b"location", f"{PATH}/{ids.show('msg', receipt.message_id)}".encode("ascii")),
        (b"cache-control", b"no-store"),
    ]
    if receipt.replayed:
        headers.append((b"idempotent-replayed", b"true"))
    await send({"type": "http.response.start", "status": 202, "headers": headers})
    await send({"type": "http.response.body", "body": receipt.body})
