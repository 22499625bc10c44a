"""/v1/webhook-endpoints: a tenant keeps its own, a key needs the scope, secrets are for managers only."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from mailer import clock, ids
from mailer.identity import tenants
from mailer.identity.keys import NewKey
from mailer.queue import fanout
from mailer.store.tables import webhook_callback, webhook_endpoint
from tests.accept.http.conftest import Door, bearer
from webhooks import endpoints
from webhooks.fanout import FanOut

PATH = "/v1/webhook-endpoints"
URL = "https://hooks.example.net/mail"


@pytest.fixture
def manager(door: Door) -> NewKey:
    """A key of acme that may do everything."""
    return door.keyring.issue(scopes=("send", "read", "manage"))


@pytest.fixture
def stranger(door: Door) -> NewKey:
    """Globex's."""
    return door.keyring.issue(to=door.keyring.globex, scopes=("read", "manage"))


async def ask(door: Door, key: NewKey, method: str, path: str = PATH, body: Any = None) -> httpx.Response:
    return await door.client.request(method, path, json=body, headers=bearer(key))


async def made(door: Door, key: NewKey, **fields: object) -> dict[str, Any]:
    answer = await ask(door, key, "POST", body={"url": URL, **fields})
    assert answer.status_code == 201, answer.text
    return dict(answer.json(), path=answer.headers["location"])


async def test_an_endpoint_is_made_with_a_secret_that_is_shown_once(door: Door, manager: NewKey) -> None:
    answer = await ask(door, manager, "POST", body={"url": URL, "event_types": ["delivered", "bounced"]})

    created = answer.json()
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    assert answer.headers["location"] == f"{PATH}/{created['id']}"
    assert created["id"].startswith("whe_")
    assert (created["url"], created["description"], created["state"]) == (URL, "", "active")
    assert created["event_types"] == ["bounced", "delivered"]
    assert len(base64.b64decode(created["secret"].removeprefix("whsec_"))) == 32
    seen = (await door.get(answer.headers["location"])).json()
    assert seen == {name: value for name, value in created.items() if name != "secret"}
    assert (await door.get(PATH)).json() == {"endpoints": [seen]}


async def test_the_secret_lies_sealed_in_the_database(door: Door, manager: NewKey) -> None:
    created = await made(door, manager)
    clear = base64.b64decode(created["secret"].removeprefix("whsec_"))

    with door.room.store.read() as c:
        kept = c.execute(select(webhook_endpoint.c.secret)).scalar_one()
    assert clear not in kept


async def test_the_secret_is_shown_to_whoever_may_manage(door: Door, manager: NewKey) -> None:
    created = await made(door, manager)

    again = await ask(door, manager, "GET", f"{created['path']}/secret")
    refused = await door.get(f"{created['path']}/secret")
    assert again.json() == {"secret": created["secret"]}
    assert refused.status_code == 403


async def test_a_rotated_secret_is_new_and_the_old_one_signs_until_then(door: Door, manager: NewKey) -> None:
    created = await made(door, manager)

    rotated = await ask(door, manager, "POST", f"{created['path']}/secret/rotate", {"overlap_seconds": 3600})
    seen = (await door.get(created["path"])).json()
    assert rotated.json()["secret"] != created["secret"]
    assert rotated.json()["old_until"] == seen["old_until"]
    assert (await ask(door, manager, "GET", f"{created['path']}/secret")).json() == {
        "secret": rotated.json()["secret"]
    }


async def test_a_secret_is_not_rotated_while_one_before_it_signs(door: Door, manager: NewKey) -> None:
    """Whoever verifies with the first would be cut off; at once is another matter."""
    path = (await made(door, manager))["path"]
    first = await ask(door, manager, "POST", f"{path}/secret/rotate", {"overlap_seconds": 3600})

    second = await ask(door, manager, "POST", f"{path}/secret/rotate", {"overlap_seconds": 3600})
    kept = (await ask(door, manager, "GET", f"{path}/secret")).json()
    at_once = await ask(door, manager, "POST", f"{path}/secret/rotate", {"overlap_seconds": 0})
    later = await ask(door, manager, "POST", f"{path}/secret/rotate", {"overlap_seconds": 3600})

    assert (second.status_code, second.json()["type"]) == (409, "/problems/conflict")
    assert kept["secret"] == first.json()["secret"]
    assert (at_once.status_code, later.status_code) == (200, 200)


async def test_a_disabled_endpoint_is_not_tested(door: Door, manager: NewKey) -> None:
    path = (await made(door, manager))["path"]
    await ask(door, manager, "PATCH", path, {"state": "disabled"})

    refused = await ask(door, manager, "POST", f"{path}/test")
    callbacks = (await ask(door, manager, "GET", f"{path}/callbacks")).json()["callbacks"]

    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/conflict")
    assert callbacks == []


async def test_what_is_not_named_in_a_change_stays(door: Door, manager: NewKey) -> None:
    created = await made(door, manager, description="shop", event_types=["bounced"])

    changed = await ask(door, manager, "PATCH", created["path"], {"state": "disabled"})
    moved = await ask(
        door, manager, "PATCH", created["path"], {"url": "https://new.example/", "event_types": []}
    )
    same = await ask(door, manager, "PATCH", created["path"], {})
    assert (changed.json()["state"], changed.json()["description"]) == ("disabled", "shop")
    assert changed.json()["event_types"] == ["bounced"]
    assert (moved.json()["url"], moved.json()["event_types"]) == ("https://new.example/", [])
    assert same.json() == moved.json()


async def test_a_deleted_endpoint_is_gone_with_its_callbacks(door: Door, manager: NewKey) -> None:
    created, other = await made(door, manager), await made(door, manager)
    await ask(door, manager, "POST", f"{created['path']}/test")

    answer = await ask(door, manager, "DELETE", created["path"])
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await door.get(created["path"])).status_code == 404
    assert [e["id"] for e in (await door.get(PATH)).json()["endpoints"]] == [other["id"]]
    with door.room.store.read() as c:
        assert c.execute(webhook_callback.select()).all() == []


async def test_a_test_and_the_events_are_told_and_listed(door: Door, manager: NewKey) -> None:
    created = await made(door, manager)
    await door.send()
    fanout.fan_out(door.room.store, also=FanOut(door.room.new_id, clock.now))
    tested = await ask(door, manager, "POST", f"{created['path']}/test")

    first = (await door.get(f"{created['path']}/callbacks?limit=1")).json()
    rest = (await door.get(f"{created['path']}/callbacks?limit=5&cursor={first['next_cursor']}")).json()
    assert tested.status_code == 202
    assert [(c["id"], c["event_number"]) for c in first["callbacks"]] == [
        (tested.json()["callback_id"], None)
    ]
    assert [(c["event_number"], c["state"], c["attempt_count"]) for c in rest["callbacks"]] == [(1, "due", 0)]
    assert rest["next_cursor"] is None
    assert (await door.get(f"{created['path']}/callbacks?state=given_up")).json()["callbacks"] == []
    assert (await door.get(f"{created['path']}/attempts")).json() == {"attempts": [], "next_cursor": None}


async def test_a_callback_that_was_given_up_is_due_again_when_asked(door: Door, manager: NewKey) -> None:
    created = await made(door, manager)
    callback = (await ask(door, manager, "POST", f"{created['path']}/test")).json()["callback_id"]
    with door.room.store.write() as c:
        c.execute(webhook_callback.update().values(state="given_up", settled_at=clock.now(), attempts=8))

    answer = await ask(door, manager, "POST", f"{created['path']}/callbacks/{callback}/retry")
    unknown = await ask(door, manager, "POST", f"{created['path']}/callbacks/{ids.show('whc', 5)}/retry")
    assert (answer.json()["state"], answer.json()["attempt_count"]) == ("due", 8)
    assert answer.json()["settled_at"] is None
    assert unknown.status_code == 404


async def test_one_that_is_delivered_stays_so(door: Door, manager: NewKey) -> None:
    created = await made(door, manager)
    callback = (await ask(door, manager, "POST", f"{created['path']}/test")).json()["callback_id"]
    with door.room.store.write() as c:
        c.execute(webhook_callback.update().values(state="delivered", settled_at=clock.now(), attempts=1))

    answer = await ask(door, manager, "POST", f"{created['path']}/callbacks/{callback}/retry")
    assert answer.json()["state"] == "delivered"


# ---- refusals


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/url"),
        ({"url": "ftp://a.example/"}, "/url"),
        ({"url": "http://a.example/"}, "/url"),
        ({"url": "https://127.0.0.1/"}, "/url"),
        ({"url": URL, "event_types": ["delivered", "opend"]}, "/event_types/1"),
        ({"url": URL, "description": "a\u0000b"}, "/description"),
        ({"url": URL, "description": "x" * 201}, "/description"),
        ({"url": URL, "sekret": "x"}, "/sekret"),
        ({"url": URL, "a/b~c": "x"}, "/a~1b~0c"),
        ([], ""),
    ],
)
async def test_a_fault_is_pointed_at(door: Door, manager: NewKey, body: object, pointer: str) -> None:
    answer = await ask(door, manager, "POST", body=body)

    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-field")
    assert pointer in [error["pointer"] for error in answer.json()["errors"]]


async def test_a_change_is_checked_like_a_new_one(door: Door, manager: NewKey) -> None:
    created = await made(door, manager)

    answer = await ask(door, manager, "PATCH", created["path"], {"url": "https://10.0.0.1/"})
    null = await ask(door, manager, "PATCH", created["path"], {"url": None})
    assert answer.json()["errors"][0]["pointer"] == null.json()["errors"][0]["pointer"] == "/url"
    assert (await door.get(created["path"])).json()["url"] == URL


@pytest.mark.parametrize(
    ("content", "media_type", "word"),
    [
        (b"{", "application/json", "malformed-request"),
        (b"url=x", "application/x-www-form-urlencoded", "unsupported-media-type"),
        (b'{"description": "' + b"x" * 70_000 + b'"}', "application/json", "request-too-large"),
    ],
)
async def test_a_body_that_cannot_be_read_is_refused(
    door: Door, manager: NewKey, content: bytes, media_type: str, word: str
) -> None:
    headers = {**bearer(manager), "Content-Type": media_type}
    answer = await door.client.post(PATH, content=content, headers=headers)

    assert answer.json()["type"] == f"/problems/{word}"


async def test_a_tenant_has_a_limited_number_of_them(
    door: Door, manager: NewKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoints, "MOST", 2)
    for _ in range(2):
        await made(door, manager)

    answer = await ask(door, manager, "POST", body={"url": URL})
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/limit-reached")


CHANGES = [
    ("POST", "", {"url": URL}),
    ("PATCH", "/{id}", {"state": "disabled"}),
    ("DELETE", "/{id}", None),
    ("GET", "/{id}/secret", None),
    ("POST", "/{id}/secret/rotate", {"overlap_seconds": 0}),
    ("POST", "/{id}/test", None),
    ("POST", "/{id}/callbacks/{callback}/retry", None),
]
LOOKS = [("GET", "/{id}", None), ("GET", "/{id}/attempts", None), ("GET", "/{id}/callbacks", None)]


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
async def test_a_key_without_the_scope_changes_nothing(
    door: Door, manager: NewKey, method: str, path: str, body: object
) -> None:
    created = await made(door, manager)
    filled = path.format(id=created["id"], callback=ids.show("whc", 5))

    answer = await ask(door, door.key, method, PATH + filled, body)
    assert (answer.status_code, answer.json()["type"]) == (403, "/problems/forbidden")
    assert (await door.get(created["path"])).json()["state"] == "active"


@pytest.mark.parametrize(("method", "path", "body"), LOOKS)
async def test_looking_needs_the_scope_read(
    door: Door, manager: NewKey, method: str, path: str, body: object
) -> None:
    created = await made(door, manager)
    sender = door.keyring.issue(scopes=("send",))

    assert (await ask(door, sender, method, PATH + path.format(id=created["id"]))).status_code == 403
    assert (await ask(door, sender, "GET")).status_code == 403


@pytest.mark.parametrize(("method", "path", "body"), [*CHANGES[1:], *LOOKS])
async def test_another_tenants_endpoint_is_not_there(
    door: Door, manager: NewKey, stranger: NewKey, method: str, path: str, body: object
) -> None:
    created = await made(door, manager)
    callback = (await ask(door, manager, "POST", f"{created['path']}/test")).json()["callback_id"]

    answer = await ask(door, stranger, method, PATH + path.format(id=created["id"], callback=callback), body)
    unknown = await ask(
        door, stranger, method, PATH + path.format(id=ids.show("whe", 5), callback=callback), body
    )
    malformed = await ask(door, stranger, method, PATH + path.format(id="whe_x", callback=callback), body)
    assert (answer.status_code, unknown.status_code, malformed.status_code) == (404, 404, 404)
    assert (await ask(door, stranger, "GET")).json() == {"endpoints": []}
    assert (await door.get(created["path"])).json()["state"] == "active"


async def test_another_endpoints_callback_is_not_there(door: Door, manager: NewKey) -> None:
    one, other = await made(door, manager), await made(door, manager)
    callback = (await ask(door, manager, "POST", f"{one['path']}/test")).json()["callback_id"]

    assert (
        await ask(door, manager, "POST", f"{other['path']}/callbacks/{callback}/retry")
    ).status_code == 404


async def test_a_suspended_tenant_looks_and_changes_nothing(door: Door, manager: NewKey) -> None:
    created = await made(door, manager)
    tenants.suspend(door.room.store, "acme")
    fresh = door.keyring.issue(scopes=("read", "manage"))

    assert (await ask(door, fresh, "GET", created["path"])).status_code == 200
    refused = await ask(door, fresh, "DELETE", created["path"])
    assert refused.json()["type"] == "/problems/tenant-suspended"
