"""What the framework's routes share: who calls, which message is meant, and how it is answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Annotated, NoReturn

from fastapi import Request, Response
from pydantic import BaseModel

from mailer.accept.credentials import Authenticator, Identity
from mailer.accept.http.asked import id_path, number_of, refused
from mailer.accept.http.visits import visit_of
from mailer.accept.submission import Fault, SubmissionError

MessageIdText = Annotated[str, id_path("msg", "a message")]


class Caller:
    """The tenant whose key has the scope. A suspended tenant may still look, but change nothing.

    once        query parameters that may be given once: of two, FastAPI would take the last, without a word
    or_operate  the scope `operate` will do as well
    """

    def __init__(
        self,
        authenticator: Authenticator,
        scope: str,
        *,
        changes: bool = False,
        once: Collection[str] = (),
        or_operate: bool = False,
    ) -> None:
        self._authenticator = authenticator
        self._scope = scope
        self._changes = changes
        self._once = frozenset(once)
        self._or_operate = or_operate

    async def __call__(self, request: Request) -> Identity:
        identity = await self._authenticator.identify(request.headers.get("authorization"))
        visit_of(request.scope).tenant_id = identity.tenant_id
        if not (self._or_operate and identity.is_operator):
            identity.require(self._scope)
        if self._changes and identity.is_suspended:
            raise SubmissionError(Fault.TENANT_SUSPENDED, "this tenant is suspended and may not send")
        given = Counter(name for name, _ in request.query_params.multi_items())
        for name in given:
            if name in self._once and given[name] > 1:
                raise refused(name, "is given more than once")
        return identity


def message_number(text: str) -> int:
    """The id in a path. Raises SubmissionError (NOT_FOUND)."""
    return number_of("msg", text, what="message")


def not_found() -> NoReturn:
    raise SubmissionError(Fault.NOT_FOUND, "this tenant has no such message")


def as_json(shape: BaseModel, *, location: str | None = None) -> Response:
    """location: of what was made just now, which is 201; None: 200."""
    headers = {"Cache-Control": "no-store"}
    if location is not None:
        headers["Location"] = location
    return Response(
        shape.model_dump_json(by_alias=True),
        200 if location is None else 201,
        media_type="application/json",
        headers=headers,
    )
