"""One key may take the door only so far: messages, recipients, sessions. What is refused may come later."""

from __future__ import annotations

import asyncio
import smtplib
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from mailer import clock as real
from mailer.accept.rates import KeyRates, RateLimits
from mailer.policy.limits import Rate
from mailer.queue import allowances, fanout, read
from mailer.store import Store
from tests.accept.smtp.conftest import LETTER, SmtpDoor, issue, opened
from tests.accept.test_rates import Clock
from tests.support.instance import wait_for

LIMITS = RateLimits(messages_per_second=3, recipients_per_minute=8)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def door(store: Store, tmp_path: Path, clock: Clock) -> AsyncIterator[SmtpDoor]:
    async with opened(store, tmp_path, rates=KeyRates(LIMITS, clock), now=clock.now, sessions=2) as door:
        yield door


async def off_loop(work: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """The client blocks; the door runs on this loop."""
    return await asyncio.to_thread(work, *arguments, **named)


# The engine that takes the time of day from us.
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_key_hears_at_mail_that_it_has_sent_enough_and_may_soon_go_on(
    door: SmtpDoor, clock: Clock
) -> None:
    for _ in range(3):
        await off_loop(door.send)

    def try_once() -> tuple[int, bytes]:
        with door.session() as client:
            return client.mail("app@acme.example")

    refused = await off_loop(try_once)
    clock.at += 2
    words = await off_loop(door.send)

    assert refused == (451, b"4.7.1 this API key may submit 3 messages in 1 s")
    assert words.startswith(b"2.0.0 Accepted")


async def test_recipients_that_are_too_many_by_now_put_the_whole_message_off(door: SmtpDoor) -> None:
    people = [f"p{number}@example.org" for number in range(6)]
    await off_loop(door.send, LETTER, *people)

    with pytest.raises(smtplib.SMTPDataError) as caught:
        await off_loop(door.send, LETTER, *people)
    fewer = await off_loop(door.send, LETTER, *people[:2])

    assert caught.value.smtp_code == 451
    assert caught.value.smtp_error == b"4.7.1 this API key may submit 8 recipients in 60 s"
    assert fewer.startswith(b"2.0.0 Accepted")
    assert len(door.room.claim()) == 8


async def test_a_put_off_message_leaves_no_event(door: SmtpDoor, clock: Clock) -> None:
    people = [f"p{number}@example.org" for number in range(6)]
    await off_loop(door.send, LETTER, *people)
    with pytest.raises(smtplib.SMTPDataError):
        await off_loop(door.send, LETTER, *people)
    clock.at += 120
    await off_loop(door.send)

    fanout.fan_out(door.room.store)
    log = read.events(door.room.store, door.room.tenant_id, after=0, limit=100).events
    assert {e.type for e in log} == {"accepted"}


async def test_another_key_goes_on(door: SmtpDoor) -> None:
    for _ in range(3):
        await off_loop(door.send)
    other = issue(door.room)

    def send() -> dict[str, tuple[int, bytes]]:
        with door.session(other) as client:
            return client.sendmail("app@acme.example", ["ada@example.org"], LETTER)

    assert await off_loop(send) == {}


async def test_the_sessions_of_a_key_are_counted_until_they_end(door: SmtpDoor) -> None:
    def one_too_many() -> tuple[int, bytes | str]:
        with ExitStack() as stack:
            for _ in range(2):
                stack.enter_context(door.session())
            with pytest.raises(smtplib.SMTPAuthenticationError) as caught:
                stack.enter_context(door.session())
            stack.enter_context(door.session(issue(door.room)))  # of another key
            return caught.value.smtp_code, caught.value.smtp_error

    def once_more() -> bool:
        try:
            with door.session():
                return True
        except smtplib.SMTPAuthenticationError:
            return False

    code, words = await off_loop(one_too_many)
    assert (code, words) == (454, b"4.7.0 Too many sessions with this API key at once; try again later")
    assert await off_loop(wait_for, "a place", lambda: once_more() or None, within_seconds=10)


async def test_a_session_that_breaks_off_gives_its_place_back(door: SmtpDoor) -> None:
    def broken_off() -> None:
        for _ in range(2):
            client = smtplib.SMTP("127.0.0.1", door.port, timeout=10)
            client.login("any", door.key)
            assert client.sock is not None
            client.sock.close()

    def works() -> bool | None:
        try:
            return door.send().startswith(b"2.0.0") or None
        except smtplib.SMTPAuthenticationError:
            return None

    await off_loop(broken_off)
    assert await off_loop(wait_for, "a place", works, within_seconds=10)


async def test_beyond_its_tenants_quota_a_message_is_put_off(store: Store, door: SmtpDoor) -> None:
    allowances.allow(store, "accept", door.room.tenant_id, [Rate(86400, 1)], now=real.now())
    await off_loop(door.send)

    def try_once() -> tuple[int, bytes]:
        with door.session() as client:
            return client.mail("app@acme.example")

    code, words = await off_loop(try_once)

    assert code == 452
    assert words.startswith(
        b"4.7.1 this tenant may submit 1 recipients in any day; there is room for it at 20"
    )
