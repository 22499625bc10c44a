"""/v1/streams: a tenant keeps its kinds of mail apart; an archived stream takes nothing more."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from mailer import clock, ids
from mailer.identity import tenants
from mailer.identity.keys import NewKey
from mailer.identity.streams import MOST
from mailer.store.tables import recipient
from tests.accept.http.conftest import LETTER, Door, bearer

STREAMS = "/v1/streams"
NEWS = {"name": "news", "kind": "broadcast"}
ALL = ("send", "read", "manage")
SEND_TIME = (clock.now() + timedelta(days=1)).isoformat(timespec="seconds")
OWN_DEADLINE = (clock.now() + timedelta(days=10)).isoformat(timespec="seconds")


def key_of(door: Door, **change: Any) -> dict[str, str]:
    return bearer(door.keyring.issue(**{"scopes": ALL, **change}))


async def make(door: Door, body: object = NEWS, *, key: dict[str, str] | None = None) -> httpx.Response:
    return await door.client.post(STREAMS, json=body, headers=key or key_of(door))


def fault_of(answer: httpx.Response) -> tuple[int, str, str | None]:
    problem = answer.json()
    [error] = problem.get("errors", [{}])
    return answer.status_code, problem["type"].removeprefix("/problems/"), error.get("pointer")


async def test_a_tenant_starts_with_two_streams(door: Door) -> None:
    answer = await door.get(STREAMS, key=door.keyring.issue(to=door.keyring.globex))

    assert [(s["name"], s["kind"], s["in_doubt"], s["state"]) for s in answer.json()["streams"]] == [
        ("transactional", "transactional", "retry", "active"),
        ("broadcast", "broadcast", "retry", "active"),
    ]


async def test_a_new_stream_is_sent_to_at_once(door: Door) -> None:
    made = await make(door)
    accepted = await door.send({**LETTER, "stream": "news"})

    found = await door.get(made.headers["location"])
    assert (made.status_code, made.headers["location"]) == (201, "/v1/streams/news")
    assert found.json() == made.json()
    assert (made.json()["in_doubt"], made.json()["state"]) == ("retry", "active")
    assert accepted.status_code == 202


async def test_what_follows_doubt_is_changed_for_what_waits_too(door: Door) -> None:
    await door.send()

    answer = await door.client.patch(
        f"{STREAMS}/transactional", json={"in_doubt": "give-up"}, headers=key_of(door)
    )

    assert (answer.status_code, answer.json()["in_doubt"]) == (200, "give-up")
    assert [c.on_doubt for c in door.room.claim()] == ["give-up"]


async def test_an_archived_stream_takes_nothing_more_and_what_waits_is_delivered(door: Door) -> None:
    key = key_of(door)
    await make(door)
    await door.send({**LETTER, "stream": "news"})

    archived = [await door.client.delete(f"{STREAMS}/news", headers=key) for _ in range(2)]
    refused = await door.send({**LETTER, "stream": "news"})
    claimed = door.room.claim()
    restored = [await door.client.post(f"{STREAMS}/news/restore", headers=key) for _ in range(2)]
    again = await door.send({**LETTER, "stream": "news"})

    assert [(a.status_code, a.json()["state"]) for a in archived] == [(200, "archived")] * 2
    assert fault_of(refused) == (422, "stream-archived", "/stream")
    assert len(claimed) == 1
    assert [(a.status_code, a.json()["state"]) for a in restored] == [(200, "active")] * 2
    assert again.status_code == 202


async def test_the_stream_that_is_sent_to_by_default_stays(door: Door) -> None:
    answer = await door.client.delete(f"{STREAMS}/transactional", headers=key_of(door))

    assert fault_of(answer) == (409, "conflict", None)
    assert (await door.send()).status_code == 202


async def test_a_name_is_taken_once_also_by_an_archived_stream(door: Door) -> None:
    key = key_of(door)
    await make(door, key=key)
    await door.client.delete(f"{STREAMS}/news", headers=key)

    answer = await make(door, key=key)

    assert fault_of(answer) == (409, "name-taken", "/name")
    assert "an archived stream" in answer.json()["detail"]


async def test_a_tenant_has_a_limited_number_of_streams(door: Door) -> None:
    key = key_of(door)
    answers = [await make(door, {**NEWS, "name": f"s{n}"}, key=key) for n in range(MOST)]

    assert {a.status_code for a in answers[:-1]} == {201}  # the mailroom has one already
    assert fault_of(answers[-1]) == (409, "limit-reached", None)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": "news"}, "/kind"),
        ({"name": "News", "kind": "broadcast"}, "/name"),
        ({"name": "a/b", "kind": "broadcast"}, "/name"),
        ({"name": "a\n", "kind": "broadcast"}, "/name"),
        ({"name": "x" * 101, "kind": "broadcast"}, "/name"),
        ({"name": 5, "kind": "broadcast"}, "/name"),
        ({"name": "news", "kind": "bulk"}, "/kind"),
        ({"name": "news", "kind": "broadcast", "in_doubt": "maybe"}, "/in_doubt"),
        ({"name": "news", "kind": "broadcast", "x/y~": 1}, "/x~1y~0"),
        ([], ""),
    ],
)
async def test_what_is_no_stream_is_pointed_at(door: Door, body: object, pointer: str) -> None:
    answer = await make(door, body)

    assert fault_of(answer) == (422, "invalid-field", pointer)


@pytest.mark.parametrize(
    ("content", "media_type", "status", "fault"),
    [
        (b"{", "application/json", 400, "malformed-request"),
        (b"\xff", "application/json", 400, "malformed-request"),
        (b"[" * 50_000, "application/json", 400, "malformed-request"),
        (b'{"name": "news", "kind": "broadcast"}', "text/plain", 415, "unsupported-media-type"),
        (b"", "application/json", 422, "invalid-field"),
        (b'{"name": "\\ud800", "kind": "broadcast"}', "application/json", 422, "invalid-field"),
        (b'{"name": "a", "kind": "broadcast", "\\ud800": 1}', "application/json", 422, "invalid-field"),
        (b'{"name": "a", "kind": NaN}', "application/json", 422, "invalid-field"),
        (b" " * 70_000, "application/json", 413, "request-too-large"),
    ],
)
async def test_a_body_that_cannot_be_read_is_refused(
    door: Door, content: bytes, media_type: str, status: int, fault: str
) -> None:
    headers = {**key_of(door), "Content-Type": media_type}
    answer = await door.client.post(STREAMS, content=content, headers=headers)

    assert fault_of(answer)[:2] == (status, fault)


# ---- who may


CHANGES = [
    ("POST", STREAMS, {"name": "fresh", "kind": "broadcast"}),
    ("PATCH", f"{STREAMS}/news", {"in_doubt": "give-up"}),
    ("DELETE", f"{STREAMS}/news", None),
    ("POST", f"{STREAMS}/news/restore", None),
]


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
async def test_changes_need_the_scope_manage_and_a_tenant_that_is_not_suspended(
    door: Door, method: str, path: str, body: object
) -> None:
    await make(door)
    before = (await door.get(STREAMS)).json()
    nobody = await door.client.request(method, path, json=body, headers={"Authorization": ""})
    sender = await door.client.request(method, path, json=body)
    tenants.suspend(door.room.store, "acme")
    suspended = await door.client.request(method, path, json=body, headers=key_of(door))

    looking = await door.get(STREAMS, key=door.keyring.issue())
    assert fault_of(nobody)[:2] == (401, "unauthenticated")
    assert fault_of(sender)[:2] == (403, "forbidden")
    assert fault_of(suspended)[:2] == (403, "tenant-suspended")
    assert (looking.status_code, looking.json()) == (200, before)


@pytest.mark.parametrize(("method", "path", "body"), [("GET", f"{STREAMS}/news", None), *CHANGES[1:]])
async def test_another_tenants_stream_is_not_there(door: Door, method: str, path: str, body: object) -> None:
    await make(door)
    stranger = key_of(door, to=door.keyring.globex)

    answer = await door.client.request(method, path, json=body, headers=stranger)
    unknown = await door.client.request(
        method, path.replace("news", "unheard-of"), json=body, headers=stranger
    )

    assert fault_of(answer) == (404, "not-found", None)
    assert {**answer.json(), "request_id": ""} == {**unknown.json(), "request_id": ""}
    assert (await door.get(f"{STREAMS}/news")).json()["state"] == "active"


async def test_tenants_may_name_their_streams_alike(door: Door) -> None:
    answers = [await make(door), await make(door, key=key_of(door, to=door.keyring.globex))]

    assert [a.status_code for a in answers] == [201, 201]


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
async def test_a_key_limited_to_certain_streams_changes_no_others(
    door: Door, method: str, path: str, body: object
) -> None:
    await make(door)
    limited: NewKey = door.furnished_key(streams=("other",), scopes=ALL)

    answer = await door.client.request(method, path, json=body, headers=bearer(limited))

    assert fault_of(answer) == (403, "key-limited", None)


async def test_a_key_limited_to_certain_streams_changes_those(door: Door) -> None:
    limited = door.furnished_key(streams=("other",), scopes=ALL)

    answer = await door.client.delete(f"{STREAMS}/other", headers=bearer(limited))

    assert answer.json()["state"] == "archived"


async def test_what_is_no_name_of_a_stream_is_not_found(door: Door) -> None:
    answers = [await door.get(f"{STREAMS}/{name}") for name in ("%00", "A", "%F0%9F%93%AC", "x" * 300)]

    assert [fault_of(a)[:2] for a in answers] == [(404, "not-found")] * 4


async def test_a_stream_wants_tls_for_what_waits_too(door: Door) -> None:
    await door.send()
    key = key_of(door)
    place = f"{STREAMS}/transactional"

    before = await door.client.get(place, headers=key)
    strict = await door.client.patch(place, json={"tls": "required"}, headers=key)
    claimed = door.room.claim()
    doubt = await door.client.patch(place, json={"in_doubt": "give-up"}, headers=key)
    loose = await door.client.patch(place, json={"tls": "opportunistic"}, headers=key)

    assert [a.json()["tls"] for a in (before, strict, doubt, loose)] == [
        "opportunistic", "required", "required", "opportunistic",
    ]  # fmt: skip
    assert loose.json()["in_doubt"] == "give-up"
    assert [c.stream_tls for c in claimed] == ["required"]


async def test_a_new_stream_may_want_tls(door: Door) -> None:
    made = await make(door, {**NEWS, "tls": "encrypted"})
    refused = await make(door, {**NEWS, "name": "other", "tls": "requiretls"})

    assert (made.status_code, made.json()["tls"]) == (201, "encrypted")
    assert fault_of(refused) == (422, "invalid-field", "/tls")


async def test_nobody_changes_what_another_tenants_stream_wants(door: Door) -> None:
    await make(door)
    theirs = bearer(door.keyring.issue(to=door.keyring.globex, scopes=ALL))

    answer = await door.client.patch(f"{STREAMS}/news", json={"tls": "required"}, headers=theirs)

    assert answer.status_code == 404
    assert (await door.get(f"{STREAMS}/news")).json()["tls"] == "opportunistic"


async def test_mail_of_a_stream_with_a_deadline_has_it_from_its_send_time(door: Door) -> None:
    place, key = f"{STREAMS}/transactional", key_of(door)
    before = await door.send()
    changed = await door.client.patch(place, json={"expires_after": 600}, headers=key)
    sent = [
        await door.send({**LETTER, "subject": "none of its own"}),
        await door.send({**LETTER, "subject": "its own", "expires_at": OWN_DEADLINE}),
        await door.send({**LETTER, "subject": "later", "send_at": SEND_TIME}),
    ]
    unlimited = await door.client.patch(place, json={"expires_after": 0}, headers=key)
    sent.append(await door.send({**LETTER, "subject": "as long as it is retried"}))

    ends = [(await lives(door, answer)) for answer in [before, *sent]]
    assert (changed.json()["expires_after"], unlimited.json()["expires_after"]) == (600, 0)
    assert ends == [None, 600.0, 86400.0 * 10, 600.0, None]


async def lives(door: Door, answer: httpx.Response) -> float | None:
    """Seconds from a message's first due time to its deadline; ten days for OWN_DEADLINE."""
    assert answer.status_code == 202, answer.text
    with door.room.store.read() as connection:
        wanted = select(recipient.c.first_due_at, recipient.c.expires_at).where(
            recipient.c.message_id == ids.parse("msg", answer.json()["id"])
        )
        [(due, ends)] = connection.execute(wanted).all()
    if ends is None:
        return None
    return 864000.0 if ends == datetime.fromisoformat(OWN_DEADLINE) else (ends - due).total_seconds()


async def test_a_dry_run_tells_the_deadline_that_the_stream_would_give(door: Door) -> None:
    await make(door, {**NEWS, "expires_after": 3600})
    letter = {**LETTER, "stream": "news"}

    told = await door.client.post("/v1/messages/validate", json=letter, headers=key_of(door))

    assert told.json()["valid"], told.text
    assert told.json()["message"]["expires_at"] is not None


@pytest.mark.parametrize("seconds", [-1, 2_592_001, 1.5, "soon"])
async def test_a_deadline_out_of_bounds_is_pointed_at(door: Door, seconds: object) -> None:
    refused = await make(door, {**NEWS, "expires_after": seconds})

    assert fault_of(refused) == (422, "invalid-field", "/expires_after")
    assert (await door.get(f"{STREAMS}/news")).status_code == 404
