"""Octets held are counted, given back, and never above the budget."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import Message, Receive

from mailer.accept.budget import ByteBudget
from mailer.accept.http.body import BodyLimits, read_body
from mailer.accept.http.visits import ClientGone
from mailer.accept.submission import Fault, SubmissionError

LIMITS = BodyLimits(request_bytes=100, grace_seconds=5.0)


def arriving(*messages: Message) -> Receive:
    waiting = list(messages)

    async def receive() -> Message:
        return waiting.pop(0)

    return receive


def chunk(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_a_body_in_pieces_is_put_together() -> None:
    budget = ByteBudget(1000)
    with budget.hold() as hold:
        receive = arriving(chunk(b"he"), chunk(b""), chunk(b"llo"), chunk(b"", more=False))
        body = await read_body({}, receive, hold, LIMITS)

        assert (body, budget.held_bytes) == (b"hello", 5)


async def test_what_was_held_is_given_back_however_it_ends() -> None:
    budget = ByteBudget(1000)
    with pytest.raises(ClientGone), budget.hold() as hold:
        await read_body({}, arriving(chunk(b"he"), {"type": "http.disconnect"}), hold, LIMITS)

    assert budget.held_bytes == 0


async def test_an_announced_length_is_reserved_before_the_first_octet() -> None:
    budget = ByteBudget(100)
    with budget.hold() as first:
        first.grow_to(60)
        with pytest.raises(SubmissionError) as caught, budget.hold() as second:
            await read_body({b"content-length": b"50"}, arriving(), second, LIMITS)

        assert caught.value.fault is Fault.BUSY
        assert budget.held_bytes == 60


async def test_the_budget_is_for_all_bodies_together() -> None:
    budget = ByteBudget(100)
    with budget.hold() as first:
        first.grow_to(60)
        with pytest.raises(SubmissionError) as caught, budget.hold() as second:
            await read_body({}, arriving(chunk(b"x" * 30), chunk(b"x" * 30)), second, LIMITS)
    with budget.hold() as third:
        third.grow_to(100)

        assert caught.value.fault is Fault.BUSY
        assert budget.held_bytes == 100


async def test_a_length_that_is_no_number_is_refused() -> None:
    with pytest.raises(SubmissionError) as caught, ByteBudget(100).hold() as hold:
        await read_body({b"content-length": b"-1"}, arriving(), hold, LIMITS)

    assert caught.value.fault is Fault.MALFORMED_REQUEST


async def test_a_sender_below_the_pace_is_given_up() -> None:
    """A trickle of octets buys no time worth the connection."""
    slow = BodyLimits(request_bytes=100, grace_seconds=0.0, bytes_per_second=1000)

    async def trickle() -> Message:
        await asyncio.sleep(0)
        return chunk(b"")

    with pytest.raises(SubmissionError) as caught, ByteBudget(100).hold() as hold:
        await read_body({}, trickle, hold, slow)

    assert caught.value.fault is Fault.REQUEST_TIMEOUT
