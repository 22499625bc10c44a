"""/v1/keys: a tenant's API keys, made and revoked by one of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Depends, Query, Response
from pydantic import Field, StrictInt

from mailer import ids
from mailer.accept.credentials import Authenticator, Identity
from mailer.accept.http import cursors
from mailer.accept.http.asked import (
    Asked,
    Digits,
    Instant,
    NotGiven,
    asker,
    examples,
    id_path,
    number_of,
    once,
    position_of,
    refusals,
)
from mailer.accept.http.callers import Caller, as_json
from mailer.accept.http.shapes import At, Shape, shown_as
from mailer.accept.http.smallbody import SmallBody
from mailer.identity import asking, own_keys
from mailer.identity.api_keys import ApiKey
from mailer.identity.own_keys import Issued, NewApiKey
from mailer.identity.rights import Rights
from mailer.ids import IdMaker
from mailer.store import Store

_PATH = "/keys"
_MOST = 100
_MOST_NAMES = 100  # of streams or domains of one key
_DAY_SECONDS = 24 * 3600
_QUESTION = "keys"

Scope = Literal["send", "read", "templates", "manage"]
KeyId = Annotated[int, *shown_as("key")]
KeyIdText = Annotated[str, id_path("key", "an API key")]
Names = Annotated[list[Annotated[str, Field(max_length=255)]], Field(min_length=1, max_length=_MOST_NAMES)]


class Key(Shape):
    """An API key without its secret."""

    id: KeyId
    name: str
    scopes: Sequence[Scope | Literal["operate"]] = Field(
        description="operate, which only the installation's operator gives out: the mail of all tenants"
    )
    streams: Sequence[str] | None = Field(description="The only streams it may send to; null: any")
    domains: Sequence[str] | None = Field(description="The only domains it may send from; null: any")
    state: Literal["active", "expired", "revoked"]
    created_at: At
    expires_at: At | None = Field(description="null: never")
    revoked_at: At | None = Field(description="null while it is not revoked")


class NewKey(Key):
    """An API key that was made just now."""

    api_key: str = Field(description="The key itself. It is shown this once and cannot be had again")


class KeyPage(Shape):
    keys: Sequence[Key] = Field(description="The newest first")
    next_cursor: str | None = Field(description="`cursor` of the next page; null: there is nothing more")


class KeyQuery(Asked):
    """Which piece of the list."""

    limit: Digits = Field(25, ge=1, le=_MOST, description="Most keys in the answer")
    cursor: str | NotGiven = Field(None, max_length=64, description="`next_cursor` of the page before")


class KeyRequest(Asked):
    """A key to be made. It can have no rights that the asking key has not."""

    name: str = Field(min_length=1, max_length=200, description="What it is for; for people")
    scopes: list[Scope] = Field(
        default=["send", "read"], min_length=1, max_length=4,
        description="send: submit messages, cancel and retry them; read: look at everything; templates:"
        " write templates; manage: change streams, keys and webhook endpoints, act on mail that waits",
    )  # fmt: skip
    streams: Names | None = Field(None, description="The only streams it may send to; null: any")
    domains: Names | None = Field(None, description="The only domains it may send from; null: any")
    expires_at: Instant | None = Field(None, description="null: never")

    def new(self) -> NewApiKey:
        rights = Rights(scopes=tuple(self.scopes), streams=_tuple(self.streams), domains=_tuple(self.domains))
        return NewApiKey(self.name, rights, self.expires_at)


class KeyChange(Asked):
    """What can be changed about a key: rights never are, so that nobody is surprised."""

    name: str = Field(min_length=1, max_length=200)


class Rotation(Asked):
    """How a key is followed by a new one."""

    overlap_seconds: StrictInt = Field(
        default=_DAY_SECONDS,
        ge=0,
        le=30 * _DAY_SECONDS,
        description="How long the old key is good beside the new one",
    )


_NEW = examples(
    application={"name": "shop", "scopes": ["send"], "streams": ["transactional"]},
    everything={
        "name": "billing", "scopes": ["send", "read"], "streams": ["transactional"],
        "domains": ["example.org"], "expires_at": "2030-01-01T00:00:00Z",
    },
)  # fmt: skip
_CHANGED = examples(named={"name": "shop, second machine"})
_ROTATED = examples(hour={"overlap_seconds": 3600})


def router(
    store: Store, authenticator: Authenticator, *, new_id: IdMaker, now: Callable[[], datetime]
) -> APIRouter:
    """Synchronous functions: FastAPI runs them in threads, where the database may be used."""
    routes = APIRouter(prefix="/v1", tags=["keys"], route_class=SmallBody)
    _add_looking(routes, store, Depends(Caller(authenticator, "read", once=once(KeyQuery))), now)
    manager = Depends(Caller(authenticator, asking.SCOPE, changes=True))
    _add_making(routes, store, manager, new_id, now)
    _add_changing(routes, store, manager, now)
    return routes


def _add_looking(routes: APIRouter, store: Store, reader: Any, now: Callable[[], datetime]) -> None:
    @routes.get(_PATH, response_model=KeyPage, summary="List API keys")
    def list_keys(query: Annotated[KeyQuery, Query()], identity: Identity = reader) -> Response:
        """Keys without their secrets, those that expired or were revoked too."""
        page = own_keys.listed(
            store, identity.tenant_id, limit=query.limit, position=position_of(query.cursor, _QUESTION)
        )
        following = None if page.position is None else cursors.cursor(page.position, _QUESTION)
        shown = [_key(key, now()) for key in page.keys]
        return as_json(KeyPage.model_validate({"keys": shown, "next_cursor": following}))

    @routes.get(f"{_PATH}/{{key_id}}", response_model=Key, summary="Get an API key")
    def get_key(key_id: KeyIdText, identity: Identity = reader) -> Response:
        with refusals():
            found = own_keys.one(store, identity.tenant_id, _number(key_id))
        return as_json(Key.model_validate(_key(found, now())))


def _add_making(
    routes: APIRouter, store: Store, manager: Any, new_id: IdMaker, now: Callable[[], datetime]
) -> None:
    @routes.post(_PATH, response_model=NewKey, status_code=201, summary="Make an API key")
    def create_key(
        request: Annotated[KeyRequest, Body(openapi_examples=_NEW)], identity: Identity = manager
    ) -> Response:
        """The answer shows the key, this once. A repeat makes another one."""
        with refusals():
            return _issued(
                own_keys.issue(store, asker(identity), request.new(), new_id=new_id, now=now()), now()
            )

    @routes.post(
        f"{_PATH}/{{key_id}}/rotate", response_model=NewKey, status_code=201, summary="Rotate an API key"
    )
    def rotate_key(
        key_id: KeyIdText,
        request: Annotated[Rotation | None, Body(openapi_examples=_ROTATED)] = None,
        identity: Identity = manager,
    ) -> Response:
        """A new key with the same name and rights; the old one expires after the overlap. A repeat makes
        another one."""
        overlap = timedelta(seconds=(request or Rotation()).overlap_seconds)
        with refusals():
            made = own_keys.rotate(
                store, asker(identity), _number(key_id), overlap=overlap, new_id=new_id, now=now()
            )
        return _issued(made, now())


def _add_changing(routes: APIRouter, store: Store, manager: Any, now: Callable[[], datetime]) -> None:
    @routes.patch(f"{_PATH}/{{key_id}}", response_model=Key, summary="Rename an API key")
    def rename_key(
        key_id: KeyIdText,
        request: Annotated[KeyChange, Body(openapi_examples=_CHANGED)],
        identity: Identity = manager,
    ) -> Response:
        """What it is called. Its rights never change: make another key."""
        with refusals():
            made = own_keys.rename(store, asker(identity), _number(key_id), request.name, now=now())
        return as_json(Key.model_validate(_key(made, now())))

    @routes.delete(f"{_PATH}/{{key_id}}", response_model=Key, summary="Revoke an API key")
    def revoke_key(key_id: KeyIdText, identity: Identity = manager) -> Response:
        """Within a second it opens no door. A key cannot revoke itself. May be repeated."""
        with refusals():
            made = own_keys.revoke(store, asker(identity), _number(key_id), now=now())
        return as_json(Key.model_validate(_key(made, now())))


def _number(key_id: str) -> int:
    return number_of("key", key_id, what="API key")


def _tuple(names: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)


def _key(key: ApiKey, now: datetime) -> dict[str, Any]:
    return {
        "id": key.id, "name": key.name, "state": key.state(now), "created_at": key.created_at,
        "scopes": key.rights.scopes, "streams": key.rights.streams, "domains": key.rights.domains,
        "expires_at": key.expires_at, "revoked_at": key.revoked_at,
    }  # fmt: skip


def _issued(made: Issued, now: datetime) -> Response:
    shape = NewKey.model_validate({**_key(made.key, now), "api_key": made.text})
    return as_json(shape, location=f"/v1{_PATH}/{ids.show('key', made.key.id)}")
