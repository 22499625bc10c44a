"""POST /v1/messages/batch: up to 1,000 messages in one request, each answered for itself."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

from mailer.accept import crowd
from mailer.accept.crowd import Answer, Item
from mailer.accept.http import problems
from mailer.accept.http.batch import Reader
from mailer.accept.http.body import Body, read_body
from mailer.accept.http.submitting import (
    JSON,
    SendParts,
    authorization_of,
    check_format,
    check_sender,
    idempotency_key_of,
)
from mailer.accept.http.visits import Visit, answer_whole, visit_of
from mailer.accept.submission import (
    NOTED_BY_INTAKE,
    PASSING,
    Fault,
    Receipt,
    SubmissionError,
)
from mailer.queue.enqueue import Earlier

PATH = "/v1/messages/batch"


class BatchRoute:
    """An ASGI application.

    With an Idempotency-Key a repeat gives the answers of what was accepted before, by whatever part of the
    batch came through, and tries the rest again: a batch that a crash cut short is completed by it. Without
    one a repeat sends everything twice.
    """

    def __init__(self, parts: SendParts) -> None:
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await self._accept(scope, receive)
        except SubmissionError as error:
            await problems.refusal(scope, error)(scope, receive, send)
        else:
            await _answer(visit_of(scope), body, send)

    async def _accept(self, scope: Scope, receive: Receive) -> bytes:
        parts = self._parts
        visit = visit_of(scope)
        visit.route = PATH
        headers = dict(scope["headers"])
        identity = await parts.authenticator.identify(authorization_of(headers))
        visit.tenant_id = identity.tenant_id
        with parts.budget.hold() as hold:
            try:
                check_sender(identity)
                check_format(headers)
                key = idempotency_key_of(headers.get(b"idempotency-key"))
                raw = await read_body(headers, receive, hold, parts.limits, visit.body_at_hand())
                reader = Reader(identity, parts.stationery, parts.most_recipients, key, parts.now())
                items, earlier = await asyncio.get_running_loop().run_in_executor(
                    parts.workshop.threads, self._read, reader, raw
                )
            except SubmissionError as error:
                if error.fault not in PASSING:
                    parts.intake.refuse(identity.tenant_id, error)
                raise
            rest = [item for index, item in enumerate(items) if index not in earlier]
            answers = await crowd.take_all(parts.intake, rest, parts.workshop)
        for answer in answers:
            if isinstance(answer, SubmissionError) and answer.fault not in PASSING | NOTED_BY_INTAKE:
                parts.intake.refuse(identity.tenant_id, answer)
        if not earlier:
            _refuse_if_all_may_pass(answers)
        return _results(_merged(len(items), earlier, answers))

    def _read(self, reader: Reader, raw: Body) -> tuple[list[Item], dict[int, Receipt]]:
        """The items, and the receipts of those that were accepted before. Raises SubmissionError."""
        sha256 = hashlib.sha256(raw).digest() if reader.idempotency_key is not None else b""
        items = reader.items(raw, sha256)
        keys = {key: index for index in range(len(items)) if (key := reader.key(index)) is not None}
        if not keys:
            return items, {}
        found = self._parts.look_up(reader.identity.tenant_id, list(keys))
        if any(one.body_sha256 != sha256 for one in found.values()):
            raise SubmissionError(
                Fault.IDEMPOTENCY_KEY_REUSED, "this idempotency key was used before with another request body"
            )
        return items, {keys[key]: _receipt(one) for key, one in found.items()}


def _receipt(earlier: Earlier) -> Receipt:
    return Receipt(earlier.message_id, earlier.response, replayed=True)


def _refuse_if_all_may_pass(answers: Sequence[Answer]) -> None:
    """A batch of which nothing came through for a passing reason is put off as a whole, so that a client
    that knows nothing of batches tries again. Raises SubmissionError."""
    reasons = [a for a in answers if isinstance(a, SubmissionError) and a.fault in PASSING]
    if answers and len(reasons) == len(answers):
        first = reasons[0]
        raise SubmissionError(first.fault, first.detail, retry_after_seconds=first.retry_after_seconds)


def _merged(number: int, earlier: Mapping[int, Receipt], answers: Sequence[Answer]) -> list[Answer]:
    rest = iter(answers)
    return [earlier[index] if index in earlier else next(rest) for index in range(number)]


def _results(answers: Sequence[Answer]) -> bytes:
    accepted = sum(isinstance(answer, Receipt) for answer in answers)
    return msgspec.json.encode(
        {
            "accepted": accepted,
            "refused": len(answers) - accepted,
            "results": [_result(answer) for answer in answers],
        }
    )


def _result(answer: Answer) -> Any:
    if isinstance(answer, Receipt):
        if not answer.replayed:
            return msgspec.Raw(answer.body)
        return {**msgspec.json.decode(answer.body), "replayed": True}
    return {"status": "refused", "problem": problems.within(answer)}


async def _answer(visit: Visit, body: bytes, send: Send) -> None:
    headers = [
        (b"content-type", JSON),
        (b"content-length", str(len(body)).encode("ascii")),
        (b"cache-control", b"no-store"),
    ]
    await answer_whole(visit, send, 200, headers, body)
