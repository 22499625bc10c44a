"""POST /v1/messages, the hot route: a message in JSON."""

from __future__ import annotations

import asyncio

from mailer.accept.http import draft, filling, submitting, wire
from mailer.accept.http.submitting import Request, SubmittingRoute
from mailer.accept.http.wire import SendRequest
from mailer.accept.submission import Submission

PATH = submitting.MESSAGES
SCOPE = submitting.SCOPE


class SendRoute(SubmittingRoute):
    """The route of one message."""

    path = PATH
    media_types = frozenset({submitting.JSON})

    async def understand_small(self, request: Request) -> Submission:
        decoded = wire.decode(request.raw)
        if filling.is_wanted(decoded):  # which reads the database, and takes its time
            threads = self._parts.workshop.threads
            return await asyncio.get_running_loop().run_in_executor(
                threads, self._submission_of, decoded, request
            )
        return self._submission_of(decoded, request)

    def understand(self, request: Request) -> Submission:
        return self._submission_of(wire.decode(request.raw), request)

    def _submission_of(self, decoded: SendRequest, request: Request) -> Submission:
        return draft.submission_of(
            filling.fill(decoded, self._parts.stationery, request.identity.tenant_id),
            request.identity,
            most_recipients=self._parts.most_recipients,
            idempotency_key=request.idempotency_key,
            body_sha256=request.sha256,
            now=self._parts.now(),
        )
