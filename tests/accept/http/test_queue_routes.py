"""/v1/queue: a tenant looks at and acts on its own mail; with `operate`, on everybody's."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from mailer import clock, ids
from mailer.identity import pools, tenants
from mailer.identity.keys import NewKey
from mailer.identity.pools import NewPool
from mailer.queue import verify
from tests.accept.http.conftest import Door, bearer
from tests.support.mailroom import HEARD_451, HOUR, deferral

QUEUE = "/v1/queue"
ALL = ("send", "read", "manage")
WHY = {"reason": "trouble"}
EVERYTHING = {"everything": True, **WHY}
UNKNOWN_HOLD = ids.show("hold", 5)


def tenants_key(door: Door, **change: Any) -> NewKey:
    return door.keyring.issue(**{"scopes": ALL, **change})


def operators_key(door: Door, **change: Any) -> NewKey:
    """Of another tenant than the one whose mail it is."""
    return door.keyring.issue(**{"scopes": ("operate",), "to": door.keyring.globex, **change})


async def ask(door: Door, method: str, path: str, key: NewKey, **said: Any) -> httpx.Response:
    return await door.client.request(method, f"{QUEUE}{path}", headers=bearer(key), **said)


async def hold(door: Door, key: NewKey, **order: Any) -> httpx.Response:
    return await ask(door, "POST", "/holds", key, json={**WHY, **order})


async def states(door: Door) -> list[str]:
    messages = (await door.get("/v1/messages")).json()["messages"]
    return [state for m in messages for state in m["states"]]


def fault_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].removeprefix("/problems/")


# ---- holds


async def test_a_tenant_holds_its_mail_and_releases_it(door: Door) -> None:
    sent = (await door.send()).json()
    key = tenants_key(door)

    placed = await hold(door, key, domain="Example.org", until="2100-01-01T00:00:00Z")
    explained = (await door.get(f"/v1/messages/{sent['id']}/explain")).json()
    listed = (await ask(door, "GET", "/holds", key)).json()["holds"]
    got = await door.client.get(placed.headers["location"], headers=bearer(key))
    released = await door.client.delete(placed.headers["location"], headers=bearer(key))

    made = placed.json()
    assert (placed.status_code, made["recipients"], made["owner"]) == (201, 1, "tenant")
    assert (made["domain"], made["tenant_id"], made["until"]) == (
        "example.org", ids.show("ten", door.room.tenant_id), "2100-01-01T00:00:00.000Z",
    )  # fmt: skip
    assert listed == [got.json()]
    assert explained["recipients"][0]["obstacles"][0]["facts"]["hold"] == made["id"]
    assert (released.status_code, (await ask(door, "GET", "/holds", key)).json()) == (204, {"holds": []})
    assert (await door.client.delete(placed.headers["location"], headers=bearer(key))).status_code == 204
    assert len(door.rings) >= 1


async def test_an_operator_holds_the_mail_of_all_or_of_one(door: Door) -> None:
    await door.send()
    key = operators_key(door)

    everybodys = (await hold(door, key, everything=True)).json()
    ones = (await hold(door, key, tenant="acme")).json()
    others = (await hold(door, key, tenant="globex")).json()

    assert [h["recipients"] for h in (everybodys, ones, others)] == [1, 1, 0]
    assert (everybodys["owner"], everybodys["tenant_id"]) == ("operator", None)
    assert ones["tenant_id"] == ids.show("ten", door.room.tenant_id)


async def test_too_many_holds_are_refused(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailer.queue.holds.MOST_OF_TENANT", 1)
    key = tenants_key(door)
    await hold(door, key, domain="a.example")

    assert fault_of(await hold(door, key, domain="b.example")) == (409, "limit-reached")


# ---- acting


async def test_a_tenant_requeues_and_bounces_its_mail(door: Door) -> None:
    await door.send()
    door.room.settle(door.room.claim(), deferral(clock.now() + HOUR), HEARD_451)
    door.rings.clear()
    key = tenants_key(door)

    counted = await ask(door, "GET", "/count", key, params={"site": "mx:mx.example"})
    requeued = await ask(door, "POST", "/requeue", key, json={"site": "mx:mx.example", **WHY})
    bounced = await ask(door, "POST", "/bounce", key, json={**EVERYTHING, "status": "5.7.2"})

    actions = (await ask(door, "GET", "/actions", key)).json()["actions"]
    assert counted.json() == {"recipients": 1, "under_way": 0, "states": {"deferred": 1}}
    assert (requeued.json()["recipients"], len(door.rings)) == (1, 1)
    assert (bounced.json()["recipients"], bounced.json()["has_more"]) == (1, False)
    assert await states(door) == ["bounced"]
    assert [(a["kind"], a["recipients"], a["status"]) for a in actions] == [
        ("bounce", 1, "5.7.2"), ("requeue", 1, None),
    ]  # fmt: skip
    assert actions[0]["done_by"] == ids.show("key", key.key_id)
    assert verify.verify(door.room.store).holds


async def test_a_tenant_moves_its_mail_to_another_stream(door: Door) -> None:
    await door.send()
    key = door.furnished_key(streams=("news", "transactional"), scopes=ALL)
    order = {"stream": "transactional", "to_stream": "news", **WHY}

    moved = await ask(door, "POST", "/move", key, json=order)
    counted = await ask(door, "GET", "/count", key, params={"stream": "news"})
    nowhere = await ask(door, "POST", "/move", tenants_key(door), json={**EVERYTHING, "to_stream": "none"})
    back = await ask(
        door, "POST", "/move", key, json={**order, "stream": "news", "to_stream": "transactional"}
    )

    assert (moved.json()["recipients"], counted.json()["recipients"]) == (1, 1)
    for refused in (nowhere, back):
        assert fault_of(refused) == (422, "invalid-field")
        assert refused.json()["errors"][0]["pointer"] == "/to_stream"


async def test_an_operator_moves_mail_to_a_pool(door: Door) -> None:
    await door.send()
    store, new_id = door.room.store, door.room.new_id
    pools.create(store, NewPool(name="spare"), new_id=new_id, now=clock.now())
    order, key = {"tenant": "acme", **WHY}, operators_key(door)

    moved = await ask(door, "POST", "/move", key, json={**order, "to_pool": "spare"})
    nowhere = await ask(door, "POST", "/move", key, json={**order, "to_pool": "none"})
    both = await ask(door, "POST", "/move", key, json={**order, "to_pool": "spare", "to_stream": "news"})
    neither = await ask(door, "POST", "/move", key, json=order)
    [record] = (await ask(door, "GET", "/actions", key)).json()["actions"]

    assert moved.json()["recipients"] == 1
    assert (record["kind"], record["target"]) == ("move", "pool:spare")
    assert fault_of(nowhere) == (422, "invalid-field")
    assert nowhere.json()["errors"][0]["pointer"] == "/to_pool"
    for refused in (both, neither):
        assert refused.status_code == 422
        assert "say either to_stream or to_pool" in refused.text


async def test_a_key_limited_to_streams_moves_nothing_out_of_them(door: Door) -> None:
    await door.send()
    key = door.furnished_key(streams=("news",), scopes=ALL)

    for stream, to_stream in (("transactional", "news"), ("news", "transactional")):
        order = {"stream": stream, "to_stream": to_stream, **WHY}
        assert fault_of(await ask(door, "POST", "/move", key, json=order)) == (403, "key-limited")


async def test_the_record_comes_in_pages(door: Door) -> None:
    key = tenants_key(door)
    for domain in ("a.example", "b.example", "c.example"):
        await hold(door, key, domain=domain)

    first = (await ask(door, "GET", "/actions", key, params={"limit": 2})).json()
    cursor = first["next_cursor"]
    rest = (await ask(door, "GET", "/actions", key, params={"limit": 2, "cursor": cursor})).json()

    assert [a["wanted"]["domain"] for a in first["actions"] + rest["actions"]] == [
        "c.example", "b.example", "a.example",
    ]  # fmt: skip
    assert rest["next_cursor"] is None


async def test_the_queue_is_shown(door: Door) -> None:
    await door.send()

    seen = (await ask(door, "GET", "", tenants_key(door))).json()
    operators = (await ask(door, "GET", "", operators_key(door), params={"by": "tenant"})).json()

    assert [(row["name"], row["queued"], row["limit"]) for row in seen["rows"]] == [
        ("domain:example.org", 1, None)
    ]
    assert [(row["name"], row["queued"]) for row in operators["rows"]] == [("acme", 1)]
    assert seen["totals"]["oldest_at"].endswith("Z")


# ---- isolation


@pytest.mark.parametrize("path", ["/bounce", "/requeue", "/move"])
@pytest.mark.parametrize("named", [False, True])
async def test_another_tenants_mail_is_not_acted_on(door: Door, path: str, named: bool) -> None:
    sent = (await door.send()).json()
    stranger = tenants_key(door, to=door.keyring.globex)
    order = {"message_id": sent["id"], **WHY} if named else EVERYTHING
    extra = {"to_stream": "broadcast"} if path == "/move" else {}

    answer = await ask(door, "POST", path, stranger, json={**order, **extra})

    assert answer.json()["recipients"] == answer.json()["under_way"] == 0
    assert await states(door) == ["queued"]


async def test_another_tenants_mail_is_not_held_or_counted_or_seen(door: Door) -> None:
    sent = (await door.send()).json()
    stranger = tenants_key(door, to=door.keyring.globex)

    placed = (await hold(door, stranger, message_id=sent["id"])).json()
    everything = (await hold(door, stranger, everything=True)).json()
    counted = (await ask(door, "GET", "/count", stranger)).json()
    seen = (await ask(door, "GET", "", stranger)).json()
    explained = (await door.get(f"/v1/messages/{sent['id']}/explain")).json()

    assert placed["recipients"] == everything["recipients"] == counted["recipients"] == 0
    assert seen["rows"] == []
    assert "held" not in [o["kind"] for o in explained["recipients"][0]["obstacles"]]


async def test_another_tenants_holds_and_actions_are_not_there(door: Door) -> None:
    mine = (await hold(door, tenants_key(door), domain="a.example")).json()["id"]
    operators = (await hold(door, operators_key(door), domain="a.example")).json()["id"]
    stranger = tenants_key(door, to=door.keyring.globex)

    assert (await ask(door, "GET", "/holds", stranger)).json() == {"holds": []}
    assert (await ask(door, "GET", "/actions", stranger)).json()["actions"] == []
    for one in (mine, operators, UNKNOWN_HOLD, "hold_x"):
        for method in ("GET", "DELETE"):
            assert fault_of(await ask(door, method, f"/holds/{one}", stranger)) == (404, "not-found")
    assert len((await ask(door, "GET", "/holds", operators_key(door))).json()["holds"]) == 2


async def test_a_tenant_does_not_release_what_the_operator_holds(door: Door) -> None:
    placed = (await hold(door, operators_key(door), tenant="acme")).json()["id"]

    answer = await ask(door, "DELETE", f"/holds/{placed}", tenants_key(door))

    assert fault_of(answer) == (404, "not-found")
    assert len((await ask(door, "GET", "/holds", operators_key(door))).json()["holds"]) == 1


@pytest.mark.parametrize(
    ("method", "path", "said"),
    [
        ("GET", "?by=tenant", {}),
        ("GET", "/count?tenant=globex", {}),
        ("POST", "/holds", {"json": {"tenant": "globex", **WHY}}),
        ("POST", "/requeue", {"json": {"tenant": "globex", **WHY}}),
        ("POST", "/bounce", {"json": {"tenant": "globex", **WHY}}),
        ("POST", "/move", {"json": {"tenant": "globex", "to_stream": "broadcast", **WHY}}),
        ("POST", "/move", {"json": {**EVERYTHING, "to_pool": "spare"}}),
        ("POST", "/requeue", {"json": {**EVERYTHING, "faulty": True}}),
    ],
)
async def test_what_is_for_operators_is_refused_to_tenants(
    door: Door, method: str, path: str, said: dict[str, Any]
) -> None:
    assert fault_of(await ask(door, method, path, tenants_key(door), **said)) == (403, "forbidden")


@pytest.mark.parametrize(
    ("method", "path", "scopes"),
    [
        *(("GET", path, ("send", "manage")) for path in ("", "/count", "/holds", "/actions")),
        ("GET", f"/holds/{UNKNOWN_HOLD}", ("send", "manage")),
        ("DELETE", f"/holds/{UNKNOWN_HOLD}", ("send", "read")),
        *(("POST", path, ("send", "read")) for path in ("/holds", "/requeue", "/bounce", "/move")),
    ],
)
async def test_each_route_wants_its_scope(
    door: Door, method: str, path: str, scopes: tuple[str, ...]
) -> None:
    said = {"json": EVERYTHING} if method == "POST" else {}
    without = door.keyring.issue(scopes=scopes)

    assert fault_of(await ask(door, method, path, without, **said)) == (403, "forbidden")
    nobody = await door.client.request(method, f"{QUEUE}{path}", headers={"Authorization": ""}, **said)
    assert nobody.status_code == 401


async def test_an_operators_key_explains_any_message_and_reads_none(door: Door) -> None:
    sent = (await door.send()).json()
    key = operators_key(door)

    explained = await door.get(f"/v1/messages/{sent['id']}/explain", key=key)
    read = await door.get(f"/v1/messages/{sent['id']}", key=key)
    unknown = await door.get(f"/v1/messages/{ids.show('msg', 5)}/explain", key=key)

    assert explained.json()["id"] == sent["id"]
    assert fault_of(read) == (403, "forbidden")
    assert unknown.status_code == 404


async def test_no_key_makes_one_with_the_operators_scope(door: Door) -> None:
    """Not even one that has it: only the command does."""
    for key in (tenants_key(door), operators_key(door, scopes=("manage", "operate"))):
        wanted = {"name": "more", "scopes": ["operate"]}
        answer = await door.client.post("/v1/keys", json=wanted, headers=bearer(key))
        assert fault_of(answer) == (422, "invalid-field")


async def test_an_operators_key_is_listed_like_others(door: Door) -> None:
    made = door.keyring.issue(scopes=("read", "operate"))

    listed = (await door.get("/v1/keys", key=made)).json()["keys"]

    assert ["operate", "read"] in [key["scopes"] for key in listed]


# ---- limits


@pytest.mark.parametrize("path", ["/holds", "/requeue", "/bounce"])
async def test_a_key_limited_to_streams_names_one_of_them(door: Door, path: str) -> None:
    await door.send()
    key = door.furnished_key(streams=("news",), scopes=ALL)

    for order in (EVERYTHING, {"stream": "transactional", **WHY}):
        assert fault_of(await ask(door, "POST", path, key, json=order)) == (403, "key-limited")
    allowed = await ask(door, "POST", path, key, json={"stream": "news", **WHY})

    assert allowed.status_code in (200, 201)
    assert await states(door) == ["queued"]


@pytest.mark.parametrize("path", ["/holds", "/requeue", "/bounce"])
async def test_a_key_limited_to_sending_domains_acts_on_nothing(door: Door, path: str) -> None:
    key = door.furnished_key(domains=("acme.example",), scopes=ALL)

    assert fault_of(await ask(door, "POST", path, key, json=EVERYTHING)) == (403, "key-limited")


async def test_a_limited_key_does_not_release_a_wider_hold(door: Door) -> None:
    placed = (await hold(door, tenants_key(door), everything=True)).json()["id"]
    limited = door.furnished_key(streams=("news",), scopes=ALL)

    assert fault_of(await ask(door, "DELETE", f"/holds/{placed}", limited)) == (403, "key-limited")


@pytest.mark.parametrize("path", ["/holds", "/requeue", "/bounce"])
async def test_a_suspended_tenant_changes_nothing(door: Door, path: str) -> None:
    tenants.suspend(door.room.store, "acme")

    answer = await ask(door, "POST", path, tenants_key(door), json=EVERYTHING)

    assert fault_of(answer) == (403, "tenant-suspended")


# ---- what is asked


@pytest.mark.parametrize(
    "order",
    [
        WHY,
        {"everything": False, **WHY},
        {"domain": "a.example"},
        {"domain": "a..example", **WHY},
        {"domain": "a.example", "reason": ""},
        {"domain": "a.example", "reason": "two\nlines"},
        {"domain": "a.example", "reason": "x" * 501},
        {"message_id": "rcpt_0000000000005", **WHY},
        {"stream": "No Stream", **WHY},
        {"domain": "a.example", "until": "2001-01-01T00:00:00Z", **WHY},
        {"domain": "a.example", "until": "soon", **WHY},
        {"domain": "a.example", "colour": "red", **WHY},
        {"domain": None, "site": "mx:a.example", **WHY},
        {"everything": True, "tenant": None, **WHY},
    ],
)
async def test_an_order_that_says_nothing_clear_holds_nothing(door: Door, order: dict[str, Any]) -> None:
    answer = await ask(door, "POST", "/holds", tenants_key(door), json=order)

    assert fault_of(answer) == (422, "invalid-field")
    assert (await ask(door, "GET", "/holds", tenants_key(door))).json() == {"holds": []}


@pytest.mark.parametrize("status", ["4.2.2", "5.7", "5.01.1", "no"])
async def test_a_bounce_has_a_status_of_class_5(door: Door, status: str) -> None:
    answer = await ask(door, "POST", "/bounce", tenants_key(door), json={**EVERYTHING, "status": status})

    assert fault_of(answer) == (422, "invalid-field")


async def test_a_tenant_that_is_none_is_named_as_the_fault(door: Door) -> None:
    key = operators_key(door)

    counted = await ask(door, "GET", "/count", key, params={"tenant": "nobody"})
    held = await hold(door, key, tenant="nobody")

    assert counted.json()["errors"][0]["parameter"] == "tenant"
    assert held.json()["errors"][0]["pointer"] == "/tenant"
