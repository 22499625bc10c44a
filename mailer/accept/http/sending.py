"""POST /v1/messages, the hot route: raw ASGI, no framework between the octets and the message."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Collection, Mapping
from datetime import datetime

from starlette.types import Receive, Scope, Send

from mailer import ids
from mailer.accept import big
from mailer.accept.budget import ByteBudget, Hold
from mailer.accept.credentials import Authenticator, Identity
from mailer.accept.http import draft, filling, problems, wire
from mailer.accept.http.body import Body, BodyLimits, read_body
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
    Taker,
)
from mailer.compose.control import IDEMPOTENCY_KEY_PATTERN

PATH = "/v1/messages"
SCOPE = "send"
# A field value of one word; draft-ietf-httpapi-idempotency-key-header asks for quotes, vendors do not:
# with or without them, the octets are the key.
_IDEMPOTENCY_KEY = re.compile(IDEMPOTENCY_KEY_PATTERN.encode("ascii"))


class SubmittingRoute:
    """An ASGI application; a repeat of a request without Idempotency-Key sends a second message.

    path         of the route, for the log and the metrics
    media_types  that its body may have
    """

    path: str
    media_types: frozenset[bytes]

    def __init__(
        self, intake: Taker, authenticator: Authenticator, budget: ByteBudget, limits: BodyLimits
    ) -> None:
        self._intake = intake
        self._authenticator = authenticator
        self._budget = budget
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            receipt = await self._accept(scope, receive)
        except SubmissionError as error:
            await problems.refusal(scope, error)(scope, receive, send)
        else:
            await _answer(receipt, send)

    async def _accept(self, scope: Scope, receive: Receive) -> Receipt:
        visit = visit_of(scope)
        visit.route = self.path
        headers = dict(scope["headers"])
        identity = await self._authenticator.identify(authorization_of(headers))
        visit.tenant_id = identity.tenant_id
        # The octets count as held until the message is on disk: its copies live about as long.
        with self._budget.hold() as hold:
            try:
                # Not kept in a name here: what was large in it may go once it is composed.
                taking = self._intake.take(await self._submission(identity, headers, scope, receive, hold))
            except SubmissionError as error:
                if error.fault not in PASSING:
                    self._intake.refuse(identity.tenant_id, error)
                raise
            try:
                return await taking
            except SubmissionError as error:
                if error.fault not in PASSING | NOTED_BY_INTAKE:
                    self._intake.refuse(identity.tenant_id, error)
                raise

    async def _submission(
        self,
        identity: Identity,
        headers: Mapping[bytes, bytes],
        scope: Scope,
        receive: Receive,
        hold: Hold,
    ) -> Submission:
        """Cheap refusals first: nothing is read of a body that will not be taken."""
        check_sender(identity)
        check_format(headers, self.media_types)
        idempotency_key = idempotency_key_of(headers.get(b"idempotency-key"))
        raw = await read_body(headers, receive, hold, self._limits)
        if len(raw) < big.FROM_BYTES:
            return await self.understand_small(raw, scope, identity, idempotency_key)
        return await big.in_thread(self.understand, raw, scope, identity, idempotency_key)

    async def understand_small(
        self, raw: Body, scope: Scope, identity: Identity, idempotency_key: str | None
    ) -> Submission:
        """What a body says that is read faster than a thread is asked. Raises SubmissionError."""
        return self.understand(raw, scope, identity, idempotency_key)

    def understand(
        self, raw: Body, scope: Scope, identity: Identity, idempotency_key: str | None
    ) -> Submission:
        """What the body says. Not for an event loop. Raises SubmissionError."""
        raise NotImplementedError


class SendRoute(SubmittingRoute):
    """The route of a message in JSON."""

    path = PATH
    media_types = frozenset({b"application/json"})

    def __init__(
        self,
        intake: Taker,
        authenticator: Authenticator,
        budget: ByteBudget,
        limits: BodyLimits,
        *,
        stationery: Stationery,
        most_recipients: int,
        now: Callable[[], datetime],
    ) -> None:
        super().__init__(intake, authenticator, budget, limits)
        self._stationery = stationery
        self._most_recipients = most_recipients
        self._now = now

    async def understand_small(
        self, raw: Body, scope: Scope, identity: Identity, idempotency_key: str | None
    ) -> Submission:
        request = wire.decode(raw)
        if filling.is_wanted(request):  # which reads the database, and takes its time
            return await asyncio.to_thread(self._submission_of, request, raw, identity, idempotency_key)
        return self._submission_of(request, raw, identity, idempotency_key)

    def understand(
        self, raw: Body, scope: Scope, identity: Identity, idempotency_key: str | None
    ) -> Submission:
        return self._submission_of(wire.decode(raw), raw, identity, idempotency_key)

    def _submission_of(
        self, request: SendRequest, raw: Body, identity: Identity, idempotency_key: str | None
    ) -> Submission:
        return draft.submission_of(
            filling.fill(request, self._stationery, identity.tenant_id),
            identity,
            most_recipients=self._most_recipients,
            idempotency_key=idempotency_key,
            body_sha256=hashlib.sha256(raw).digest() if idempotency_key is not None else b"",
            now=self._now(),
        )


def check_sender(identity: Identity) -> None:
    """Raises SubmissionError: the key may not send, or its tenant not now."""
    identity.require(SCOPE)
    if identity.is_suspended:
        raise SubmissionError(Fault.TENANT_SUSPENDED, "this tenant is suspended and may not send")


def media_type_of(headers: Mapping[bytes, bytes]) -> bytes:
    """Without parameters, in lower case."""
    return headers.get(b"content-type", b"").partition(b";")[0].strip().lower()


def check_format(headers: Mapping[bytes, bytes], media_types: Collection[bytes]) -> None:
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
