"""/v1/streams: the kinds of mail that a tenant keeps apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Body, Depends, Path, Response
from pydantic import Field

from mailer.accept.credentials import Authenticator, Identity
from mailer.accept.http.asked import Asked, asker, examples, refusals
from mailer.accept.http.callers import Caller, as_json
from mailer.accept.http.shapes import At, Shape
from mailer.accept.http.smallbody import SmallBody
from mailer.identity import asking, streams
from mailer.identity.streams import NewStream
from mailer.ids import IdMaker
from mailer.store import Store

_PATH = "/streams"
Kind = Literal["transactional", "broadcast"]
InDoubt = Annotated[
    Literal["retry", "give-up"],
    Field(
        description="What follows when the answer to a delivered message was not heard: another try, which"
        " may deliver it twice, or none"
    ),
]
Tls = Annotated[
    Literal["opportunistic", "encrypted", "required"],
    Field(
        description="What a next hop must prove before it gets the stream's mail: `encrypted` TLS, or"
        " `required` TLS with a right certificate. `opportunistic`: what the recipient's domain demands"
    ),
]
ExpiresAfter = Annotated[
    int,
    Field(
        ge=0,
        le=30 * 86400,
        description="Seconds from a message's send time after which it is of no more use, and fails instead"
        " of being tried again; its own `expires_at` goes before. 0: as long as it is retried. A change holds"
        " for what is accepted from then on",
    ),
]
OwnUnsubscribe = Annotated[
    Literal["keep", "refuse"],
    Field(
        description="What becomes of a message that brings a List-Unsubscribe of its own: it keeps it, and"
        " gets none of ours, or it is refused"
    ),
]
RoleAccounts = Annotated[
    bool,
    Field(
        description="Broadcast mail goes to addresses of tasks, too: those of RFC 2142 (postmaster, info,"
        " sales ...), of lists' keepers, and no-reply. false: such recipients are suppressed. A transactional"
        " stream always sends to them"
    ),
]
# A malformed name is 404 like an unknown one, so the pattern is told and not enforced.
NameText = Annotated[
    str, Path(description="Name of a stream", json_schema_extra={"pattern": f"^{streams.NAME_PATTERN}$"})
]


class Stream(Shape):
    """A stream."""

    name: str
    kind: Kind
    in_doubt: InDoubt
    tls: Tls
    expires_after: ExpiresAfter
    own_unsubscribe: OwnUnsubscribe
    role_accounts: RoleAccounts
    state: Literal["active", "archived"] = Field(description="archived: it takes nothing more")
    created_at: At


class StreamList(Shape):
    streams: Sequence[Stream] = Field(description="The oldest first")


class StreamRequest(Asked):
    """A stream to be made."""

    name: str = Field(
        pattern=f"^{streams.NAME_PATTERN}$", description="What messages call it; it is never changed"
    )
    kind: Kind = Field(
        description="transactional: what somebody waits for; broadcast: what many get alike, which bears"
        " List-Unsubscribe fields"
    )
    in_doubt: InDoubt = "retry"
    tls: Tls = "opportunistic"
    expires_after: ExpiresAfter = 0
    own_unsubscribe: OwnUnsubscribe = "keep"
    role_accounts: RoleAccounts = False


class StreamChange(Asked):
    """What can be changed about a stream; what is not given stays."""

    in_doubt: InDoubt | None = None
    tls: Tls | None = None
    expires_after: ExpiresAfter | None = None
    own_unsubscribe: OwnUnsubscribe | None = None
    role_accounts: RoleAccounts | None = None


_NEW = examples(news={"name": "newsletter", "kind": "broadcast", "in_doubt": "give-up"})
_CHANGED = examples(once={"in_doubt": "give-up"})


def router(
    store: Store, authenticator: Authenticator, *, new_id: IdMaker, now: Callable[[], datetime]
) -> APIRouter:
    """Synchronous functions: FastAPI runs them in threads, where the database may be used."""
    routes = APIRouter(prefix="/v1", tags=["streams"], route_class=SmallBody)
    reader = Depends(Caller(authenticator, "read"))
    manager = Depends(Caller(authenticator, asking.SCOPE, changes=True))

    @routes.get(_PATH, response_model=StreamList, summary="List streams")
    def list_streams(identity: Identity = reader) -> Response:
        """All streams, the archived too. A tenant starts with `transactional` and `broadcast`."""
        return as_json(StreamList.model_validate({"streams": streams.listed(store, identity.tenant_id)}))

    @routes.post(_PATH, response_model=Stream, status_code=201, summary="Make a stream")
    def create_stream(
        request: Annotated[StreamRequest, Body(openapi_examples=_NEW)], identity: Identity = manager
    ) -> Response:
        """Messages may name it from now on."""
        new = NewStream(**request.model_dump())
        with refusals():
            made = streams.create(store, asker(identity), new, new_id=new_id, now=now())
        return as_json(Stream.model_validate(made), location=f"/v1{_PATH}/{made.name}")

    @routes.get(f"{_PATH}/{{name}}", response_model=Stream, summary="Get a stream")
    def get_stream(name: NameText, identity: Identity = reader) -> Response:
        with refusals():
            return as_json(Stream.model_validate(streams.one(store, identity.tenant_id, name)))

    @routes.patch(f"{_PATH}/{{name}}", response_model=Stream, summary="Change a stream")
    def change_stream(
        name: NameText,
        request: Annotated[StreamChange, Body(openapi_examples=_CHANGED)],
        identity: Identity = manager,
    ) -> Response:
        """Holds from the next attempt on, also for what was accepted before; `expires_after` and
        `own_unsubscribe` for what is accepted from then on."""
        wanted = streams.StreamChange(**request.model_dump())
        with refusals():
            made = streams.change(store, asker(identity), name, wanted, now=now())
        return as_json(Stream.model_validate(made))

    @routes.delete(f"{_PATH}/{{name}}", response_model=Stream, summary="Archive a stream")
    def archive_stream(name: NameText, identity: Identity = manager) -> Response:
        """It takes nothing more; what waits in it is delivered. `transactional` stays. May be repeated."""
        with refusals():
            return as_json(Stream.model_validate(streams.archive(store, asker(identity), name, now=now())))

    @routes.post(f"{_PATH}/{{name}}/restore", response_model=Stream, summary="Restore a stream")
    def restore_stream(name: NameText, identity: Identity = manager) -> Response:
        """An archived stream takes messages again. May be repeated."""
        with refusals():
            return as_json(Stream.model_validate(streams.restore(store, asker(identity), name, now=now())))

    return routes
