"""Requests about returned mail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from mailer.client.answers.returned import ReturnedMail, ReturnedPage
from mailer.client.call import Call, pairs

_PATH = "/v1/returned"


class ReturnedFilters(TypedDict, total=False):
    """Conditions that all hold. verified: it proves whose it is."""

    kind: str
    bounce_class: str
    verified: bool


def page(filters: Mapping[str, Any], *, cursor: str | None, limit: int) -> Call[ReturnedPage]:
    params = tuple(pairs(**filters, cursor=cursor, limit=limit))
    return Call(method="GET", path=_PATH, answer=ReturnedPage, params=params, repeatable=True)


def get(returned_id: str) -> Call[ReturnedMail]:
    return Call(method="GET", path=f"{_PATH}/{returned_id}", answer=ReturnedMail, repeatable=True)


def raw(returned_id: str) -> Call[None]:
    return Call(method="GET", path=f"{_PATH}/{returned_id}/raw", answer=None, repeatable=True)
