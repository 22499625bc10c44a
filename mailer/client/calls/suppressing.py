"""Requests about the suppression list."""

from __future__ import annotations

from datetime import datetime
from typing import TypedDict

from mailer.client.answers.suppressing import Imported, Removed, Suppression, SuppressionPage
from mailer.client.call import Call, changing, pairs

_PATH = "/v1/suppressions"
_SECONDS = 600.0  # that a long list may take


class Sought(TypedDict, total=False):
    """Which entries; all that is given must be met. search: what addresses begin with."""

    reason: str
    stream: str
    domain: str
    search: str


def page(sought: Sought, *, cursor: str | None, limit: int) -> Call[SuppressionPage]:
    return Call(
        method="GET",
        path=_PATH,
        answer=SuppressionPage,
        params=tuple(pairs(**sought, cursor=cursor, limit=limit)),
        repeatable=True,
    )


def one(suppression_id: str) -> Call[Suppression]:
    return Call(method="GET", path=f"{_PATH}/{suppression_id}", answer=Suppression, repeatable=True)


def add(
    target: str, *, stream: str | None, note: str | None, expires_at: datetime | None
) -> Call[Suppression]:
    wanted = {"target": target, "stream": stream, "note": note, "expires_at": expires_at}
    return changing("POST", _PATH, Suppression, wanted, repeatable=True)


def remove(suppression_id: str, *, send_again: bool) -> Call[Removed]:
    """Not repeatable: the second answer would be that there is none."""
    return Call(
        method="DELETE",
        path=f"{_PATH}/{suppression_id}",
        answer=Removed,
        params=tuple(pairs(send_again=send_again)),
    )


def import_csv(content: bytes) -> Call[Imported]:
    return Call(
        method="POST",
        path=f"{_PATH}/import",
        answer=Imported,
        headers={"Content-Type": "text/csv"},
        body=content,
        repeatable=True,
        wait=_SECONDS,
    )


def export_csv() -> Call[bytes]:
    return Call(method="GET", path=f"{_PATH}/export", answer=bytes, repeatable=True, wait=_SECONDS)
