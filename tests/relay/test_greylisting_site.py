"""A site that greylists for some seconds, by real sockets: its second recipient profits by the first."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from sqlalchemy import select

from mailer import clock
from mailer.policy.retry import RetrySchedule
from mailer.queue import greylists, sweep
from mailer.store.tables import attempt
from tests.support.dns_server import DnsServer
from tests.support.mailroom import Mailroom
from tests.support.providers import serving
from tests.support.working import SCHEDULE, working

ZONE = {("p.test", "MX"): ["10 mx.p.test."], ("mx.p.test", "A"): ["127.0.0.1"]}
SITE = "mx:mx.p.test"
GREYLISTS = '[provider.p]\ntls = "none"\ndoes = [{ kind = "greylist", seconds = "3s" }]'
SECONDS = RetrySchedule(delays=SCHEDULE.delays * 9, give_up_after=SCHEDULE.give_up_after)


async def outcomes(room: Mailroom, message_id: int) -> list[Any]:
    """Of the attempts, once the last one was accepted."""
    wanted = select(attempt.c.outcome).where(attempt.c.message_id == message_id).order_by(attempt.c.id)

    def look() -> list[Any]:
        with room.store.read() as c:
            return list(c.execute(wanted).scalars())

    async with asyncio.timeout(60):
        while "accepted" not in (found := await asyncio.to_thread(look)):
            await asyncio.sleep(0.05)
    return found


def wake_due(room: Mailroom) -> None:
    """What the sweeper does about once a second; so does the worker's own thread that synchronises."""
    sweep.wake_due(room.store, now=clock.now())


async def test_the_second_recipient_passes_at_its_first_retry(room: Mailroom, tmp_path: Path) -> None:
    first, second = room.message("p.test"), room.message("p.test")
    with serving(GREYLISTS, tmp_path) as served:
        port = served.places["p"].port
        async with (
            DnsServer(ZONE) as dns,
            working(
                room, tmp_path, resolver=dns.place, port=port, schedule=SECONDS, draw=lambda: 0.5,
                also=lambda: wake_due(room),
            ) as worker,
        ):  # fmt: skip
            room.accept(first)
            worker.wake()
            tried_first = await outcomes(room, first.id)
            room.accept(second)
            worker.wake()
            tried_second = await outcomes(room, second.id)

    assert len(tried_first) > 2
    assert tried_second == ["refused", "accepted"]
    habit = greylists.habits(room.store)[SITE]
    assert 3 <= habit.passes_after.total_seconds() < 15
