"""What a worker tells of the sessions that it has open."""

from __future__ import annotations

import asyncio
from pathlib import Path

from sqlalchemy import select

from mailer.relay.opened import OpenSessions
from mailer.store.tables import open_session
from tests.support.dns_server import DnsServer
from tests.support.mailroom import Mailroom
from tests.support.scripted_smtp import ScriptedPeer
from tests.support.working import working

SITE = "mx:mx.example.org"
ZONE = {("example.org", "MX"): ["10 mx.example.org."], ("mx.example.org", "A"): ["127.0.0.1"]}


def in_use(room: Mailroom) -> dict[str, int]:
    with room.store.read() as connection:
        return {row.site: row.sessions for row in connection.execute(select(open_session))}


def test_what_changed_is_told_and_what_closed_as_well(room: Mailroom) -> None:
    told = OpenSessions(room.store, room.worker.id)
    told.see({"mx:a": 2, "mx:b": 1})
    told.store()
    first = in_use(room)

    told.see({"mx:b": 4})
    told.store()

    assert first == {"mx:a": 2, "mx:b": 1}
    assert in_use(room) == {"mx:b": 4}


async def test_a_worker_tells_of_its_sessions_within_seconds(room: Mailroom, tmp_path: Path) -> None:
    """It is kept open for the next message, and so is in use."""
    room.accept(room.message())

    async with (
        ScriptedPeer() as peer,
        DnsServer(ZONE) as dns,
        working(room, tmp_path, resolver=dns.place, port=peer.port),
    ):
        for _ in range(300):
            if (await asyncio.to_thread(in_use, room)).get(SITE):
                break
            await asyncio.sleep(0.1)
        seen = await asyncio.to_thread(in_use, room)

    assert seen == {SITE: 1}
