"""Mail is signed while its claim goes to the disk, and sent when it is there: on both databases."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import func, select

from mailer.relay.ondisk import OnDisk
from mailer.store import CommitUnknown
from mailer.store.tables import attempt
from tests.support.dns_server import DnsServer
from tests.support.mailroom import Mailroom
from tests.support.scripted_smtp import ScriptedPeer
from tests.support.working import working

ZONE = {("example.org", "MX"): ["10 mx.example.org."], ("mx.example.org", "A"): ["127.0.0.1"]}


def outcomes(room: Mailroom) -> dict[str, int]:
    counted = select(attempt.c.state, func.count()).group_by(attempt.c.state)
    with room.store.read() as connection:
        return {state: count for state, count in connection.execute(counted)}


def before_flushing_a_claim(
    room: Mailroom, monkeypatch: pytest.MonkeyPatch, happens: Callable[[], None]
) -> None:
    """`happens` each time the claimer waits for the disk with an attempt open."""
    flush = room.store.flush

    def flushed() -> None:
        if threading.current_thread().name == "claimer" and outcomes(room).get("open"):
            happens()
        flush()

    monkeypatch.setattr(room.store, "flush", flushed)


def contents(peer: ScriptedPeer) -> int:
    return sum(len(conversation.contents) for conversation in peer.conversations)


async def until(what: Callable[[], bool]) -> None:
    for _ in range(400):
        if await asyncio.to_thread(what):
            return
        await asyncio.sleep(0.05)
    raise AssertionError("waited in vain")


async def test_nothing_is_dialled_before_the_claim_is_on_disk(
    room: Mailroom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting, may_end = threading.Event(), threading.Event()

    def hold() -> None:
        waiting.set()
        assert may_end.wait(20)

    before_flushing_a_claim(room, monkeypatch, hold)
    room.accept(*(room.message() for _ in range(5)))

    async with (
        ScriptedPeer() as peer,
        DnsServer(ZONE) as dns,
        working(room, tmp_path, resolver=dns.place, port=peer.port),
    ):
        assert await asyncio.to_thread(waiting.wait, 20)
        await asyncio.sleep(0.5)  # long enough to sign and dial
        before = len(peer.conversations)
        may_end.set()
        await until(lambda: contents(peer) == 5)

    assert before == 0


async def test_where_the_claim_may_not_be_on_disk_the_mail_goes_back_and_is_sent_once(
    room: Mailroom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = [CommitUnknown("the disk")] * 2

    def fail() -> None:
        if failures:
            raise failures.pop()

    before_flushing_a_claim(room, monkeypatch, fail)
    room.accept(*(room.message() for _ in range(3)))

    async with (
        ScriptedPeer() as peer,
        DnsServer(ZONE) as dns,
        working(room, tmp_path, resolver=dns.place, port=peer.port),
    ):
        await until(lambda: not failures and contents(peer) == 3)
        await until(lambda: not outcomes(room).get("open"))

    assert contents(peer) == 3
    assert outcomes(room)["released"] >= 3


async def test_who_comes_after_the_answer_does_not_wait() -> None:
    loop = asyncio.get_running_loop()
    there, lost, later = OnDisk(loop), OnDisk(loop), OnDisk(loop)
    waiters = [asyncio.create_task(later.stands()) for _ in range(3)]
    await asyncio.sleep(0)

    there.is_known(stands=True)
    lost.is_known(stands=False)
    await asyncio.to_thread(later.is_known, stands=True)

    async with asyncio.timeout(5):
        assert (await there.stands(), await lost.stands()) == (True, False)
        assert await asyncio.gather(*waiters) == [True] * 3


async def test_an_answer_that_comes_as_one_begins_to_wait_is_heard() -> None:
    """The claimer's thread may see nobody wait yet, at the very moment."""

    class Loop:
        def create_future(self) -> asyncio.Future[None]:
            on_disk.is_known(stands=True)
            return asyncio.get_running_loop().create_future()

    on_disk = OnDisk(Loop())  # type: ignore[arg-type]

    async with asyncio.timeout(5):
        assert await on_disk.stands()
