"""What is tried again, and what is not: a peer that fails by a script."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.client import (
    ApiError,
    AsyncMailer,
    ConnectionFailed,
    Mailer,
    Patience,
    RateLimited,
    ServerFailed,
    UnreadableAnswer,
)
from mailer.client.calls import managing, messages
from mailer.client.errors import error_of
from tests.support.scripted_http import ScriptedHttp, answer

AT_ONCE = Patience(retries=2, first_pause=0.0, longest_pause=1.0)
ACCEPTED = answer("202 Accepted", b'{"id":"msg_0000000000005","status":"accepted","recipients":[]}')
BUSY = answer(
    "503 Service Unavailable",
    b'{"type":"/problems/busy","status":503,"detail":"later"}',
    Content_Type="application/problem+json",
    Retry_After="0",
)
BROKEN = answer("502 Bad Gateway", b"<html>", Content_Type="text/html")
LETTER: dict[str, Any] = {"from_": "shop@acme.example", "to": "ada@example.org", "text": "hi"}


@contextmanager
def trying(script: Sequence[bytes]) -> Iterator[tuple[ScriptedHttp, Mailer]]:
    """A peer that answers by the script, and a client that tries again twice, at once."""
    with ScriptedHttp(script) as peer, Mailer("key", peer.url, patience=AT_ONCE) as mailer:
        yield peer, mailer


def keys_of(peer: ScriptedHttp) -> set[bytes]:
    lines = [line for request in peer.heard for line in request.split(b"\r\n")]
    return {line for line in lines if line.lower().startswith(b"idempotency-key:")}


@pytest.mark.parametrize("failure", [b"", BUSY, BROKEN])
def test_a_send_is_tried_again_under_the_same_key(failure: bytes) -> None:
    with trying([failure, failure, ACCEPTED]) as (peer, mailer):
        accepted = mailer.messages.send(**LETTER)

    assert accepted.id == "msg_0000000000005"
    assert (len(peer.heard), len(keys_of(peer))) == (3, 1)


async def test_a_send_is_tried_again_with_await() -> None:
    with ScriptedHttp([b"", BUSY, ACCEPTED]) as peer:
        async with AsyncMailer("key", peer.url, patience=AT_ONCE) as mailer:
            accepted = await mailer.messages.send(**LETTER)

    assert accepted.id == "msg_0000000000005"
    assert (len(peer.heard), len(keys_of(peer))) == (3, 1)


def test_when_patience_is_over_the_last_failure_is_told() -> None:
    with trying([b"", BUSY, BUSY]) as (_, mailer), pytest.raises(ServerFailed) as failed:
        mailer.messages.send(**LETTER)

    assert (failed.value.word, failed.value.retry_after) == ("busy", 0)


def test_what_may_leave_something_behind_is_not_repeated_once_it_was_sent() -> None:
    with trying([b""]) as (peer, mailer), pytest.raises(ConnectionFailed):
        mailer.keys.create("shop")

    assert len(peer.heard) == 1


def test_what_was_put_off_is_repeated_whatever_it_is() -> None:
    key = (
        b'{"id":"key_0000000000005","name":"shop","scopes":["send"],"state":"active","api_key":"mk_x",'
        b'"created_at":"2026-03-09T14:30:00.000Z"}'
    )
    with trying([BUSY, answer("201 Created", key)]) as (peer, mailer):
        made = mailer.keys.create("shop")

    assert (made.api_key, len(peer.heard)) == ("mk_x", 2)


def test_a_refusal_is_not_repeated() -> None:
    refusal = answer(
        "403 Forbidden", b'{"type":"/problems/forbidden"}', Content_Type="application/problem+json"
    )
    with trying([refusal]) as (peer, mailer), pytest.raises(ApiError, match="forbidden"):
        mailer.messages.send(**LETTER)

    assert len(peer.heard) == 1


def test_nobody_waits_longer_than_they_may() -> None:
    """An hour is no pause for a program that somebody waits for."""
    hour = answer("429 Too Many Requests", b"{}", Retry_After="3600")
    began = time.monotonic()
    with trying([hour]) as (_, mailer), pytest.raises(RateLimited) as failed:
        mailer.messages.send(**LETTER)

    assert failed.value.retry_after == 3600
    assert time.monotonic() - began < 60


def test_where_nobody_listens_it_is_said() -> None:
    with ScriptedHttp([]) as peer:
        url = peer.url

    with (
        Mailer("key", url, patience=AT_ONCE) as mailer,
        pytest.raises(ConnectionFailed, match="/v1/messages"),
    ):
        mailer.messages.send(**LETTER)


def test_another_server_is_recognised() -> None:
    with trying([answer("200 OK", b"<html>hello</html>")]) as (_, mailer), pytest.raises(UnreadableAnswer):
        mailer.messages.get("msg_0000000000005")


@given(tried=st.integers(1, 1000), draw=st.floats(0, 1, exclude_max=True))
def test_pauses_grow_and_have_a_bound(tried: int, draw: float) -> None:
    patience = Patience(retries=1000, first_pause=0.5, longest_pause=20.0)

    pause = patience.after_break(messages.get("msg_x"), tried=tried, was_sent=True, draw=draw)

    assert pause is not None
    assert 0.25 <= pause <= 20.0


@given(st.integers(300, 599), st.none() | st.text(), st.text(), st.binary())
def test_whatever_is_answered_becomes_an_error_and_raises_none(
    status: int, retry_after: str | None, content_type: str, content: bytes
) -> None:
    assert error_of(status, retry_after, content_type, content).status == status


def test_a_key_is_not_repeated_after_an_answer_that_leaves_it_open() -> None:
    call = managing.create_key("shop", scopes=["send"], streams=None, domains=None, expires_at=None)

    assert AT_ONCE.after_answer(call, ServerFailed(500, "internal", ""), tried=1, draw=0.0) is None
