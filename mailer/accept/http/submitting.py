"""What the routes that take messages share: raw ASGI, no framework between the octets and the message."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
from starlette.types import Receive, Scope, Send

from mailer import ids
from mailer.accept import big
from mailer.accept.budget import ByteBudget, Hold
from mailer.accept.credentials import Authenticator, Identity
from mailer.accept.crowd import Doorway, Workshop
from mailer.accept.http import problems
from mailer.accept.http.body import Body, BodyLimits, read_body
from mailer.accept.http.visits import Visit, answer_whole, visit_of
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
from mailer.digest import sha256
from mailer.queue.enqueue import Earlier

SCOPE = "send"
JSON = b"application/json"
MESSAGES = "/v1/messages"
# A field value of one word; draft-ietf-httpapi-idempotency-key-header asks for quotes, vendors do not:
# with or without them, the octets are the key.
_IDEMPOTENCY_KEY = re.compile(IDEMPOTENCY_KEY_PATTERN.encode("ascii"))

LookUp = Callable[[int, Sequence[str]], Mapping[str, Earlier]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SendParts:
    """What these routes work with.

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


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What came, from whom.

    idempotency_key  of the header; None: not given
    sha256           what a repeat must match; b"" where nobody will ask
    """

    raw: Body
    scope: Scope
    identity: Identity
    idempotency_key: str | None
    sha256: bytes


class SubmittingRoute:
    """An ASGI application; a repeat of a request without Idempotency-Key sends a second message.

    path         of the route, for the log and the metrics
    media_types  that its body may have
    """

    path: str
    media_types: frozenset[bytes]

    def __init__(self, parts: SendParts) -> None:
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            receipt = await self.accept(scope, receive)
        except SubmissionError as error:
            await problems.refusal(scope, error)(scope, receive, send)
        else:
            await _answer(visit_of(scope), receipt, send)

    async def accept(self, scope: Scope, receive: Receive) -> Receipt:
        """Raises SubmissionError."""
        parts, visit = self._parts, visit_of(scope)
        visit.route = self.path
        headers = dict(scope["headers"])
        identity = await parts.authenticator.identify(authorization_of(headers))
        visit.tenant_id = identity.tenant_id
        # The octets count as held until the message is on disk: its copies live about as long.
        with parts.budget.hold() as hold:
            try:
                understood = await self._understood(identity, scope, receive, hold)
            except SubmissionError as error:
                if error.fault not in PASSING:
                    parts.intake.refuse(identity.tenant_id, error)
                raise
            if isinstance(understood, Receipt):
                return understood
            taking = parts.intake.take(understood)
            del understood  # what was large in it may go once it is composed
            try:
                return await taking
            except SubmissionError as error:
                if error.fault not in PASSING | NOTED_BY_INTAKE:
                    parts.intake.refuse(identity.tenant_id, error)
                raise

    async def _understood(
        self, identity: Identity, scope: Scope, receive: Receive, hold: Hold
    ) -> Submission | Receipt:
        """Cheap refusals first: nothing is read of a body that will not be taken.

        A receipt: this very request was accepted before, and would not be now.
        """
        check_sender(identity)
        headers = dict(scope["headers"])
        check_format(headers, self.media_types)
        key = idempotency_key_of(headers.get(b"idempotency-key"))
        raw = await read_body(headers, receive, hold, self._parts.limits, visit_of(scope).body_at_hand())
        is_big = len(raw) >= big.FROM_BYTES
        sha256 = await big.in_thread(self.digest, raw, scope, key) if is_big else self.digest(raw, scope, key)
        request = Request(raw=raw, scope=scope, identity=identity, idempotency_key=key, sha256=sha256)
        del raw
        try:
            if is_big:
                return await big.in_thread(self.understand, request)
            return await self.understand_small(request)
        except SubmissionError:
            # Its template may be gone by now, or its time over: whoever repeats it must not hear that
            # nothing was accepted.
            earlier = await self._earlier(request)
            if earlier is None:
                raise
            return earlier

    async def _earlier(self, request: Request) -> Receipt | None:
        key = request.idempotency_key
        if key is None:
            return None
        found = await asyncio.to_thread(self._parts.look_up, request.identity.tenant_id, [key])
        earlier = found.get(key)
        if earlier is None or earlier.body_sha256 != request.sha256:
            return None
        return Receipt(earlier.message_id, earlier.response, replayed=True)

    def digest(self, raw: Body, scope: Scope, idempotency_key: str | None) -> bytes:
        """What a repeat must match."""
        return sha256(raw) if idempotency_key is not None else b""

    async def understand_small(self, request: Request) -> Submission:
        """What a body says that is read faster than a thread is asked. Raises SubmissionError."""
        return self.understand(request)

    def understand(self, request: Request) -> Submission:
        """What the body says. Raises SubmissionError."""
        raise NotImplementedError


def check_sender(identity: Identity) -> None:
    """Raises SubmissionError: the key may not send, or its tenant not now."""
    identity.require(SCOPE)
    if identity.is_suspended:
        raise SubmissionError(Fault.TENANT_SUSPENDED, "this tenant is suspended and may not send")


def media_type_of(headers: Mapping[bytes, bytes]) -> bytes:
    """Without parameters, in lower case."""
    return headers.get(b"content-type", b"").partition(b";")[0].strip().lower()


def check_format(headers: Mapping[bytes, bytes], media_types: Collection[bytes] = (JSON,)) -> None:
    """Raises SubmissionError unless the body is of one of these, in no content coding."""
    if media_type_of(headers) not in media_types:
        taken = " or ".join(sorted(media_type.decode("ascii") for media_type in media_types))
        raise SubmissionError(Fault.UNSUPPORTED_MEDIA_TYPE, f"the body must be {taken}")
    if headers.get(b"content-encoding", b"identity").strip().lower() != b"identity":
        raise SubmissionError(Fault.UNSUPPORTED_MEDIA_TYPE, "no content coding of the body is supported")


def authorization_of(headers: Mapping[bytes, bytes]) -> str | None:
    value = headers.get(b"authorization")
    return None if value is None else value.decode("latin-1")


def idempotency_key_of(value: bytes | None) -> str | None:
    if value is None:
        return None
    if _IDEMPOTENCY_KEY.fullmatch(value) is None:
        raise SubmissionError(
            Fault.MALFORMED_REQUEST, "an Idempotency-Key is made of 1 to 255 visible ASCII characters"
        )
    return value.decode("ascii")


async def _answer(visit: Visit, receipt: Receipt, send: Send) -> None:
    headers = [
        (b"content-type", JSON),
        (b"content-length", str(len(receipt.body)).encode("ascii")),
        (b"location", f"{MESSAGES}/{ids.show('msg', receipt.message_id)}".encode("ascii")),
        (b"cache-control", b"no-store"),
    ]
    if receipt.replayed:
        headers.append((b"idempotent-replayed", b"true"))
    await answer_whole(visit, send, 202, headers, receipt.body)
