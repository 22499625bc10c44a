"""POST /v1/messages/validate: what would be sent, what is wrong, and what had better be otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from mailer import shown
from mailer.accept.budget import ByteBudget
from mailer.accept.credentials import Authenticator
from mailer.accept.http import problems, wire
from mailer.accept.http.body import BodyLimits, read_body
from mailer.accept.http.examining import Examiner, Finding, Foreseen
from mailer.accept.http.submitting import authorization_of, check_format, check_sender
from mailer.accept.http.visits import visit_of
from mailer.accept.submission import Fault, SubmissionError
from mailer.compose.advice import Advice
from mailer.compose.entity import Leaf
from mailer.store import StoreUnavailable

PATH = "/v1/messages/validate"


class ValidateRoute:
    """An ASGI application that writes nothing, not even the event of a refusal."""

    def __init__(
        self, examiner: Examiner, authenticator: Authenticator, budget: ByteBudget, limits: BodyLimits
    ) -> None:
        self._examiner = examiner
        self._authenticator = authenticator
        self._budget = budget
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            finding = await self._examine(scope, receive)
        except SubmissionError as error:
            await problems.refusal(scope, error)(scope, receive, send)
        else:
            body = msgspec.json.encode(_shown(finding))
            answer = Response(body, headers={"Cache-Control": "no-store"}, media_type="application/json")
            await answer(scope, receive, send)

    async def _examine(self, scope: Scope, receive: Receive) -> Finding:
        visit = visit_of(scope)
        visit.route = PATH
        headers = dict(scope["headers"])
        identity = await self._authenticator.identify(authorization_of(headers))
        visit.tenant_id = identity.tenant_id
        check_sender(identity)
        check_format(headers)
        with self._budget.hold() as hold:
            raw = await read_body(headers, receive, hold, self._limits)
            try:
                return await asyncio.to_thread(self._examiner.examine, raw, identity)
            except StoreUnavailable as error:
                visit.cause = str(error)
                raise SubmissionError(
                    Fault.UNAVAILABLE, "the database did not answer; nothing was checked, try again"
                ) from error


def _shown(finding: Finding) -> Mapping[str, Any]:
    return {
        "valid": finding.message is not None,
        "problems": [_problem(error) for error in finding.problems],
        "warnings": [_warning(advice) for advice in finding.warnings],
        "message": None if finding.message is None else _message(finding.message),
    }


def _problem(error: SubmissionError) -> Mapping[str, Any]:
    """As the send route would answer it."""
    at = {} if error.pointer is None else {"pointer": error.pointer}
    return problems.described(error.fault, error.detail) | at


def _warning(advice: Advice) -> Mapping[str, str]:
    at = {"pointer": wire.pointer(*advice.steps)} if advice.steps else {}
    return {"warning": advice.word, "detail": advice.detail, **at}


def _message(m: Foreseen) -> Mapping[str, Any]:
    s = m.submission
    return {
        "from": m.draft.from_.addr_spec,
        "recipients": [
            {"address": e.mailbox.addr_spec, "kind": e.kind, "domain": e.mailbox.domain} for e in s.recipients
        ],
        "stream": s.stream,
        "subject": m.draft.subject,
        "tags": list(s.tags),
        "metadata": dict(s.metadata),
        "size_bytes": m.size_bytes,
        "headers": m.headers.decode(),
        "parts": [_part(leaf) for leaf in m.parts],
        "dkim": {"domain": m.draft.from_.domain, "selectors": list(m.selectors)},
        "due_at": s.due_at and shown.instant(s.due_at),
        "expires_at": s.expires_at and shown.instant(s.expires_at),
    }


def _part(leaf: Leaf) -> Mapping[str, Any]:
    shown = {"content_type": leaf.essence, "encoding": leaf.encoding, "size_bytes": leaf.size_bytes}
    if leaf.file is None:
        return shown
    file = {"filename": leaf.file.filename, "disposition": str(leaf.file.disposition)}
    content_id = {} if leaf.file.content_id is None else {"content_id": leaf.file.content_id}
    return {**shown, **file, **content_id}
