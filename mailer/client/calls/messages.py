"""Sending messages, looking at them, changing their course."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypedDict, TypeVar

from mailer.client.answers.messages import (
    Accepted,
    Cancelled,
    ExplainedMessage,
    Message,
    MessagePage,
    Retried,
)
from mailer.client.answers.sending import BatchAnswer, Finding
from mailer.client.call import JSON, Call, changing, json_body, pairs
from mailer.client.letters import as_request

_PATH = "/v1/messages"
T = TypeVar("T")


class Filters(TypedDict, total=False):
    """All that is given must be met; state, recipient and domain by one recipient."""

    state: Sequence[str]
    recipient: str
    domain: str
    tag: str
    stream: str
    from_domain: str
    after: datetime
    before: datetime


def send(letter: Mapping[str, Any], idempotency_key: str | None) -> Call[Accepted]:
    """A key is made up where none is given: the client's own repeats must not send twice."""
    return Call(
        method="POST",
        path=_PATH,
        answer=Accepted,
        headers=_keyed(idempotency_key),
        body=json_body(as_request(letter)),
        repeatable=True,
    )


def send_all(letters: Sequence[Mapping[str, Any]], idempotency_key: str | None) -> Call[BatchAnswer]:
    return _batch({"messages": [as_request(letter) for letter in letters]}, idempotency_key)


def send_each(
    letter: Mapping[str, Any], recipients: Sequence[Mapping[str, Any]], idempotency_key: str | None
) -> Call[BatchAnswer]:
    return _batch({"message": as_request(letter), "recipients": recipients}, idempotency_key)


def _batch(body: Mapping[str, Any], idempotency_key: str | None) -> Call[BatchAnswer]:
    return Call(
        method="POST",
        path=f"{_PATH}/batch",
        answer=BatchAnswer,
        headers=_keyed(idempotency_key),
        body=json_body(body),
        repeatable=True,
    )


def send_raw(
    message: bytes, mail_from: str | None, rcpt_to: Sequence[str] | None, idempotency_key: str | None
) -> Call[Accepted]:
    """As JSON where there is an envelope: header fields would not hold a thousand recipients."""
    path = f"{_PATH}/raw"
    if mail_from is None and rcpt_to is None:
        headers = _keyed(idempotency_key, "message/rfc822")
        return Call(method="POST", path=path, answer=Accepted, headers=headers, body=message, repeatable=True)
    # Octets become base64.
    wanted = {"message": message, "mail_from": mail_from, "rcpt_to": rcpt_to}
    said = {name: value for name, value in wanted.items() if value is not None}
    headers = _keyed(idempotency_key)
    return Call(
        method="POST", path=path, answer=Accepted, headers=headers, body=json_body(said), repeatable=True
    )


def validate(letter: Mapping[str, Any]) -> Call[Finding]:
    return changing("POST", f"{_PATH}/validate", Finding, as_request(letter), repeatable=True)


def get(message_id: str) -> Call[Message]:
    return Call(method="GET", path=f"{_PATH}/{message_id}", answer=Message, repeatable=True)


def listed(filters: Mapping[str, Any], *, limit: int, cursor: str | None) -> Call[MessagePage]:
    return Call(
        method="GET",
        path=_PATH,
        answer=MessagePage,
        params=tuple(pairs(**filters, limit=limit, cursor=cursor)),
        repeatable=True,
    )


def explain(message_id: str) -> Call[ExplainedMessage]:
    return Call(method="GET", path=f"{_PATH}/{message_id}/explain", answer=ExplainedMessage, repeatable=True)


def cancel(message_id: str, recipients: Sequence[str] | None) -> Call[Cancelled]:
    return _of_some(f"{_PATH}/{message_id}/cancel", Cancelled, recipients)


def retry(message_id: str, recipients: Sequence[str] | None) -> Call[Retried]:
    return _of_some(f"{_PATH}/{message_id}/retry", Retried, recipients)


def _of_some(path: str, answer: type[T], recipients: Sequence[str] | None) -> Call[T]:
    """Without recipients there is no body: the call is for all."""
    if recipients is None:
        return Call(method="POST", path=path, answer=answer, repeatable=True)
    return changing("POST", path, answer, {"recipients": recipients}, repeatable=True)


def _keyed(idempotency_key: str | None, content_type: str = JSON) -> dict[str, str]:
    key = secrets.token_urlsafe(24) if idempotency_key is None else idempotency_key
    return {"Content-Type": content_type, "Idempotency-Key": key}
