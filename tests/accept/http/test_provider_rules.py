"""/v1/provider-rules: the operator says what providers take, and no tenant does."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from mailer.accept.http.app import HttpParts
from mailer.identity.api_keys import OPERATE, SCOPES
from mailer.queue import ownrules
from tests.accept.http.conftest import Door, bearer

RULE = {"mx": ["mx.customer.example"], "connections": 2, "messages_per_hour": 500, "source": "they asked"}
LIST = "/v1/provider-rules"
MINE = f"{LIST}/our-customer"
ROUTES = [("GET", LIST, None), ("GET", f"{LIST}/google", None), ("PUT", MINE, RULE), ("DELETE", MINE, None)]


class Operator:
    """Requests with an operator's key."""

    def __init__(self, door: Door) -> None:
        self._client = door.client
        self._headers = bearer(door.keyring.issue(scopes=(OPERATE,)))

    async def ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        return await self._client.request(method, path, json=body, headers=self._headers)

    async def rules(self) -> dict[str, Any]:
        answer = await self.ask("GET", LIST)
        assert answer.status_code == 200, answer.text
        return {rule["name"]: rule for rule in answer.json()["rules"]}


@pytest.fixture
def operator(door: Door) -> Operator:
    return Operator(door)


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
async def test_only_the_operator_reaches_it(door: Door, method: str, path: str, body: Any) -> None:
    """A tenant's key with every right that a tenant can have is refused, and nothing is changed."""
    key = door.keyring.issue(scopes=SCOPES)

    answer = await door.client.request(method, path, json=body, headers=bearer(key))
    without = await door.client.request(method, path, json=body, headers={"Authorization": ""})

    assert (answer.status_code, answer.json()["type"]) == (403, "/problems/forbidden")
    assert without.status_code == 401
    assert ownrules.all_of(door.room.store) == {}


@pytest.mark.parametrize(
    ("change", "errors"),
    [
        ({"connections": 0}, {"/connections": "must be greater than or equal to 1"}),
        ({"connections": "5"}, {"/connections": "must be a whole number"}),
        ({"mesages_per_hour": 5}, {"/mesages_per_hour": "there is no field 'mesages_per_hour'"}),
        ({"tls": "some"}, {"/tls": "must be 'encrypted' or 'required'"}),
        ({"together": {"messages_per_year": 9}}, {"/together/messages_per_year": "there is no field"}),
        ({"source": ""}, {"/source": "provider.our-customer needs source"}),
        ({"mx": None}, {"/mx": "must be a list"}),
        (
            {"mx": ["mx.customer.example", "a b"], "pool": "No!"},
            {"/mx/1": "'a b' in mx must be a host name", "/pool": "pool must be the name of a pool"},
        ),
    ],
)
async def test_what_is_wrong_is_told_with_its_place(
    operator: Operator, door: Door, change: dict[str, Any], errors: dict[str, str]
) -> None:
    answer = await operator.ask("PUT", MINE, {**RULE, **change})

    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-field")
    told = {error["pointer"]: error["detail"] for error in answer.json()["errors"]}
    assert told.keys() == errors.keys()
    assert all(sentence in told[place] for place, sentence in errors.items())
    assert ownrules.all_of(door.room.store) == {}


async def test_a_rule_without_hosts_is_no_rule(operator: Operator) -> None:
    """What takes a rule away says so: `mx: []`."""
    answer = await operator.ask("PUT", MINE, {"connections": 2, "source": "they asked"})

    [error] = answer.json()["errors"]
    assert (answer.status_code, error["pointer"]) == (422, "/mx")
    assert error["detail"] == "provider.our-customer needs mx, a list of ends of host names"


async def test_a_name_that_cannot_be_one_is_refused(operator: Operator) -> None:
    answer = await operator.ask("PUT", f"{LIST}/Our.Customer", RULE)

    assert answer.status_code == 422
    assert [error["parameter"] for error in answer.json()["errors"]] == ["name"]


async def test_rules_that_contradict_each_other_are_refused(operator: Operator, door: Door) -> None:
    answer = await operator.ask("PUT", MINE, {**RULE, "mx": ["google.com"]})

    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/conflict")
    assert "api: google.com belongs to provider.google (sites.toml:" in answer.json()["detail"]
    assert ownrules.all_of(door.room.store) == {}


async def test_what_another_rule_stands_on_is_not_removed(operator: Operator) -> None:
    await operator.ask("PUT", f"{LIST}/google", {"mx": [], "source": "we know better"})
    await operator.ask("PUT", MINE, {**RULE, "mx": ["google.com"]})

    answer = await operator.ask("DELETE", f"{LIST}/google")

    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/conflict")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("name", ["our-customer", "No.Name"])
async def test_a_rule_that_is_not_there_is_not_found(operator: Operator, method: str, name: str) -> None:
    answer = await operator.ask(method, f"{LIST}/{name}")

    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")


async def test_a_shipped_rule_cannot_be_deleted_since_nobody_set_it(operator: Operator) -> None:
    assert (await operator.ask("DELETE", f"{LIST}/google")).status_code == 404


async def test_a_rule_is_set_over_the_shipped_one_and_removed_again(
    operator: Operator, parts: HttpParts
) -> None:
    assert parts.keeper is not None
    before = await operator.rules()
    wanted = {"mx": before["google"]["mx"], "connections": 1, "source": "our own experience"}
    put = await operator.ask("PUT", f"{LIST}/google", wanted)
    again = await operator.ask("PUT", f"{LIST}/google", wanted)
    during = await operator.rules()
    in_force = parts.keeper.rules.connections("provider:google", 20)
    one = await operator.ask("GET", f"{LIST}/google")
    removed = await operator.ask("DELETE", f"{LIST}/google")

    assert put.status_code == again.status_code == 200
    assert put.json() == again.json() == one.json() == removed.json() == during["google"]
    assert (put.json()["place"], put.json()["connections"]) == ("api", 1)
    assert in_force == 1
    assert before["google"]["place"].startswith("sites.toml:")
    assert await operator.rules() == before


async def test_everything_that_a_rule_says_is_shown(operator: Operator) -> None:
    whole = {
        **RULE, "messages_per_session": 9, "messages_per_second": 3, "messages_per_minute": 50,
        "messages_per_day": 9000, "connections_per_minute": 20, "one_site": False, "tls": "required",
        "together": {"messages_per_day": 20_000}, "pool": "careful",
    }  # fmt: skip

    answer = await operator.ask("PUT", MINE, whole)

    assert answer.status_code == 200, answer.text
    shown = answer.json()
    nothing = dict.fromkeys(("messages_per_second", "messages_per_minute", "messages_per_hour"))
    assert shown.pop("together") == {**nothing, "messages_per_day": 20_000}
    assert {key: value for key, value in shown.items() if key not in ("name", "place")} == {
        key: value for key, value in whole.items() if key != "together"
    }


async def test_the_default_and_a_rule_that_was_taken_away_are_listed(operator: Operator) -> None:
    default = await operator.ask("PUT", f"{LIST}/default", {"messages_per_minute": 100, "source": "new"})
    with_hosts = await operator.ask("PUT", f"{LIST}/default", RULE)
    await operator.ask("PUT", f"{LIST}/google", {"mx": [], "source": "we know better"})
    rules = await operator.rules()

    assert default.status_code == 200, default.text
    assert [e["pointer"] for e in with_hosts.json()["errors"]] == ["/mx"]
    assert rules["default"]["messages_per_minute"] == 100
    assert (rules["google"]["mx"], rules["google"]["place"]) == ([], "api")
