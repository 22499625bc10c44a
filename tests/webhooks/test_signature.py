"""Signatures as Standard Webhooks has them, judged by its own library and its own example."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from mailer.accept.http.shapes import Event as EventShape
from mailer.events import EventType
from mailer.shown import Event
from webhooks import payload, signature

KEYS = st.binary(min_size=24, max_size=64)


def test_the_specifications_own_example() -> None:
    """Of the reference libraries' tests (standard-webhooks/standard-webhooks)."""
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    made = signature.sign(
        [key], callback="msg_p5jXN8AQM9LWM0D4loKWxJek", timestamp=1614265330, body=b'{"test": 2432232314}'
    )

    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(KEYS, st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1), st.text())
def test_the_official_library_makes_the_same(key: bytes, name: str, body: str) -> None:
    at = datetime(2026, 11, 24, tzinfo=UTC)
    theirs = Webhook(signature.shown(key)).sign(name, at, body)
    ours = signature.sign([key], callback=name, timestamp=int(at.timestamp()), body=body.encode())

    assert ours == theirs


def test_secrets_are_all_different_and_as_long_as_the_specification_asks() -> None:
    made = {signature.new_secret() for _ in range(100)}

    assert len(made) == 100
    assert {len(secret) for secret in made} == {32}
    assert {signature.shown(secret)[:6] for secret in made} == {"whsec_"}


EVENT = Event(
    number=7, id=12345, type="bounced", at=datetime(2026, 11, 24, 12, 0, 0, 123000, tzinfo=UTC),
    message_id=77, recipient_id=78, version=3,
    data={"reply": "550 5.1.1 no such user", "nested": {"a": [1, None, 2.5, "ü"]}},
)  # fmt: skip
OF_NOBODY = Event(
    number=8, id=5, type="rejected", at=datetime(2026, 1, 1, tzinfo=UTC), message_id=None,
    recipient_id=None, version=1, data={},
)  # fmt: skip


@pytest.mark.parametrize("event", [EVENT, OF_NOBODY])
def test_an_event_is_shown_as_the_api_shows_it(event: Event) -> None:
    shape = EventShape.model_validate(event, from_attributes=True)

    assert event.members() == shape.model_dump(mode="json", by_alias=True)
    assert list(event.members()) == list(EventShape.model_fields)


def test_a_test_is_no_event_word() -> None:
    assert payload.TEST not in set(EventType)


def test_the_body_is_the_same_at_every_attempt() -> None:
    assert payload.body_of(EVENT) == payload.body_of(EVENT)
    assert payload.webhook_id(EVENT) == EVENT.members()["id"]
