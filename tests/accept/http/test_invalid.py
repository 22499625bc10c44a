"""What the framework finds wrong with a request: told in the words of the other routes, with its place."""

from __future__ import annotations

from typing import Any

import pytest

from tests.accept.http.conftest import Door, bearer

EVERYTHING = ("send", "read", "templates", "manage")
URL = "https://example.org/hook"


@pytest.mark.parametrize(
    "path",
    [
        "/v1/messages?limit=1&limit=2",
        "/v1/messages?tag=a&tag=b",
        "/v1/events?after=1&after=2",
        "/v1/keys?limit=1&limit=2",
        "/v1/templates?limit=1&limit=2",
        "/v1/webhook-endpoints/{endpoint}/attempts?limit=1&limit=2",
        "/v1/webhook-endpoints/{endpoint}/callbacks?state=due&state=held",
    ],
)
async def test_of_a_parameter_given_twice_none_is_taken(door: Door, path: str) -> None:
    key = bearer(door.keyring.issue(scopes=EVERYTHING))
    made = await door.client.post("/v1/webhook-endpoints", json={"url": URL}, headers=key)

    answer = await door.client.get(path.format(endpoint=made.json()["id"]), headers=key)

    name = path.partition("?")[2].partition("=")[0]
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-field")
    assert answer.json()["errors"] == [{"parameter": name, "detail": "is given more than once"}]
    assert answer.json()["detail"] == f"{name}: is given more than once"


async def test_a_list_may_be_given_by_repeating_its_parameter(door: Door) -> None:
    answer = await door.get("/v1/messages?state=queued&state=delivered")

    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("path", "errors", "detail"),
    [
        (
            "/v1/messages?after=x",
            {"after": "must be an instant with its offset from UTC, such as 2026-01-31T08:00:00+01:00"},
            "after: must be an instant with its offset from UTC, such as 2026-01-31T08:00:00+01:00",
        ),
        (
            "/v1/messages?recipient=x",
            {"recipient": "an address has the form local-part@domain, '@' is missing"},
            "recipient: an address has the form local-part@domain, '@' is missing",
        ),
        ("/v1/messages?limit=x", {"limit": "must be a whole number in decimal digits"}, None),
        ("/v1/messages?limit=0", {"limit": "must be greater than or equal to 1"}, None),
        ("/v1/messages?stat=x", {"stat": "there is no parameter 'stat'"}, "there is no parameter 'stat'"),
        ("/v1/keys?cursor=x", {"cursor": "is not a cursor that was given out"}, None),
        ("/v1/templates?after=x y", {"after": "must be the name of a template"}, None),
    ],
)
async def test_one_sentence_says_what_is_wrong_with_a_parameter(
    door: Door, path: str, errors: dict[str, str], detail: str | None
) -> None:
    problem = (await door.get(path)).json()

    assert {error["parameter"]: error["detail"] for error in problem["errors"]} == errors
    assert len(problem["errors"]) == len(errors)
    assert problem["detail"] == (detail or ": ".join(next(iter(errors.items()))))


@pytest.mark.parametrize(
    ("path", "body", "errors", "detail"),
    [
        (
            "/v1/webhook-endpoints",
            {"ulr": "https://example.org/"},
            {"/url": "a field is missing: 'url'", "/ulr": "there is no field 'ulr'"},
            "a field is missing: 'url'",
        ),
        ("/v1/keys", {"name": "", "scopes": ["send"]}, {"/name": "must have at least 1 character"}, None),
        ("/v1/keys", {"name": "a", "scopes": []}, {"/scopes": "must have at least 1 item, not 0"}, None),
        ("/v1/keys", {"name": "a", "scopes": "send"}, {"/scopes": "must be a list"}, None),
        (
            "/v1/keys",
            {"name": "a", "scopes": ["all"]},
            {"/scopes/0": "must be 'send', 'read', 'templates' or 'manage'"},
            "scopes/0: must be 'send', 'read', 'templates' or 'manage'",
        ),
        (
            "/v1/streams",
            {"name": "No", "kind": "broadcast"},
            {"/name": "must match the pattern '^[a-z0-9][a-z0-9_-]{0,99}$'"},
            None,
        ),
        ("/v1/templates/a/render", {"data": []}, {"/data": "must be an object"}, None),
        ("/v1/streams", [], {"": "must be an object"}, "the body: must be an object"),
        ("/v1/streams", None, {"": "the body is missing"}, "the body is missing"),
    ],
)
async def test_one_sentence_says_what_is_wrong_with_a_field(
    door: Door, path: str, body: Any, errors: dict[str, str], detail: str | None
) -> None:
    key = bearer(door.keyring.issue(scopes=EVERYTHING))
    sent = {} if body is None else {"json": body}

    problem = (await door.client.post(path, headers=key, **sent)).json()

    told = {error["pointer"]: error["detail"] for error in problem["errors"]}
    [first, *_] = told.items()
    assert told == errors
    assert problem["detail"] == (detail or f"{first[0].removeprefix('/')}: {first[1]}")


@pytest.mark.parametrize(
    ("path", "detail"),
    [
        ("/v1/webhook-endpoints/whe_0", "this tenant has no such webhook endpoint"),
        ("/v1/templates/welcome", "this tenant has no such template"),
        ("/v1/templates/welcome/versions/2", "there is no such version of a template of this tenant"),
        ("/v1/streams/news", "this tenant has no such stream"),
        ("/v1/keys/key_0", "this tenant has no such API key"),
        ("/v1/messages/msg_0", "this tenant has no such message"),
    ],
)
async def test_what_is_not_there_is_called_what_it_is(door: Door, path: str, detail: str) -> None:
    answer = await door.get(path)

    assert (answer.status_code, answer.json()["detail"]) == (404, detail)


async def test_a_callback_that_is_not_there_is_called_a_callback(door: Door) -> None:
    key = bearer(door.keyring.issue(scopes=EVERYTHING))
    made = await door.client.post("/v1/webhook-endpoints", json={"url": URL}, headers=key)
    callbacks = f"/v1/webhook-endpoints/{made.json()['id']}/callbacks"

    malformed = await door.client.post(f"{callbacks}/x/retry", headers=key)
    unknown = await door.client.post(f"{callbacks}/whc_0000000000005/retry", headers=key)

    assert malformed.json()["detail"] == "this tenant has no such callback"
    assert unknown.json()["detail"] == "this tenant has no such callback of this endpoint"
