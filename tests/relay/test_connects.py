"""New connections over time: no more than a rule allows, whoever dials, and idle sessions serve meanwhile."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mailer import clock
from mailer.policy.outcome import Accepted, NotTried
from mailer.policy.sites import SiteRules
from mailer.relay.connects import ConnectDesk
from mailer.relay.smtp.carrier import SmtpCarrier
from mailer.relay.smtp.settings import Mode
from mailer.store import Store, StoreUnavailable
from tests.support.scripted_smtp import ScriptedPeer
from tests.support.smtp_client import NotedJournal, OneHost, mail, settings

RULES = SiteRules.parse(
    {
        "own.toml": """
[provider.slow]
mx = ["slow.example"]
connections_per_minute = 2
source = "assumed"
"""
    }
)


def desk(store: Store) -> ConnectDesk:
    return ConnectDesk(store, RULES, now=clock.now, monotonic=clock.monotonic)


@contextmanager
def served(*desks: ConnectDesk) -> Iterator[None]:
    """A thread for each that serves whenever somebody asks."""
    stopping = threading.Event()

    def serve(one: ConnectDesk) -> None:
        while not stopping.is_set():
            one.serve()
            time.sleep(0.01)

    threads = [threading.Thread(target=serve, args=(one,)) for one in desks]
    [t.start() for t in threads]
    try:
        yield
    finally:
        stopping.set()
        [t.join() for t in threads]


async def test_two_workers_open_no_more_than_the_rule_allows(store: Store) -> None:
    here, there = desk(store), desk(store)
    with served(here, there):
        asked = [d.admit("provider:slow", "", 1.0) for d in (here, there, here, there)]
        admitted = await asyncio.gather(*asked)

    assert sorted(admitted) == [False, False, True, True]
    assert here.opens_in() is None  # nobody asks any more


async def test_each_of_our_addresses_has_its_own_and_other_sites_have_no_limit(store: Store) -> None:
    one = desk(store)
    with served(one):
        from_here = [await one.admit("provider:slow", "192.0.2.1", 1.0) for _ in range(3)]
        from_there = await one.admit("provider:slow", "192.0.2.2", 1.0)
    unserved = await one.admit("mx:mx.example", "", 0.0)

    assert from_here == [True, True, False]
    assert (from_there, unserved) == (True, True)


async def test_who_gave_up_is_not_admitted_and_the_next_one_is(store: Store) -> None:
    one = desk(store)
    gave_up = await one.admit("provider:slow", "", 0.05)
    with served(one):
        admitted = [await one.admit("provider:slow", "", 1.0) for _ in range(2)]

    assert gave_up is False
    assert admitted == [True, True]


async def test_a_database_that_is_away_is_asked_again_after_a_while(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = desk(store)

    def away(asking: object) -> None:
        raise StoreUnavailable("away")

    monkeypatch.setattr(one, "_deal", away)
    asking = asyncio.create_task(one.admit("provider:slow", "", 5.0))
    await asyncio.sleep(0)
    one.serve()
    waits = one.opens_in()
    asking.cancel()

    assert waits is not None
    assert waits > 0.5


async def test_a_session_that_became_idle_carries_what_waits_for_a_connection(store: Store) -> None:
    one = desk(store)
    async with ScriptedPeer() as peer:
        smtp = settings(mode=Mode.LIVE, port=peer.port, rules=RULES, wait_seconds=20.0)
        carrier = SmtpCarrier(smtp, OneHost("provider:slow", "127.0.0.1"), NotedJournal(), connects=one)
        with served(one):
            reports = await asyncio.gather(*(carrier.deliver(mail()) for _ in range(8)))
            await carrier.close(grace_seconds=5)

    assert all(isinstance(report.outcome, Accepted) for report in reports)
    assert len(peer.conversations) <= 2


async def test_what_gets_no_connection_in_its_time_goes_back(store: Store) -> None:
    one = desk(store)
    async with ScriptedPeer() as peer:
        smtp = settings(mode=Mode.LIVE, port=peer.port, rules=RULES, wait_seconds=0.3)
        carrier = SmtpCarrier(smtp, OneHost("provider:slow", "127.0.0.1"), NotedJournal(), connects=one)
        report = await carrier.deliver(mail())  # nobody serves
        await carrier.close(grace_seconds=5)

    assert report.outcome == NotTried("limited")
    assert peer.conversations == []
