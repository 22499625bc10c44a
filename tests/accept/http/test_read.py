"""GET: a tenant sees its own messages and events, whole; of others it sees nothing."""

from __future__ import annotations

import pytest

from mailer import ids
from mailer.queue.settle import Heard
from mailer.store import Store
from tests.accept.http.conftest import LETTER, Door
from tests.support.mailroom import BOUNCED, DELIVERED, HEARD_250, HEARD_451, NO_SUCH_USER


async def sent(door: Door, **change: object) -> str:
    """Path of a message accepted just now."""
    return str((await door.send({**LETTER, **change})).headers["location"])


async def test_a_message_shows_what_became_of_each_recipient(door: Door) -> None:
    path = await sent(door, to=["ada@example.org", "bob@example.net"])
    claimed = {c.recipient_id: c for c in door.room.claim()}
    ada, bob = (claimed[r] for r in sorted(claimed))
    door.room.settle([ada], DELIVERED, HEARD_250)
    door.room.settle([bob], BOUNCED, HEARD_451)

    seen = (await door.get(path)).json()
    assert seen["from"] == "shop@acme.example"
    assert [r["state"] for r in seen["recipients"]] == ["delivered", "bounced"]
    assert [r["attempt_count"] for r in seen["recipients"]] == [1, 1]
    [attempt] = seen["recipients"][0]["attempts"]
    assert (attempt["state"], attempt["code"], attempt["host"]) == ("settled", 250, "mx.example")
    assert {e["type"] for e in seen["events"]} == {"accepted", "delivered", "bounced"}


async def test_the_conversation_is_told_line_by_line(door: Door) -> None:
    path = await sent(door)
    [claimed] = door.room.claim()
    steps = ((0.25, "peer", "220 mx.example"), (1.5, "us", "EHLO here.example"))
    door.room.settle([claimed], DELIVERED, Heard(outcome="accepted", code=250, steps=steps))

    [attempt] = (await door.get(path)).json()["recipients"][0]["attempts"]
    assert attempt["conversation"] == [
        {"ms": 0.25, "who": "peer", "line": "220 mx.example"},
        {"ms": 1.5, "who": "us", "line": "EHLO here.example"},
    ]


async def test_explain_says_why_a_message_waits(door: Door) -> None:
    path = await sent(door)

    [explained] = (await door.get(f"{path}/explain")).json()["recipients"]
    assert explained["state"] == "queued"
    assert explained["now"]["what"] == "waits to be claimed"
    assert explained["now"]["until"].endswith("Z")
    assert explained["judged"] is None


async def test_explain_says_what_a_refusal_was_taken_for(door: Door) -> None:
    path = await sent(door)
    door.room.settle(door.room.claim(), BOUNCED, HEARD_451, judged=NO_SUCH_USER)

    [explained] = (await door.get(f"{path}/explain")).json()["recipients"]
    assert explained["judged"] == {
        "bounce_class": "invalid-mailbox", "action": "fail", "blame": "recipient", "rule": NO_SUCH_USER.rule,
    }  # fmt: skip


# ---- isolation


@pytest.mark.parametrize("suffix", ["", "/explain"])
async def test_another_tenants_message_is_not_there(door: Door, suffix: str) -> None:
    path = await sent(door)
    stranger = door.keyring.issue(to=door.keyring.globex)

    answer = await door.get(path + suffix, key=stranger)
    unknown = await door.get(f"/v1/messages/{ids.show('msg', 5)}{suffix}", key=stranger)
    assert answer.status_code == 404
    assert {**answer.json(), "request_id": ""} == {**unknown.json(), "request_id": ""}


async def test_another_tenants_events_are_not_there(door: Door) -> None:
    await sent(door)
    door.number_events()
    stranger = door.keyring.issue(to=door.keyring.globex)

    assert (await door.get("/v1/events", key=stranger)).json()["events"] == []
    assert len((await door.get("/v1/events")).json()["events"]) == 1


@pytest.mark.parametrize("path", ["/v1/events", f"/v1/messages/{ids.show('msg', 5)}"])
async def test_a_key_that_may_only_send_may_not_look(door: Door, path: str) -> None:
    answer = await door.get(path, key=door.keyring.issue(scopes=("send",)))

    assert (answer.status_code, answer.json()["type"]) == (403, "/problems/forbidden")


@pytest.mark.parametrize("path", ["/v1/events", "/v1/events?limit=x", f"/v1/messages/{ids.show('msg', 5)}"])
async def test_without_a_key_there_is_nothing_to_see(door: Door, path: str) -> None:
    answer = await door.client.get(path, headers={"Authorization": ""})

    assert (answer.status_code, answer.json()["type"]) == (401, "/problems/unauthenticated")


@pytest.mark.parametrize(
    "word", ["5", "msg_", "msg_0000000000000u", "rcpt_0000000000005", "msg_zzzzzzzzzzzzz", "%00"]
)
async def test_what_is_no_id_of_a_message_is_not_found(door: Door, word: str) -> None:
    answer = await door.get(f"/v1/messages/{word}")

    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")


# ---- the event log


async def test_events_are_read_page_by_page_and_none_is_missed(door: Door) -> None:
    await sent(door, to=[f"u{n}@example.org" for n in range(5)])
    door.number_events()
    first = (await door.get("/v1/events?limit=3")).json()
    second = (await door.get(f"/v1/events?limit=3&after={first['next_after']}")).json()
    third = (await door.get(f"/v1/events?after={second['next_after']}")).json()

    assert [e["number"] for e in first["events"] + second["events"]] == [1, 2, 3, 4, 5]
    assert (third["events"], third["next_after"]) == ([], 5)
    assert {first["epoch"], second["epoch"], third["epoch"]} == {"test-epoch"}


async def test_events_are_filtered_by_type(door: Door) -> None:
    await sent(door)
    door.room.settle(door.room.claim(), DELIVERED)
    door.number_events()

    some = (await door.get("/v1/events?type=delivered&type=bounced")).json()["events"]
    assert [e["type"] for e in some] == ["delivered"]


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("after=-1", "after"),
        ("after=x", "after"),
        (f"after={2**63}", "after"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("type=opend", "type"),
        ("typ=delivered", "typ"),
        ("after=x&after=1", "after"),
    ],
)
async def test_a_bad_parameter_is_named(door: Door, query: str, parameter: str) -> None:
    answer = await door.get(f"/v1/events?{query}")

    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-field")
    assert answer.json()["errors"][0]["parameter"] == parameter


async def test_the_largest_number_is_a_place_in_the_log(door: Door, store: Store) -> None:
    answer = await door.get(f"/v1/events?after={2**63 - 1}")

    assert (answer.status_code, answer.json()["events"]) == (200, [])
