"""POST /v1/messages/batch: every message is answered for itself, and a repeat completes what is missing."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from mailer.accept.budget import ByteBudget
from mailer.accept.committer import Prepared
from mailer.accept.http.app import HttpParts, create_app
from mailer.accept.submission import Fault, Receipt, Submission, SubmissionError
from mailer.identity import tenants
from mailer.queue import verify
from mailer.store import Store
from mailer.store.tables import idempotency, message, recipient
from tests.accept.http.conftest import LETTER, Door, Keyring, bearer

MESSAGE = {"from": "Shop <shop@acme.example>", "subject": "Hi {{ name }}", "text": "Order {{ order.number }}"}


def person(n: int, **changed: Any) -> dict[str, Any]:
    data = {"name": f"Ann {n}", "order": {"number": n}}
    return {"to": f"user{n}@example.org", "data": data, **changed}


def letters(number: int) -> dict[str, Any]:
    return {"messages": [{**LETTER, "to": f"user{n}@example.org", "subject": f"{n}"} for n in range(number)]}


async def post(door: Door, body: Any, **headers: str) -> httpx.Response:
    return await door.client.post("/v1/messages/batch", json=body, headers=headers)


def outcome(answer: httpx.Response) -> list[tuple[str, str, list[str]] | str]:
    """Of each result: accepted, or the fault and what it points at."""
    assert answer.status_code == 200
    told = answer.json()
    found: list[Any] = []
    for result in told["results"]:
        if result["status"] == "accepted":
            found.append("replayed" if result.get("replayed") else "accepted")
        else:
            problem = result["problem"]
            pointers = [error["pointer"] for error in problem.get("errors", ())]
            found.append((problem["type"].removeprefix("/problems/"), problem["status"], pointers))
    assert told["accepted"] == sum(isinstance(one, str) for one in found)
    assert told["accepted"] + told["refused"] == len(found)
    return found


def subjects(store: Store) -> list[str]:
    with store.read() as c:
        return [row.subject for row in c.execute(select(message.c.subject).order_by(message.c.id))]


def addresses(store: Store) -> list[str]:
    with store.read() as c:
        return [row.address for row in c.execute(select(recipient.c.address).order_by(recipient.c.id))]


# ---- two forms


async def test_different_messages_are_accepted_in_order(door: Door) -> None:
    answer = await post(door, letters(250))

    results = answer.json()["results"]
    assert outcome(answer) == ["accepted"] * 250
    assert [r["recipients"][0]["address"] for r in results] == [f"user{n}@example.org" for n in range(250)]
    assert subjects(door.room.store) == [f"{n}" for n in range(250)]
    assert (await door.get(f"/v1/messages/{results[7]['id']}")).json()["subject"] == "7"
    assert verify.verify(door.room.store).holds


async def test_one_message_is_filled_for_each_recipient_who_sees_nobody_else(door: Door) -> None:
    message_ = {**MESSAGE, "tags": ["order"], "metadata": {"a": "1", "b": "1"}}
    people = [person(1), person(2, tags=["large"], metadata={"b": "2"})]
    answer = await post(door, {"message": message_, "recipients": people})

    seen = [(await door.get(f"/v1/messages/{r['id']}")).json() for r in answer.json()["results"]]
    assert [s["subject"] for s in seen] == ["Hi Ann 1", "Hi Ann 2"]
    assert [[r["address"] for r in s["recipients"]] for s in seen] == [
        ["user1@example.org"],
        ["user2@example.org"],
    ]
    assert [s["tags"] for s in seen] == [["order"], ["order", "large"]]
    assert [s["metadata"] for s in seen] == [{"a": "1", "b": "1"}, {"a": "1", "b": "2"}]


async def test_a_stored_template_may_be_what_all_get(door: Door) -> None:
    key = bearer(door.keyring.issue(scopes=("templates",)))
    made = {"name": "hi", "subject": "Hi {{ name }} of {{ shop }}", "text": "x", "publish": True}
    await door.client.post("/v1/templates", json=made, headers=key)

    shared = {
        "from": "shop@acme.example",
        "template": {"name": "hi", "data": {"shop": "Acme", "name": "you"}},
    }
    answer = await post(door, {"message": shared, "recipients": [person(1), {"to": "b@example.org"}]})

    assert outcome(answer) == ["accepted", "accepted"]
    assert subjects(door.room.store) == ["Hi Ann 1 of Acme", "Hi you of Acme"]


async def test_a_message_of_a_batch_may_be_made_of_a_template(door: Door) -> None:
    key = bearer(door.keyring.issue(scopes=("templates",)))
    made = {"name": "hi", "subject": "Hi {{ name }}", "text": "x", "publish": True}
    await door.client.post("/v1/templates", json=made, headers=key)
    of_a_template = {"from": "shop@acme.example", "to": "a@example.org", "template": {"name": "hi"}}

    answer = await post(door, {"messages": [of_a_template, {**LETTER, "subject": "{{ literal }}"}]})

    assert outcome(answer) == [("template-failed", 422, ["/messages/0/template/data/name"]), "accepted"]
    assert subjects(door.room.store) == ["{{ literal }}"]


# ---- faults


async def test_a_message_that_is_refused_says_why_and_where_and_leaves_its_neighbours_alone(
    door: Door,
) -> None:
    batch = {
        "messages": [
            LETTER,
            {**LETTER, "to": "nobody"},
            {**LETTER, "from": "ceo@globex.example"},
            {**LETTER, "stream": "newsletter"},
            {**LETTER, "text": "x" * 130_000},
            {"from": 1},
            "no message",
            LETTER,
        ]
    }

    assert outcome(await post(door, batch)) == [
        "accepted",
        ("invalid-field", 422, ["/messages/1/to"]),
        ("from-not-allowed", 403, ["/messages/2/from"]),
        ("unknown-stream", 422, ["/messages/3/stream"]),
        ("message-too-large", 413, []),
        ("invalid-field", 422, ["/messages/5/from"]),
        ("invalid-field", 422, ["/messages/6"]),
        "accepted",
    ]
    assert len(subjects(door.room.store)) == 2


async def test_a_recipient_that_is_refused_is_pointed_at(door: Door) -> None:
    people = [
        person(1, data={"name": "Ann"}),
        person(2, to="nobody"),
        person(3, tags=["two words"]),
        person(4, more=1),
        person(5, data=[]),
        person(6, tags=["a"] * 10),
        person(7, data={"name": "x" * 2100, "order": {"number": 1}}),
        "nobody",
        person(9),
    ]
    batch = {"message": {**MESSAGE, "tags": ["b"]}, "recipients": people}

    assert outcome(await post(door, batch)) == [
        ("template-failed", 422, ["/recipients/0/data/order/number"]),
        ("invalid-field", 422, ["/recipients/1/to"]),
        ("invalid-field", 422, ["/recipients/2/tags/0"]),
        ("invalid-field", 422, ["/recipients/3/more"]),
        ("invalid-field", 422, ["/recipients/4/data"]),
        ("invalid-field", 422, ["/recipients/5/tags"]),
        ("template-failed", 422, ["/message/template"]),
        ("invalid-field", 422, ["/recipients/7"]),
        "accepted",
    ]


async def test_a_sender_that_is_not_allowed_refuses_each(door: Door) -> None:
    batch = {"message": {**MESSAGE, "from": "ceo@globex.example"}, "recipients": [person(1), person(2)]}

    assert outcome(await post(door, batch)) == [("from-not-allowed", 403, ["/message/from"])] * 2


@pytest.mark.parametrize(
    ("body", "fault", "pointer"),
    [
        ({}, "invalid-field", ""),
        ([], "invalid-field", ""),
        ({"messages": []}, "invalid-field", "/messages"),
        ({"messages": [LETTER] * 1001}, "invalid-field", "/messages"),
        ({"messages": LETTER}, "invalid-field", "/messages"),
        ({"messages": [LETTER], "message": MESSAGE}, "invalid-field", "/messages"),
        ({"mesages": [LETTER]}, "invalid-field", "/mesages"),
        ({"message": MESSAGE}, "invalid-field", ""),
        ({"recipients": [person(1)]}, "invalid-field", ""),
        ({"message": MESSAGE, "recipients": []}, "invalid-field", "/recipients"),
        ({"message": MESSAGE, "recipients": [person(1)] * 1001}, "invalid-field", "/recipients"),
        ({"message": 1, "recipients": [person(1)]}, "invalid-field", "/message"),
        (
            {"message": {**MESSAGE, "cc": "x@y.example"}, "recipients": [person(1)]},
            "invalid-field",
            "/message/cc",
        ),
        (
            {"message": {**MESSAGE, "text": "{{"}, "recipients": [person(1)]},
            "template-failed",
            "/message/text",
        ),
        ({"message": {"from": "a@b.example"}, "recipients": [person(1)]}, "template-failed", "/message/text"),
        (
            {"message": {"from": "a@b.example", "template": {"name": "x"}}, "recipients": [person(1)]},
            "unknown-template",
            "/message/template",
        ),
    ],
)
async def test_a_batch_that_is_none_is_refused_as_a_whole(
    door: Door, body: Any, fault: str, pointer: str
) -> None:
    answer = await post(door, body)

    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (422, f"/problems/{fault}")
    assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert subjects(door.room.store) == []


@pytest.mark.parametrize("raw", [b"", b"{", b'{"messages": [}', b"\xff", b'{"messages": [{"from": "\xff"}]}'])
async def test_what_is_no_json_is_not_accepted(door: Door, raw: bytes) -> None:
    answer = await door.client.post(
        "/v1/messages/batch", content=raw, headers={"Content-Type": "application/json"}
    )

    assert answer.status_code == 400 or outcome(answer)[0][0] == "malformed-request"
    assert subjects(door.room.store) == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": "Bearer nonsense"}, 401),
        ({"Content-Type": "text/plain"}, 415),
        ({"Idempotency-Key": "two words"}, 400),
    ],
)
async def test_what_holds_for_a_message_holds_for_many(
    door: Door, headers: dict[str, str], status: int
) -> None:
    assert (await post(door, letters(1), **headers)).status_code == status


async def test_a_key_that_may_only_read_sends_nothing(door: Door) -> None:
    assert (await post(door, letters(1), **bearer(door.keyring.issue(scopes=("read",))))).status_code == 403


async def test_a_suspended_tenant_sends_nothing(door: Door) -> None:
    tenants.suspend(door.room.store, "acme")

    assert (await post(door, letters(1), **bearer(door.keyring.issue()))).status_code == 403


async def test_a_refused_message_leaves_one_rejected_event(door: Door) -> None:
    batch = {"messages": [{**LETTER, "to": "nobody"}, {**LETTER, "from": "ceo@globex.example"}, LETTER]}
    await post(door, batch)
    await post(door, {})
    # The committer writes in order: once this one is on disk, so are the rejections before it.
    await door.send()
    door.number_events()

    told = (await door.get("/v1/events")).json()["events"]
    assert sorted(e["data"].get("fault", e["type"]) for e in told) == [
        "accepted", "accepted", "from-not-allowed", "invalid-field", "invalid-field",
    ]  # fmt: skip


# ---- once, and once only


async def test_a_repeated_batch_is_replayed_and_what_was_refused_is_tried_again(door: Door) -> None:
    batch = {"messages": [LETTER, {**LETTER, "stream": "extra"}, LETTER]}
    first = await post(door, batch, **{"Idempotency-Key": "monday"})
    with door.room.store.write() as c:
        c.exec_driver_sql("UPDATE stream SET name = 'extra' WHERE name = 'transactional'")
    second = await post(door, batch, **{"Idempotency-Key": "monday"})

    assert outcome(first) == ["accepted", ("unknown-stream", 422, ["/messages/1/stream"]), "accepted"]
    assert outcome(second) == ["replayed", "accepted", "replayed"]
    ids = [[r.get("id") for r in answer.json()["results"]] for answer in (first, second)]
    assert (ids[0][0], ids[0][2]) == (ids[1][0], ids[1][2])
    assert len(subjects(door.room.store)) == 3


async def test_a_batch_that_was_cut_short_is_completed_by_its_repeat(door: Door) -> None:
    batch = json.dumps({"message": MESSAGE, "recipients": [person(n) for n in range(300)]}).encode()
    headers = {"Content-Type": "application/json", "Idempotency-Key": "monday"}
    first = await door.client.post("/v1/messages/batch", content=batch, headers=headers)
    # As if the process had been killed between two of its commits.
    lost = [r["id"] for r in first.json()["results"][200:]]
    forget(door.room.store, lost)

    second = await door.client.post("/v1/messages/batch", content=batch, headers=headers)

    assert outcome(second) == ["replayed"] * 200 + ["accepted"] * 100
    assert sorted(addresses(door.room.store)) == sorted(f"user{n}@example.org" for n in range(300))


def forget(store: Store, shown: list[str]) -> None:
    """Takes messages back as if their transaction had never been."""
    from mailer import ids

    numbers = [ids.parse("msg", text) for text in shown]
    with store.write() as c:
        c.execute(message.delete().where(message.c.id.in_(numbers)))
        c.execute(recipient.delete().where(recipient.c.message_id.in_(numbers)))
        c.execute(idempotency.delete().where(idempotency.c.message_id.in_(numbers)))


async def test_a_repeat_gets_its_answers_though_the_template_is_gone(door: Door) -> None:
    key = bearer(door.keyring.issue(scopes=("templates",)))
    await door.client.post(
        "/v1/templates", json={"name": "hi", "subject": "s", "text": "x", "publish": True}, headers=key
    )
    one = {"from": "shop@acme.example", "to": "a@example.org", "template": {"name": "hi"}}
    first = await post(door, {"messages": [one]}, **{"Idempotency-Key": "k"})
    await door.client.delete("/v1/templates/hi", headers=key)
    second = await post(door, {"messages": [one]}, **{"Idempotency-Key": "k"})

    assert (outcome(first), outcome(second)) == (["accepted"], ["replayed"])


async def test_two_at_once_with_one_key_send_each_message_once(door: Door) -> None:
    answers = await asyncio.gather(*(post(door, letters(150), **{"Idempotency-Key": "k"}) for _ in range(3)))

    outcomes = list(zip(*map(outcome, answers), strict=True))
    assert all(sorted(one) == ["accepted", "replayed", "replayed"] for one in outcomes)
    assert len(subjects(door.room.store)) == 150


async def test_a_key_with_another_body_refuses_the_whole_batch(door: Door) -> None:
    await post(door, {"messages": [LETTER, {**LETTER, "to": "nobody"}]}, **{"Idempotency-Key": "k"})
    answer = await post(door, {"messages": [LETTER, LETTER]}, **{"Idempotency-Key": "k"})

    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/idempotency-key-reused")
    assert len(subjects(door.room.store)) == 1


async def test_a_message_and_a_batch_may_have_the_same_key(door: Door) -> None:
    single = await door.send(**{"Idempotency-Key": "k"})
    batch = await post(door, letters(2), **{"Idempotency-Key": "k"})

    assert (single.status_code, outcome(batch)) == (202, ["accepted", "accepted"])


async def test_another_tenant_with_the_same_key_sends_its_own(door: Door) -> None:
    await post(door, letters(1), **{"Idempotency-Key": "k"})
    stranger = bearer(door.keyring.issue(to=door.keyring.globex))
    answer = await post(door, letters(1), **{"Idempotency-Key": "k"}, **stranger)

    assert outcome(answer) == [("from-not-allowed", 403, ["/messages/0/from"])]


# ---- when we fail


class Faltering:
    """An intake whose database stops answering at the n-th message."""

    def __init__(self, parts: HttpParts, after: int, fault: Fault = Fault.UNAVAILABLE) -> None:
        self.whole = parts.intake
        self.left = after
        self.fault = fault
        self.prepared = 0

    async def take(self, submission: Submission) -> Receipt:
        return await self.whole.take(submission)

    def prepare(self, submission: Submission) -> Prepared:
        self.prepared += 1
        return self.whole.prepare(submission)

    async def commit(self, prepared: Prepared) -> Receipt:
        if self.left == 0:
            raise SubmissionError(self.fault, "try again")
        self.left -= 1
        return await self.whole.commit(prepared)

    def refuse(self, tenant_id: int, error: SubmissionError) -> None:
        raise AssertionError("what may pass is no rejection")


async def ask(parts: HttpParts, keyring: Keyring, body: Any) -> httpx.Response:
    transport = httpx.ASGITransport(app=create_app(parts))
    async with httpx.AsyncClient(transport=transport, base_url="http://mailer.test") as client:
        return await client.post(
            "/v1/messages/batch", json=body, headers={**bearer(keyring.issue()), "Idempotency-Key": "k"}
        )


async def test_a_database_that_stops_answering_is_not_asked_a_thousand_times(
    parts: HttpParts, keyring: Keyring
) -> None:
    faltering = Faltering(parts, after=150)
    first = await ask(replace(parts, intake=faltering), keyring, letters(1000))
    second = await ask(parts, keyring, letters(1000))

    assert outcome(first) == ["accepted"] * 150 + [("unavailable", 503, [])] * 850
    assert faltering.prepared <= 400
    assert outcome(second) == ["replayed"] * 150 + ["accepted"] * 850
    assert len(subjects(parts.store)) == 1000


@pytest.mark.parametrize("fault", [Fault.UNAVAILABLE, Fault.BUSY])
async def test_a_batch_of_which_nothing_came_through_is_put_off_as_a_whole(
    parts: HttpParts, keyring: Keyring, fault: Fault
) -> None:
    answer = await ask(replace(parts, intake=Faltering(parts, after=0, fault=fault)), keyring, letters(3))

    assert (answer.status_code, answer.json()["type"]) == (503, f"/problems/{fault}")
    assert int(answer.headers["retry-after"]) > 0


async def test_without_room_in_memory_a_batch_is_put_off(parts: HttpParts, keyring: Keyring) -> None:
    answer = await ask(replace(parts, budget=ByteBudget(64)), keyring, letters(3))

    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/busy")
