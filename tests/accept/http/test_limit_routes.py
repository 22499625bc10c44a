"""/v1/limits: the operator says what tenants and streams may send, and sees how all limits stand."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from mailer import clock
from mailer.accept.http.app import HttpParts
from mailer.identity.api_keys import OPERATE, SCOPES
from mailer.policy.limits import Rate
from mailer.queue import allowances, metering, ownrules
from mailer.store import Store
from tests.accept.http.conftest import Door, bearer

PATH = "/v1/limits"
ACME = {"tenant": "acme", "messages_per_hour": 5000, "messages_per_second": 50}
ROUTES: list[tuple[str, dict[str, Any]]] = [
    ("GET", {}),
    ("PUT", {"json": ACME}),
    ("DELETE", {"params": {"tenant": "acme"}}),
]


class Operator:
    """Requests with an operator's key."""

    def __init__(self, door: Door) -> None:
        self._client = door.client
        self._headers = bearer(door.keyring.issue(scopes=(OPERATE,)))

    async def ask(self, method: str, **more: Any) -> httpx.Response:
        return await self._client.request(method, PATH, headers=self._headers, **more)

    async def limits(self) -> list[tuple[str, str | None, list[str]]]:
        answer = await self.ask("GET")
        assert answer.status_code == 200, answer.text
        found = answer.json()["limits"]
        return [(one["tenant"], one["stream"], [w["limit"] for w in one["windows"]]) for one in found]


@pytest.fixture
def operator(door: Door) -> Operator:
    return Operator(door)


@pytest.mark.parametrize(("method", "more"), ROUTES)
async def test_only_the_operator_reaches_it(door: Door, method: str, more: dict[str, Any]) -> None:
    """Not even for its own tenant: a limit that its subject can lift is none. Nothing is changed."""
    allowances.allow(door.room.store, "tenant", door.room.tenant_id, [Rate(60, 9)], now=clock.now())
    key = door.keyring.issue(scopes=SCOPES)

    answer = await door.client.request(method, PATH, headers=bearer(key), **more)
    without = await door.client.request(method, PATH, headers={"Authorization": ""}, **more)

    assert (answer.status_code, answer.json()["type"]) == (403, "/problems/forbidden")
    assert without.status_code == 401
    assert await Operator(door).limits() == [("acme", None, ["9/minute"])]


@pytest.mark.parametrize(
    ("body", "pointer", "sentence"),
    [
        ({"tenant": "acme"}, "", "at least one of messages_per_second"),
        ({**ACME, "messages_per_hour": 0}, "/messages_per_hour", "must be greater than or equal to 1"),
        ({**ACME, "messages_per_hour": None}, "/messages_per_hour", "must be a whole number"),
        ({**ACME, "messages_per_hour": "5/h"}, "/messages_per_hour", "must be a whole number"),
        ({**ACME, "messages_per_week": 5}, "/messages_per_week", "there is no field"),
        ({**ACME, "stream": None}, "/stream", "must be a string"),
        ({"messages_per_hour": 5}, "/tenant", "a field is missing"),
    ],
)
async def test_what_is_no_limit_is_told_with_its_place(
    operator: Operator, body: dict[str, Any], pointer: str, sentence: str
) -> None:
    answer = await operator.ask("PUT", json=body)

    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-field")
    [error] = answer.json()["errors"]
    assert error["pointer"] == pointer
    assert sentence in error["detail"]
    assert await operator.limits() == []


@pytest.mark.parametrize(
    "whose", [{"tenant": "nobody"}, {"tenant": "acme", "stream": "none"}, {"tenant": " "}]
)
async def test_nobodys_limits_are_not_found(operator: Operator, whose: dict[str, str]) -> None:
    put = await operator.ask("PUT", json={**whose, "messages_per_hour": 5})
    removed = await operator.ask("DELETE", params=whose)

    assert {put.status_code, removed.status_code} == {404}
    assert await operator.limits() == []


async def test_a_query_that_says_nobody_or_two_is_refused(operator: Operator) -> None:
    nobody = await operator.ask("DELETE")
    two = await operator.ask("DELETE", params=[("tenant", "acme"), ("tenant", "globex")])

    assert [(a.status_code, a.json()["errors"][0]["parameter"]) for a in (nobody, two)] == [
        (422, "tenant"), (422, "tenant")
    ]  # fmt: skip


async def test_limits_are_set_replaced_and_removed_each_for_itself(operator: Operator) -> None:
    await operator.ask("PUT", json=ACME)
    await operator.ask("PUT", json={"tenant": "acme", "stream": "transactional", "messages_per_minute": 100})
    await operator.ask("PUT", json={"tenant": "globex", "messages_per_day": 7})
    all_three = await operator.limits()
    replaced = await operator.ask("PUT", json={"tenant": "acme", "messages_per_day": 9})
    removed = [await operator.ask("DELETE", params={"tenant": "acme"}) for _ in range(2)]
    rest = await operator.limits()
    await operator.ask("DELETE", params={"tenant": "acme", "stream": "transactional"})

    assert all_three == [
        ("acme", None, ["50/second", "5000/hour"]),
        ("acme", "transactional", ["100/minute"]),
        ("globex", None, ["7/day"]),
    ]
    [acme, *_] = replaced.json()["limits"]
    window = {"limit": "9/day", "count": 9, "seconds": 86400, "used": 0, "room_now": 1, "opens_at": None}
    assert acme == {
        "tenant": "acme", "of": "sending", "stream": None, "newcomer": False, "windows": [window]
    }  # fmt: skip
    assert [answer.status_code for answer in removed] == [200, 200]
    assert rest == all_three[1:]
    assert await operator.limits() == [("globex", None, ["7/day"])]


async def test_what_is_accepted_is_limited_beside_what_is_sent(operator: Operator) -> None:
    await operator.ask("PUT", json=ACME)
    both = await operator.ask("PUT", json={"tenant": "acme", "of": "accepting", "messages_per_day": 9})
    removed = await operator.ask("DELETE", params={"tenant": "acme"})
    gone = await operator.ask("DELETE", params={"tenant": "acme", "of": "accepting"})

    window = {"limit": "9/day", "count": 9, "seconds": 86400, "used": 0, "room_now": 9, "opens_at": None}
    [sending, accepting] = both.json()["limits"]
    assert (sending["of"], len(sending["windows"])) == ("sending", 2)
    assert (accepting["of"], accepting["windows"]) == ("accepting", [window])
    assert removed.json()["limits"] == [accepting]
    assert gone.json()["limits"] == []


@pytest.mark.parametrize("of", ["accepting", "receiving", None])
async def test_what_is_accepted_is_limited_by_tenant_alone(operator: Operator, of: str | None) -> None:
    body = {"tenant": "acme", "stream": "transactional", "of": of}

    put = await operator.ask("PUT", json={**body, "messages_per_day": 9})
    removed = await operator.ask("DELETE", params={**body, "of": of or "none"})

    assert {a.json()["type"] for a in (put, removed)} == {"/problems/invalid-field"}
    assert put.json()["errors"][0]["pointer"] == ("/stream" if of == "accepting" else "/of")
    assert await operator.limits() == []


async def test_how_the_limits_of_sites_stand_is_told_with_the_rule(
    operator: Operator, parts: HttpParts, store: Store
) -> None:
    assert parts.keeper is not None
    rule = {
        "mx": ["slow.example"], "connections_per_minute": 1, "messages_per_hour": 9,
        "together": {"messages_per_day": 20}, "source": "assumed",
    }  # fmt: skip
    ownrules.put(store, "slow", rule, check=parts.keeper.merged, now=clock.now())
    parts.keeper.look()
    names = {
        "connects:203.0.113.5|provider:slow": [Rate(60, 1)],
        "site:|provider:slow": [Rate(3600, 9)],
        "provider:slow": [Rate(86400, 20)],
        "connects:|mx:mx.gone.example": [Rate(60, 1)],  # its rule is gone
    }
    with store.write() as connection:
        till = metering.Till(connection, names, now=clock.now(), monotonic=clock.monotonic)
        till.take(names)
        till.close()

    sites = (await operator.ask("GET")).json()["sites"]

    told = [(s["site"], s["of"], s["egress_ip"], s["window"]["limit"], s["place"]) for s in sites]
    assert told == [
        ("provider:slow", "messages", "", "9/hour", "api"),
        ("provider:slow", "connections", "203.0.113.5", "1/minute", "api"),
        ("slow", "messages_together", None, "20/day", "api"),
    ]
    assert [s["window"]["opens_at"] is None for s in sites] == [True, False, True]
