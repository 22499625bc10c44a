"""/v1/keys: a tenant makes, rotates and revokes its keys, and none hands on more than it has."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from mailer import clock, ids
from mailer.identity import api_keys, tenants
from mailer.identity.keys import NewKey
from tests.accept.http.conftest import LETTER, Door, bearer

KEYS = "/v1/keys"
ALL = ("send", "read", "templates", "manage")
SHOP = {"name": "shop", "scopes": ["send"]}


def manager(door: Door, **change: Any) -> NewKey:
    return door.keyring.issue(**{"scopes": ALL, **change})


async def make(door: Door, by: NewKey, **change: Any) -> httpx.Response:
    return await door.client.post(KEYS, json={**SHOP, **change}, headers=bearer(by))


def fault_of(answer: httpx.Response) -> tuple[int, str, str | None]:
    problem = answer.json()
    [error] = problem.get("errors", [{}])
    return answer.status_code, problem["type"].removeprefix("/problems/"), error.get("pointer")


def shown(key: NewKey) -> str:
    return ids.show("key", key.key_id)


async def opens(door: Door, api_key: str) -> int:
    """The status of a message sent with the key."""
    headers = {"Authorization": f"Bearer {api_key}"}
    return (await door.client.post("/v1/messages", json=LETTER, headers=headers)).status_code


# ---- a key's life


async def test_a_new_key_is_shown_once_and_opens_what_it_may(door: Door) -> None:
    made = await make(door, manager(door))

    found = await door.get(made.headers["location"])
    key = made.json()
    text = key.pop("api_key")
    assert made.status_code == 201
    assert made.headers["location"] == f"{KEYS}/{key['id']}"
    assert made.headers["cache-control"] == "no-store"
    assert found.json() == key
    assert key | {"id": "", "created_at": ""} == {
        "id": "", "name": "shop", "scopes": ["send"], "streams": None, "domains": None, "state": "active",
        "created_at": "", "expires_at": None, "revoked_at": None,
    }  # fmt: skip
    assert await opens(door, text) == 202
    assert text not in (await door.get(KEYS)).text


async def test_keys_are_listed_the_newest_first_page_by_page(door: Door) -> None:
    by = manager(door)
    made = [(await make(door, by, name=f"k{n}")).json()["name"] for n in range(3)]

    first = (await door.get(f"{KEYS}?limit=2")).json()
    second = (await door.get(f"{KEYS}?limit=9&cursor={first['next_cursor']}")).json()
    assert [k["name"] for k in first["keys"] + second["keys"]] == [*made[::-1], "test", "test"]
    assert second["next_cursor"] is None


async def test_a_revoked_key_stays_in_the_list_and_opens_nothing(door: Door) -> None:
    by = manager(door)
    made = (await make(door, by)).json()

    revoked = [await door.client.delete(f"{KEYS}/{made['id']}", headers=bearer(by)) for _ in range(2)]

    assert [(r.status_code, r.json()["state"]) for r in revoked] == [(200, "revoked")] * 2
    assert revoked[0].json() == revoked[1].json() == (await door.get(f"{KEYS}/{made['id']}")).json()
    assert await opens(door, made["api_key"]) == 401


async def test_a_key_is_renamed(door: Door) -> None:
    by = manager(door)
    answer = await door.client.patch(f"{KEYS}/{shown(by)}", json={"name": " desk "}, headers=bearer(by))

    assert (answer.status_code, answer.json()["name"]) == (200, "desk")
    assert answer.json()["scopes"] == sorted(ALL)


async def test_a_key_expires(door: Door) -> None:
    soon = clock.now() + timedelta(days=1)
    made = (await make(door, manager(door), expires_at=soon.isoformat())).json()

    assert made["expires_at"] == soon.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert made["state"] == "active"


# ---- rotation


async def test_a_rotated_key_is_good_for_the_overlap_and_its_successor_has_its_rights(door: Door) -> None:
    by = manager(door)
    old = (await make(door, by, streams=["transactional"], domains=["ACME.example"])).json()

    rotated = await door.client.post(
        f"{KEYS}/{old['id']}/rotate", json={"overlap_seconds": 3600}, headers=bearer(by)
    )

    new, kept = rotated.json(), (await door.get(f"{KEYS}/{old['id']}")).json()
    rights = ("name", "scopes", "streams", "domains", "expires_at")
    assert (rotated.status_code, rotated.headers["location"]) == (201, f"{KEYS}/{new['id']}")
    assert [new[name] for name in rights] == ["shop", ["send"], ["transactional"], ["acme.example"], None]
    assert timedelta(minutes=59) < at(kept["expires_at"]) - clock.now() <= timedelta(hours=1)
    assert [await opens(door, key["api_key"]) for key in (old, new)] == [202, 202]


async def test_without_overlap_the_old_key_is_revoked(door: Door) -> None:
    by = manager(door)
    old = (await make(door, by)).json()

    rotated = await door.client.post(
        f"{KEYS}/{old['id']}/rotate", json={"overlap_seconds": 0}, headers=bearer(by)
    )

    assert (await door.get(f"{KEYS}/{old['id']}")).json()["state"] == "revoked"
    assert [await opens(door, key["api_key"]) for key in (old, rotated.json())] == [401, 202]


async def test_a_key_that_was_to_expire_is_followed_by_one_that_lives_as_long(door: Door) -> None:
    by = manager(door)
    week = timedelta(days=7)
    old = (await make(door, by, expires_at=(clock.now() + week).isoformat())).json()

    new = (await door.client.post(f"{KEYS}/{old['id']}/rotate", headers=bearer(by))).json()

    assert timedelta(0) < week - (at(new["expires_at"]) - at(new["created_at"])) < timedelta(minutes=1)
    assert at((await door.get(f"{KEYS}/{old['id']}")).json()["expires_at"]) < at(new["expires_at"])


async def test_a_key_rotates_itself_with_an_overlap_only(door: Door) -> None:
    by = manager(door)
    path = f"{KEYS}/{shown(by)}/rotate"

    at_once = await door.client.post(path, json={"overlap_seconds": 0}, headers=bearer(by))
    in_a_day = await door.client.post(path, headers=bearer(by))

    assert fault_of(at_once) == (409, "conflict", "/overlap_seconds")
    assert in_a_day.json()["scopes"] == sorted(ALL)


async def test_a_revoked_key_has_no_successor(door: Door) -> None:
    by = manager(door)
    old = (await make(door, by)).json()
    await door.client.delete(f"{KEYS}/{old['id']}", headers=bearer(by))

    answer = await door.client.post(f"{KEYS}/{old['id']}/rotate", headers=bearer(by))

    assert fault_of(answer) == (409, "conflict", None)


# ---- what a key may hand on


@pytest.mark.parametrize(
    ("own", "asked", "fault"),
    [
        ({"scopes": ("manage",)}, {"scopes": ["send"]}, (403, "forbidden", "/scopes")),
        ({"scopes": ("manage", "send")}, {}, None),
        ({"streams": ("news",)}, {}, (403, "key-limited", "/streams")),
        ({"streams": ("news",)}, {"streams": ["transactional"]}, (403, "key-limited", "/streams")),
        ({"streams": ("news",)}, {"streams": ["news"]}, None),
        ({"domains": ("acme.test",)}, {}, (403, "key-limited", "/domains")),
        ({"domains": ("acme.test",)}, {"domains": ["acme.example"]}, (403, "key-limited", "/domains")),
        ({"domains": ("acme.test", "b.test")}, {"domains": ["acme.test"]}, None),
    ],
)  # fmt: skip
async def test_a_key_hands_on_no_more_than_it_has(
    door: Door, own: dict[str, Any], asked: dict[str, Any], fault: tuple[int, str, str] | None
) -> None:
    by = door.furnished_key(**{"scopes": ALL, **own})

    answer = await make(door, by, **asked)

    assert (answer.status_code if fault is None else fault_of(answer)) == (fault or 201)


@pytest.mark.parametrize(
    "limits", [{"scopes": ("manage",)}, {"streams": ("news",)}, {"domains": ("acme.test",)}]
)
@pytest.mark.parametrize(
    ("method", "suffix", "body"),
    [("POST", "/rotate", None), ("DELETE", "", None), ("PATCH", "", {"name": "mine"})],
)
async def test_a_key_changes_no_key_that_may_do_more(
    door: Door, limits: dict[str, Any], method: str, suffix: str, body: object
) -> None:
    victim = manager(door)
    by = door.furnished_key(**{"scopes": ALL, **limits})

    answer = await door.client.request(
        method, f"{KEYS}/{shown(victim)}{suffix}", json=body, headers=bearer(by)
    )

    key = (await door.get(f"{KEYS}/{shown(victim)}")).json()
    assert answer.status_code == 403
    assert "api_key" not in answer.text
    assert (key["state"], key["name"], key["expires_at"]) == ("active", "test", None)


async def test_a_key_cannot_revoke_itself(door: Door) -> None:
    by = manager(door)
    answer = await door.client.delete(f"{KEYS}/{shown(by)}", headers=bearer(by))

    assert fault_of(answer) == (409, "conflict", None)
    assert (await door.get(KEYS, key=by)).status_code == 200


async def test_a_key_that_was_revoked_a_moment_ago_makes_no_other(door: Door) -> None:
    by = manager(door)
    await make(door, by)  # the door has seen it now, and believes in it for a second
    api_keys.revoke(door.room.store, by.key_id, now=clock.now())

    answer = await make(door, by)

    assert fault_of(answer) == (403, "forbidden", None)


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"name": ""}, "/name"),
        ({"name": " "}, "/name"),
        ({"name": "a\nb"}, "/name"),
        ({"name": "\x00"}, "/name"),
        ({"scopes": []}, "/scopes"),
        ({"scopes": ["admin"]}, "/scopes/0"),
        ({"scopes": "send"}, "/scopes"),
        ({"streams": []}, "/streams"),
        ({"streams": ["transactional", "none"]}, "/streams/1"),
        ({"streams": ["\x00"]}, "/streams/0"),
        ({"domains": ["globex.example"]}, "/domains/0"),
        ({"domains": ["acme.example", "not a domain"]}, "/domains/1"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "/expires_at"),
        ({"expires_at": 1893456000}, "/expires_at"),
        ({"expires_at": "2030-01-01"}, "/expires_at"),
        ({"expires_at": "9999-12-31T23:59:59-23:59"}, "/expires_at"),
        ({"scope": ["send"]}, "/scope"),
    ],
)
async def test_what_is_wrong_with_a_key_is_pointed_at(
    door: Door, change: dict[str, Any], pointer: str
) -> None:
    answer = await make(door, manager(door), **change)

    assert fault_of(answer) == (422, "invalid-field", pointer)


@pytest.mark.parametrize("overlap", [-1, 30 * 86400 + 1, "60", 1.5, True, None])
async def test_an_overlap_is_whole_seconds_up_to_a_month(door: Door, overlap: object) -> None:
    by = manager(door)
    answer = await door.client.post(
        f"{KEYS}/{shown(by)}/rotate", json={"overlap_seconds": overlap}, headers=bearer(by)
    )

    assert fault_of(answer) == (422, "invalid-field", "/overlap_seconds")


# ---- who may


def requests(key_id: str) -> list[tuple[str, str, object]]:
    return [
        ("POST", KEYS, SHOP),
        ("PATCH", f"{KEYS}/{key_id}", {"name": "mine"}),
        ("DELETE", f"{KEYS}/{key_id}", None),
        ("POST", f"{KEYS}/{key_id}/rotate", None),
    ]


@pytest.mark.parametrize("n", range(4))
async def test_changes_need_the_scope_manage_and_a_tenant_that_is_not_suspended(door: Door, n: int) -> None:
    victim = manager(door)
    method, path, body = requests(shown(victim))[n]
    nobody = await door.client.request(method, path, json=body, headers={"Authorization": ""})
    sender = await door.client.request(method, path, json=body)
    by = manager(door)
    tenants.suspend(door.room.store, "acme")
    suspended = await door.client.request(method, path, json=body, headers=bearer(by))

    looking = await door.get(KEYS, key=door.keyring.issue())
    assert [fault_of(a)[1] for a in (nobody, sender, suspended)] == [
        "unauthenticated", "forbidden", "tenant-suspended",
    ]  # fmt: skip
    assert looking.status_code == 200
    assert {(k["name"], k["state"], k["expires_at"]) for k in looking.json()["keys"]} == {
        ("test", "active", None)
    }


async def test_a_key_that_may_only_send_sees_no_keys(door: Door) -> None:
    key = door.keyring.issue(scopes=("send",))
    answers = [await door.get(path, key=key) for path in (KEYS, f"{KEYS}/{shown(key)}")]

    assert [a.status_code for a in answers] == [403, 403]


@pytest.mark.parametrize("n", range(1, 4))
async def test_another_tenants_key_is_not_there(door: Door, n: int) -> None:
    victim, by = manager(door), manager(door, to=door.keyring.globex)
    method, path, body = requests(shown(victim))[n]
    _, unheard_of, _ = requests(ids.show("key", 5))[n]

    answer = await door.client.request(method, path, json=body, headers=bearer(by))
    unknown = await door.client.request(method, unheard_of, json=body, headers=bearer(by))
    looked = await door.get(f"{KEYS}/{shown(victim)}", key=by)
    listed = await door.get(KEYS, key=by)

    assert fault_of(answer) == fault_of(unknown) == fault_of(looked) == (404, "not-found", None)
    assert answer.json()["detail"] == unknown.json()["detail"]
    assert [k["id"] for k in listed.json()["keys"]] == [shown(by)]
    assert (await door.get(f"{KEYS}/{shown(victim)}")).json()["state"] == "active"


@pytest.mark.parametrize("word", ["5", "key_", "msg_0000000000005", "key_zzzzzzzzzzzzz", "%00"])
async def test_what_is_no_id_of_a_key_is_not_found(door: Door, word: str) -> None:
    answer = await door.get(f"{KEYS}/{word}")

    assert fault_of(answer) == (404, "not-found", None)


# ---- limits hold at the door


async def test_a_limited_key_sends_within_its_limits_only(door: Door) -> None:
    text = door.furnished_key(
        streams=("news",), domains=("acme.test",), scopes=("send",)
    ).text  # fmt: skip
    headers = {"Authorization": f"Bearer {text}"}
    letter = {**LETTER, "from": "shop@acme.test", "stream": "news"}
    bodies = [letter, {**letter, "stream": "transactional"}, {**letter, "from": LETTER["from"]}]

    answers = [await door.client.post("/v1/messages", json=body, headers=headers) for body in bodies]

    assert answers[0].status_code == 202
    assert fault_of(answers[1]) == (403, "key-limited", "/stream")
    assert fault_of(answers[2]) == (403, "key-limited", "/from")
    assert "acme.test only" in answers[2].json()["detail"]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)
