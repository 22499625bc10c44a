"""/v1/suppressions: whom a tenant does not send to."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import pytest

from mailer import clock, ids
from mailer.queue import resuming, stopping, suppressionlist, verify
from mailer.queue.suppressing import EVERY_STREAM, EVERYBODY, Suppressing
from mailer.queue.suppressionentries import OPERATOR, Entry
from tests.accept.http.conftest import LETTER, Door, bearer
from tests.support.mailroom import KEYS

LISTS = "/v1/suppressions"
ALL = ("send", "read", "manage")
SEND_TIME = (clock.now() + timedelta(days=1)).isoformat(timespec="seconds")


def key_of(door: Door, **change: Any) -> dict[str, str]:
    return bearer(door.keyring.issue(**{"scopes": ALL, **change}))


async def add(door: Door, target: str = "ada@example.org", **more: Any) -> httpx.Response:
    headers = more.pop("headers", None) or key_of(door)
    return await door.client.post(LISTS, json={"target": target, **more}, headers=headers)


async def listed(door: Door, **query: Any) -> list[str]:
    answer = await door.client.get(LISTS, params=query)
    assert answer.status_code == 200, answer.text
    return [entry["target"] for entry in answer.json()["suppressions"]]


def fault_of(answer: httpx.Response) -> tuple[int, str, str | None]:
    problem = answer.json()
    [error] = problem.get("errors", [{}])
    return answer.status_code, problem["type"].removeprefix("/problems/"), error.get("pointer")


async def states(door: Door, accepted: httpx.Response) -> list[tuple[str, str]]:
    found = await door.get(f"/v1/messages/{accepted.json()['id']}")
    return [(r["address"], r["state"]) for r in found.json()["recipients"]]


async def test_an_entry_says_what_it_is(door: Door) -> None:
    made = await add(door, "Ada@Example.org", stream="transactional", note="asked by telephone")

    found = await door.get(made.headers["location"])
    assert made.status_code == 201
    assert found.json() == made.json()
    entry = made.json()
    assert (entry["target"], entry["stream"], entry["reason"], entry["cause"], entry["note"]) == (
        "ada@example.org", "transactional", "manual", "api", "asked by telephone",
    )  # fmt: skip
    assert entry["added_by"].startswith("key_")
    assert entry["expires_at"] is None


async def test_a_repeat_answers_what_stands(door: Door) -> None:
    first, second = await add(door, note="one"), await add(door, "ADA@example.org", note="two")

    assert second.status_code == 201
    assert second.json() == first.json()


async def test_who_is_on_the_list_is_accepted_and_suppressed_at_once(door: Door) -> None:
    await add(door)

    accepted = await door.send({**LETTER, "to": ["Ada@example.org", "bob@example.org"]})

    assert accepted.status_code == 202
    assert await states(door, accepted) == [("Ada@example.org", "suppressed"), ("bob@example.org", "queued")]
    door.number_events()
    events = (await door.get("/v1/events")).json()["events"]
    [told] = [e for e in events if e["type"] == "suppressed"]
    assert told["data"]["reason"] == "manual"
    assert told["data"]["suppression_id"].startswith("sup_")
    assert verify.verify(door.room.store).holds


@pytest.mark.parametrize("target", ["example.org", "*.example.org", "*.org.example"])
async def test_domains_and_what_is_beneath(door: Door, target: str) -> None:
    await add(door, target)

    accepted = await door.send({**LETTER, "to": ["ada@example.org", "eve@a.org.example"]})

    expected = {"*.org.example": ["queued", "suppressed"]}.get(target, ["suppressed", "queued"])
    assert [state for _, state in await states(door, accepted)] == expected


async def test_an_entry_of_a_stream_spares_the_others(door: Door) -> None:
    key = key_of(door)
    await door.client.post("/v1/streams", json={"name": "news", "kind": "broadcast"}, headers=key)
    await add(door, stream="news")

    transactional, news = await door.send(), await door.send({**LETTER, "stream": "news"})

    assert await states(door, transactional) == [("ada@example.org", "queued")]
    assert await states(door, news) == [("ada@example.org", "suppressed")]


async def test_a_list_is_the_tenants_own(door: Door) -> None:
    made = await add(door)
    other = door.keyring.issue(to=door.keyring.globex, scopes=ALL)

    assert (await door.get(LISTS, key=other)).json()["suppressions"] == []
    assert (await door.get(made.headers["location"], key=other)).status_code == 404
    gone = await door.client.delete(made.headers["location"], headers=bearer(other))
    assert gone.status_code == 404
    assert await listed(door) == ["ada@example.org"]


async def test_the_operators_entries_stop_mail_and_are_shown_to_nobody(door: Door) -> None:
    entry = Entry(
        target=KEYS.domain("example.org"), tenant_id=EVERYBODY, stream_id=EVERY_STREAM, id=door.room.new_id(),
        reason="manual", cause=OPERATOR, created_at=clock.now(),
    )  # fmt: skip
    suppressionlist.add(door.room.store, entry, new_id=door.room.new_id)

    accepted = await door.send()

    assert await states(door, accepted) == [("ada@example.org", "suppressed")]
    assert await listed(door) == []
    assert (await door.get(f"{LISTS}/{ids.show('sup', entry.id)}")).status_code == 404


async def test_pages_and_filters(door: Door) -> None:
    for target in ("ada@example.org", "adam@example.net", "bob@example.org", "example.org"):
        await add(door, target)
    await add(door, "eve@example.org", stream="transactional")

    first = (await door.client.get(LISTS, params={"limit": 2})).json()
    second = (await door.client.get(LISTS, params={"limit": 9, "cursor": first["next_cursor"]})).json()

    both = [*first["suppressions"], *second["suppressions"]]
    assert [e["target"] for e in both] == [
        "eve@example.org", "example.org", "bob@example.org", "adam@example.net", "ada@example.org",
    ]  # fmt: skip
    assert second["next_cursor"] is None
    assert await listed(door, search="ADA") == ["adam@example.net", "ada@example.org"]
    assert await listed(door, search="ada@EXAMPLE") == ["ada@example.org"]
    assert await listed(door, domain="example.net") == ["adam@example.net"]
    assert await listed(door, stream="transactional") == ["eve@example.org"]
    assert await listed(door, reason="complaint") == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"target": "nobody"}, (422, "invalid-field", "/target")),
        ({"target": "a@b@c"}, (422, "invalid-field", "/target")),
        ({"stream": "missing"}, (422, "unknown-stream", "/stream")),
        ({"stream": None}, (422, "invalid-field", "/stream")),
        ({"expires_at": "2020-01-01T00:00:00Z"}, (422, "invalid-field", "/expires_at")),
        ({"reason": "complaint"}, (422, "invalid-field", "/reason")),
        ({"note": "a\nb"}, (422, "invalid-field", "/note")),
    ],
)
async def test_what_is_wrong_is_pointed_at(
    door: Door, change: dict[str, Any], expected: tuple[int, str, str]
) -> None:
    answer = await door.client.post(LISTS, json={"target": "ada@example.org", **change}, headers=key_of(door))

    assert fault_of(answer) == expected


async def test_a_key_needs_the_scope(door: Door) -> None:
    answers = [
        await add(door, headers=key_of(door, scopes=("send", "read"))),
        await door.get(LISTS, key=door.keyring.issue(scopes=("send",))),
    ]

    assert [answer.status_code for answer in answers] == [403, 403]


async def test_a_key_of_a_stream_keeps_to_it(door: Door) -> None:
    whole = (await add(door)).headers["location"]
    limited = bearer(door.furnished_key(streams=("news",), scopes=ALL))

    everything = await add(door, "bob@example.org", headers=limited)
    own = await add(door, "bob@example.org", stream="news", headers=limited)
    foreign = await door.client.delete(whole, headers=limited)

    assert fault_of(everything)[:2] == fault_of(foreign)[:2] == (403, "key-limited")
    assert own.status_code == 201


async def test_what_was_stopped_is_sent_again_when_it_is_asked(door: Door) -> None:
    waiting = await door.send({**LETTER, "send_at": SEND_TIME})
    made = await add(door)
    room = door.room
    means = Suppressing(KEYS, room.worker.process_number)
    while stopping.stop_waiting(room.store, means, new_id=room.new_id, now=clock.now()):
        pass
    stopped = await states(door, waiting)
    refused = await door.send()

    gone = await door.client.delete(
        made.headers["location"], params={"send_again": "true"}, headers=key_of(door)
    )
    while resuming.send_again(
        room.store, new_id=room.new_id, process_number=room.worker.process_number, now=clock.now()
    ):
        pass

    assert stopped == [("ada@example.org", "suppressed")]
    assert gone.json() == {"sent_again": 2}
    for one in (waiting, refused):
        assert sorted(state for _, state in await states(door, one)) == ["queued", "suppressed"]
    assert (await door.get(made.headers["location"])).status_code == 404
    assert verify.verify(room.store).holds


async def test_a_list_goes_out_and_comes_in_again(door: Door) -> None:
    await add(door, "ada@example.org", note='said "no", twice')
    await add(door, "*.example.net")

    exported = await door.get(f"{LISTS}/export")
    answer = await door.client.post(
        f"{LISTS}/import", content=exported.content + b"nonsense\r\nbob@example.org\r\n",
        headers={**key_of(door), "Content-Type": "text/csv; charset=utf-8"},
    )  # fmt: skip

    assert exported.headers["content-type"].startswith("text/csv")
    assert answer.status_code == 200, answer.text
    assert {k: v for k, v in answer.json().items() if k != "faults"} == {"added": 1, "known": 2, "refused": 1}
    assert [fault["line"] for fault in answer.json()["faults"]] == [4]
    assert await listed(door) == ["bob@example.org", "*.example.net", "ada@example.org"]


@pytest.mark.parametrize(
    ("content", "kind", "expected"),
    [
        (b"name\r\nada@example.org\r\n", "text/csv", (400, "malformed-request")),
        (b"address\r\n\xff@example.org\r\n", "text/csv", (400, "malformed-request")),
        (b"", "text/csv", (400, "malformed-request")),
        (b"address\r\n", "application/json", (415, "unsupported-media-type")),
    ],
)
async def test_what_is_no_list_is_refused(
    door: Door, content: bytes, kind: str, expected: tuple[int, str]
) -> None:
    answer = await door.client.post(
        f"{LISTS}/import", content=content, headers={**key_of(door), "Content-Type": kind}
    )

    assert fault_of(answer)[:2] == expected


async def test_broadcast_spares_addresses_of_tasks_unless_its_stream_takes_them(door: Door) -> None:
    key, letter = key_of(door), {**LETTER, "to": ["Postmaster@example.org", "ada@example.org"]}
    await door.client.post("/v1/streams", json={"name": "news", "kind": "broadcast"}, headers=key)

    spared = await door.send({**letter, "stream": "news"})
    changed = await door.client.patch("/v1/streams/news", json={"role_accounts": True}, headers=key)
    taken = await door.send({**letter, "stream": "news"})
    transactional = await door.send(letter)

    assert [state for _, state in await states(door, spared)] == ["suppressed", "queued"]
    assert changed.json()["role_accounts"] is True
    assert [state for _, state in await states(door, taken)] == ["queued", "queued"]
    assert [state for _, state in await states(door, transactional)] == ["queued", "queued"]
    door.number_events()
    [told] = [e for e in (await door.get("/v1/events")).json()["events"] if e["type"] == "suppressed"]
    assert told["data"]["reason"] == "role-account"
    assert verify.verify(door.room.store).holds
