"""Where mail waits, and what is done to it."""

from __future__ import annotations

from typing import TypedDict

from mailer.client.answers.queue import Acted, ActionPage, Hold, HoldList, PlacedHold, QueueOverview, Waiting
from mailer.client.call import Call, changing, pairs

_PATH = "/v1/queue"


class Conditions(TypedDict, total=False):
    """Which mail that waits is meant: all that is said must be met. tenant: only for operators."""

    stream: str
    domain: str
    site: str
    message_id: str
    recipient_id: str
    tenant: str
    everything: bool


def overview(by: str, limit: int) -> Call[QueueOverview]:
    params = tuple(pairs(by=by, limit=limit))
    return Call(method="GET", path=_PATH, answer=QueueOverview, params=params, repeatable=True)


def count(conditions: Conditions) -> Call[Waiting]:
    params = tuple(pairs(**{name: value for name, value in conditions.items() if name != "everything"}))
    return Call(method="GET", path=f"{_PATH}/count", answer=Waiting, params=params, repeatable=True)


def holds() -> Call[HoldList]:
    return Call(method="GET", path=f"{_PATH}/holds", answer=HoldList, repeatable=True)


def get_hold(hold_id: str) -> Call[Hold]:
    return Call(method="GET", path=f"{_PATH}/holds/{hold_id}", answer=Hold, repeatable=True)


def hold(conditions: Conditions, *, reason: str, until: object) -> Call[PlacedHold]:
    return changing("POST", f"{_PATH}/holds", PlacedHold, {**conditions, "reason": reason, "until": until})


def release(hold_id: str) -> Call[None]:
    return Call(method="DELETE", path=f"{_PATH}/holds/{hold_id}", answer=None, repeatable=True)


def requeue(conditions: Conditions, *, reason: str, faulty: bool) -> Call[Acted]:
    wanted = {**conditions, "reason": reason, "faulty": faulty}
    return changing("POST", f"{_PATH}/requeue", Acted, wanted, repeatable=True)


def move(conditions: Conditions, *, reason: str, to_stream: str | None, to_pool: str | None) -> Call[Acted]:
    wanted = {**conditions, "reason": reason, **dict(pairs(to_stream=to_stream, to_pool=to_pool))}
    return changing("POST", f"{_PATH}/move", Acted, wanted, repeatable=True)


def bounce(conditions: Conditions, *, reason: str, status: str) -> Call[Acted]:
    wanted = {**conditions, "reason": reason, "status": status}
    return changing("POST", f"{_PATH}/bounce", Acted, wanted)


def actions(*, cursor: str | None, limit: int) -> Call[ActionPage]:
    params = tuple(pairs(cursor=cursor, limit=limit))
    return Call(method="GET", path=f"{_PATH}/actions", answer=ActionPage, params=params, repeatable=True)
