"""The sandbox inbox."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypedDict

from mailer.client.answers.inbox import CaughtMessage, Deleted, InboxPage
from mailer.client.call import Call, pairs

_PATH = "/v1/inbox"


class Matcher(TypedDict, total=False):
    """Conditions that all hold. since: the key of a message that came before, or an instant."""

    recipient: str
    from_: str
    subject: str
    message_id: str
    since: str | datetime


def page(matcher: Mapping[str, Any], *, limit: int) -> Call[InboxPage]:
    return Call(
        method="GET", path=_PATH, answer=InboxPage, params=_params(matcher, limit=limit), repeatable=True
    )


def wait(matcher: Mapping[str, Any], *, timeout: int) -> Call[CaughtMessage]:
    return Call(
        method="GET",
        path=f"{_PATH}/wait",
        answer=CaughtMessage,
        params=_params(matcher, timeout=timeout),
        repeatable=True,
        wait=float(timeout),
    )


def get(key: str) -> Call[CaughtMessage]:
    return Call(method="GET", path=f"{_PATH}/{key}", answer=CaughtMessage, repeatable=True)


def raw(key: str) -> Call[None]:
    return Call(method="GET", path=f"{_PATH}/{key}/raw", answer=None, repeatable=True)


def clear(matcher: Mapping[str, Any]) -> Call[Deleted]:
    return Call(method="DELETE", path=_PATH, answer=Deleted, params=_params(matcher), repeatable=True)


def _params(matcher: Mapping[str, Any], **more: object) -> tuple[tuple[str, str], ...]:
    return tuple(pairs(**{name.rstrip("_"): value for name, value in matcher.items()}, **more))
