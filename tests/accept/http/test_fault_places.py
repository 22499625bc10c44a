"""What is wrong with a request's field is told at that field: pointers name what the caller wrote."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import pytest
from pydantic import ValidationError

from mailer.accept import http
from mailer.accept.http.asked import Asked
from mailer.identity.api_keys import OPERATE
from tests.accept.http.conftest import Door, bearer

for _module in pkgutil.iter_modules(http.__path__):
    importlib.import_module(f"{http.__name__}.{_module.name}")


def _all(kind: type[Asked]) -> list[type[Asked]]:
    return [found for each in kind.__subclasses__() for found in (each, *_all(each))]


# Of a query only the parameter's name is told, whatever stands behind it.
BODIES = sorted(
    {each for each in _all(Asked) if not each.__name__.endswith("Query")}, key=lambda m: m.__name__
)


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
def test_every_field_is_the_place_of_what_is_wrong_with_it(body: type[Asked]) -> None:
    wrong = {name: {"nothing": [None]} for name in body.model_fields}

    with pytest.raises(ValidationError) as caught:
        body.model_validate(wrong)

    places = [fault["loc"] for fault in caught.value.errors()]
    assert [place for place in places if not set(place) <= {*body.model_fields, "nothing"}] == []


@pytest.mark.parametrize(
    ("method", "path", "body", "pointers"),
    [
        ("PATCH", "/v1/pools/main", {"overflow": 5, "is_default": "x"}, ["/overflow", "/is_default"]),
        ("POST", "/v1/queue/holds", {"reason": "r", "domain": "a b", "site": 5}, ["/domain", "/site"]),
        ("POST", "/v1/queue/requeue", {"reason": "r", "message_id": None}, ["/message_id"]),
        ("POST", "/v1/brake/clear", {"tenant": "acme", "reason": "r", "stream": 5}, ["/stream"]),
    ],
)
async def test_the_pointers_of_problems_name_the_fields(
    door: Door, method: str, path: str, body: dict[str, Any], pointers: list[str]
) -> None:
    operator = bearer(door.keyring.issue(scopes=(OPERATE,)))

    answer = await door.client.request(method, path, json=body, headers=operator)

    assert answer.status_code == 422, answer.text
    assert [error["pointer"] for error in answer.json()["errors"]] == pointers
