"""What is accepted of a tenant may be limited: of all its keys together, and of nobody else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from pathlib import Path

import httpx
import pytest

from mailer import clock as real
from mailer.accept.http.app import create_app
from mailer.accept.rates import KeyRates, RateLimits
from mailer.policy.limits import Rate
from mailer.queue import allowances
from mailer.queue.allowances import Held
from tests.accept.http.conftest import LETTER, Door, Keyring, bearer, working_parts
from tests.accept.test_rates import Clock

DAY = 86400
THREE = LETTER | {"to": [f"p{number}@example.org" for number in range(3)]}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def door(keyring: Keyring, tmp_path: Path, clock: Clock) -> AsyncIterator[Door]:
    rates = KeyRates(RateLimits(), clock)
    with working_parts(keyring.room, tmp_path, ring=lambda: None, rates=rates, now=clock.now) as parts:
        transport = httpx.ASGITransport(app=create_app(parts))
        key = keyring.issue()
        async with httpx.AsyncClient(
            transport=transport, base_url="http://mailer.test", headers=bearer(key)
        ) as client:
            yield Door(client, keyring.room, keyring, key)


def limit(door: Door, *rates: Rate) -> None:
    allowances.allow(door.room.store, "accept", door.room.tenant_id, rates, now=real.now())


def stands(door: Door, now: Callable[[], datetime]) -> Held:
    [held] = allowances.standing(door.room.store, now=now())
    return held


async def test_beyond_its_quota_a_tenant_is_told_when_there_is_room(door: Door, clock: Clock) -> None:
    limit(door, Rate(DAY, 7))
    taken = [(await door.send(THREE)).status_code for _ in range(2)]
    refused = await door.send(THREE)
    last = await door.send()
    stood = stands(door, clock.now)
    clock.at += int(refused.headers["retry-after"])
    later = await door.send(THREE)

    assert taken == [202, 202]
    assert (refused.status_code, refused.json()["type"]) == (429, "/problems/quota-exceeded")
    assert "7 recipients in any day; there is room for it at 2026-03-10T12:" in refused.json()["detail"]
    assert DAY <= int(refused.headers["retry-after"]) < DAY * 1.03
    assert last.status_code == 202, "one recipient still had room"
    assert (stood.is_accepting, [(s.used, s.room) for s in stood.at]) == (True, [(7, 0)])
    assert later.status_code == 202


async def test_all_keys_of_a_tenant_share_it_and_no_other_tenant_does(door: Door) -> None:
    """Nor is another tenant's mail in the same commit held up, or refused."""
    limit(door, Rate(60, 1))
    second = door.keyring.issue()
    globex = door.keyring.issue(to=door.keyring.globex)

    mine = await door.send()
    other_key = await door.send(**bearer(second))
    theirs = [await door.send(**bearer(globex)) for _ in range(2)]

    assert (mine.status_code, other_key.status_code) == (202, 429)
    assert {a.json()["type"] for a in theirs} == {"/problems/from-not-allowed"}, "the domain is not theirs"


async def test_what_was_refused_for_another_reason_is_no_use_of_it(door: Door) -> None:
    limit(door, Rate(60, 1))
    bad = [(await door.send(LETTER | {"from": "x@other.example"})).status_code for _ in range(3)]
    good = await door.send()

    assert bad == [403, 403, 403]
    assert good.status_code == 202


async def test_a_repeat_is_answered_though_the_quota_is_used_up(door: Door) -> None:
    limit(door, Rate(DAY, 2))
    first = await door.send(**{"Idempotency-Key": "k"})
    again = await door.send(**{"Idempotency-Key": "k"})
    await door.send()
    full = await door.send()
    repeated = await door.send(**{"Idempotency-Key": "k"})
    new = await door.send(**{"Idempotency-Key": "new"})
    limit(door)
    new_later = await door.send(**{"Idempotency-Key": "new"})

    assert first.json() == again.json() == repeated.json()
    assert (full.status_code, repeated.status_code, new.status_code) == (429, 202, 429)
    assert new_later.status_code == 202, "a refused request is not remembered"


async def test_the_messages_of_a_batch_count_one_by_one(door: Door) -> None:
    limit(door, Rate(DAY, 4))

    answer = await door.client.post("/v1/messages/batch", json={"messages": [THREE, THREE, LETTER, LETTER]})

    results = answer.json()["results"]
    assert [r["status"] for r in results] == ["accepted", "refused", "accepted", "refused"]
    assert {r["problem"]["type"] for r in results if "problem" in r} == {"/problems/quota-exceeded"}
    assert results[1]["problem"]["retry_after_seconds"] >= DAY


async def test_more_than_it_ever_allows_is_told_apart(door: Door) -> None:
    limit(door, Rate(60, 2))

    refused = await door.send(THREE)

    assert (refused.status_code, refused.json()["type"]) == (422, "/problems/too-many-recipients")
    assert refused.json()["detail"] == "this tenant may submit 2 recipients in any minute, this message has 3"


async def test_it_is_raised_within_seconds_and_leaves_no_events(door: Door, clock: Clock) -> None:
    limit(door, Rate(DAY, 1))
    answers = [(await door.send()).status_code for _ in range(3)]
    limit(door, Rate(DAY, 2))
    clock.at += 2.1
    raised = await door.send()
    door.number_events()
    log = (await door.get("/v1/events?after=0")).json()["events"]

    assert (answers, raised.status_code) == ([202, 429, 429], 202)
    assert {e["type"] for e in log} == {"accepted"}
