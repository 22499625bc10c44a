"""Whatever the octets: a send request is understood, or refused by SubmissionError with a pointer into it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.accept.credentials import Identity
from mailer.accept.http import draft, wire
from mailer.accept.http.catalogue import CATALOGUE
from mailer.accept.submission import Submission, SubmissionError
from mailer.compose import mime

IDENTITY = Identity(1, 2, b"s" * 32, frozenset({"send"}), False)
NOON = datetime(2026, 3, 9, 12, tzinfo=UTC)


def understand(raw: bytes) -> Submission:
    return draft.submission_of(
        wire.decode(raw), IDENTITY, most_recipients=20, idempotency_key=None, body_sha256=b"", now=NOON
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)
MAILBOX = st.sampled_from(
    ["a@x.example", "Ada <a@x.example>", '"A, B" <b@x.example>', "дора@x.example", "c@bücher.example"]
) | st.text(max_size=40)
ADDRESS = MAILBOX | st.fixed_dictionaries({"address": MAILBOX}, optional={"name": st.text(max_size=20)})
ADDRESSES = st.none() | ADDRESS | st.lists(ADDRESS, max_size=4)
FIELD_NAME = st.sampled_from(["X-A", "References", "List-Unsubscribe", "Bcc", "X A"]) | st.text(max_size=60)
HEADERS = (
    st.none()
    | st.dictionaries(FIELD_NAME, st.text(max_size=40), max_size=3)
    | st.lists(st.fixed_dictionaries({"name": FIELD_NAME, "value": st.text(max_size=40)}), max_size=3)
)
REQUEST = st.fixed_dictionaries(
    {"from": ADDRESS, "to": ADDRESSES},
    optional={
        "cc": ADDRESSES, "bcc": ADDRESSES, "reply_to": ADDRESSES, "subject": st.text(max_size=80),
        "text": st.none() | st.text(), "html": st.none() | st.text(), "headers": HEADERS,
        "tags": st.lists(st.text(max_size=5), max_size=3) | JSON,
        "metadata": st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3) | JSON,
        "stream": st.text(max_size=10), "more": JSON,
    },
)  # fmt: skip


def points_into(pointer: str, document: Any) -> bool:
    """RFC 6901 §4: the pointer leads to a value, or to a missing member of one."""
    for step in pointer.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(document, list):
            document = document[int(name)]
        elif isinstance(document, dict):
            document = document.get(name)
        else:
            return False
    return True


@given(st.binary())
def test_any_octets_are_understood_or_refused(raw: bytes) -> None:
    try:
        understand(raw)
    except SubmissionError as error:
        assert CATALOGUE[error.fault].status < 500


@given(JSON)
def test_any_json_is_understood_or_refused(document: Any) -> None:
    try:
        understand(json.dumps(document).encode())
    except SubmissionError as error:
        assert CATALOGUE[error.fault].status < 500


@given(REQUEST)
def test_what_is_taken_can_be_composed_and_what_is_refused_is_pointed_at(document: dict[str, Any]) -> None:
    """Composing is after the point of no return, so nothing may be left for it to refuse."""
    raw = msgspec.json.encode(document)
    try:
        submission = understand(raw)
    except SubmissionError as error:
        assert error.pointer is not None
        assert points_into(error.pointer, document)
        return
    assert isinstance(submission.content, mime.Draft)
    composed = mime.compose(submission.content, message_id="<m@x.example>", date=NOON, boundary="=_b")
    assert composed.headers.endswith(b"\r\n")
    assert submission.recipients


@pytest.mark.parametrize(
    ("raw", "pointer"),
    [
        (b"{}", "/from"),
        (b"[]", ""),
        (b'{"from":1}', "/from"),
        (b'{"from":"a@x.example","a/b~c":1}', "/a~1b~0c"),
        (b'{"from":{"address":"a@x.example","x":1}}', "/from/x"),
        (b'{"from":{"name":"A"}}', "/from/address"),
        (b'{"from":"a@x.example","to":["b@x.example",{"address":1}]}', "/to/1/address"),
        (b'{"from":"a@x.example","headers":[{"name":"A","value":"1"},{"name":"B"}]}', "/headers/1/value"),
        (b'{"from":"a@x.example","metadata":{"a":[]}}', "/metadata"),
    ],
)
def test_a_fault_of_shape_is_pointed_at(raw: bytes, pointer: str) -> None:
    with pytest.raises(SubmissionError) as caught:
        wire.decode(raw)

    assert caught.value.pointer == pointer


def test_a_long_unknown_name_is_not_repeated_whole() -> None:
    with pytest.raises(SubmissionError) as caught:
        wire.decode(json.dumps({"from": "a@x.example", "x" * 5000: 1}).encode())

    assert len(caught.value.detail) < 200


@pytest.mark.parametrize(
    ("field", "value", "detail"),
    [
        ("tags", ["a b"], "a tag is made of 1 to 64 visible ASCII characters"),
        (
            "send_at",
            "tomorrow",
            "must be an instant with its offset from UTC, such as 2026-01-31T08:00:00+01:00",
        ),
        (
            "expires_at",
            "2026-03-09T12:00:00",
            "must be an instant with its offset from UTC, such as 2026-01-31T08:00:00+01:00",
        ),
        ("subject", 5, "expected string, got int"),
    ],
)
def test_a_fault_is_told_in_words_that_help(field: str, value: Any, detail: str) -> None:
    raw = json.dumps({"from": "a@x.example", "to": "b@x.example", field: value}).encode()

    with pytest.raises(SubmissionError) as refused:
        wire.decode(raw)

    assert refused.value.detail == detail
