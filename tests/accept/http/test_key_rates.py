"""One key may send only so much by HTTP too: 429 with the time to wait, counted together with SMTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from mailer.accept.http.app import create_app
from mailer.accept.rates import KeyRates, RateLimits
from tests.accept.http.conftest import LETTER, Door, Keyring, bearer, working_parts
from tests.accept.test_rates import Clock

LIMITS = RateLimits(messages_per_minute=2, recipients_per_minute=5)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rates(clock: Clock) -> KeyRates:
    return KeyRates(LIMITS, clock)


@pytest.fixture
async def door(keyring: Keyring, tmp_path: Path, rates: KeyRates, clock: Clock) -> AsyncIterator[Door]:
    with working_parts(keyring.room, tmp_path, ring=lambda: None, rates=rates, now=clock.now) as parts:
        transport = httpx.ASGITransport(app=create_app(parts))
        key = keyring.issue()
        async with httpx.AsyncClient(
            transport=transport, base_url="http://mailer.test", headers=bearer(key)
        ) as client:
            yield Door(client, keyring.room, keyring, key)


async def sent_elsewhere(door: Door, clock: Clock, folder: Path, number: int) -> None:
    """By another process, which knows nothing of this one but the database."""
    room = door.room
    with working_parts(
        room,
        folder,
        ring=lambda: None,
        rates=KeyRates(LIMITS, clock),
        now=clock.now,
    ) as parts:
        transport = httpx.ASGITransport(app=create_app(parts))
        async with httpx.AsyncClient(transport=transport, base_url="http://mailer.test") as client:
            for _ in range(number):
                answer = await client.post("/v1/messages", json=LETTER, headers=bearer(door.key))
                assert answer.status_code == 202


async def test_a_key_that_sent_enough_is_told_when_to_go_on(door: Door, clock: Clock) -> None:
    for _ in range(2):
        await door.send()
    refused = await door.send()
    clock.at += int(refused.headers["retry-after"])
    later = await door.send()

    assert refused.status_code == 429
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["type"] == "/problems/rate-limited"
    assert refused.json()["detail"] == "this API key may submit 2 messages in 60 s"
    assert 60 <= int(refused.headers["retry-after"]) <= 62
    assert later.status_code == 202


async def test_a_repeated_request_is_a_request(door: Door) -> None:
    answers = [await door.send(**{"Idempotency-Key": "k"}) for _ in range(3)]

    assert [a.status_code for a in answers] == [202, 202, 429]


async def test_what_is_refused_is_not_counted_and_leaves_no_event(door: Door) -> None:
    six = LETTER | {"to": [f"p{number}@example.org" for number in range(6)]}
    four = LETTER | {"to": [f"p{number}@example.org" for number in range(4)]}
    answers = [(await door.send(body)).status_code for body in (four, four, LETTER)]
    too_many = await door.send(six)
    door.number_events()
    log = await door.get("/v1/events?after=0")

    assert answers == [202, 429, 202]
    assert too_many.json()["type"] == "/problems/too-many-recipients"
    assert [e["type"] for e in log.json()["events"]].count("accepted") == 5


async def test_what_came_by_the_door_of_another_process_counts(
    door: Door, clock: Clock, tmp_path: Path
) -> None:
    await sent_elsewhere(door, clock, tmp_path, 1)
    answers = [(await door.send()).status_code for _ in range(2)]

    assert answers == [202, 429]


async def test_the_problem_can_be_looked_up(door: Door) -> None:
    page = await door.get("/problems/rate-limited")

    assert page.status_code == 200
    assert "MAILER_KEY_" in page.text


async def test_the_messages_of_a_batch_count_one_by_one(door: Door) -> None:
    answer = await door.client.post("/v1/messages/batch", json={"messages": [LETTER] * 4})

    results = answer.json()["results"]
    assert (answer.status_code, [r["status"] for r in results]) == (200, ["accepted"] * 2 + ["refused"] * 2)
    assert [r["problem"]["type"] for r in results[2:]] == ["/problems/rate-limited"] * 2
    assert all(r["problem"]["retry_after_seconds"] >= 1 for r in results[2:])
    assert [r["problem"]["status"] for r in results[2:]] == [429] * 2


async def test_a_batch_that_comes_too_early_is_put_off_as_a_whole(
    door: Door, clock: Clock, tmp_path: Path
) -> None:
    await sent_elsewhere(door, clock, tmp_path, 2)
    answer = await door.client.post("/v1/messages/batch", json={"messages": [LETTER] * 4})

    assert (answer.status_code, answer.json()["type"]) == (429, "/problems/rate-limited")
    assert int(answer.headers["retry-after"]) >= 60


async def test_whole_messages_count(door: Door) -> None:
    message = b"From: shop@acme.example\r\nTo: ada@example.org\r\nSubject: hello\r\n\r\nhi\r\n"
    headers = {"Content-Type": "message/rfc822"}
    answers = [
        (await door.client.post("/v1/messages/raw", content=message, headers=headers)).status_code
        for _ in range(3)
    ]

    assert answers == [202, 202, 429]


async def test_trying_out_does_not_count(door: Door) -> None:
    for _ in range(4):
        await door.client.post("/v1/messages/validate", json=LETTER)

    assert (await door.send()).status_code == 202
