"""Who is on a list is accepted and suppressed in one transaction, also while the list grows."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from msgspec.structs import replace
from sqlalchemy import func, select

from mailer import clock
from mailer.accept.committer import Prepared
from mailer.events import NoticeKind, RecipientState
from mailer.queue import stopping, suppressionlist, verify
from mailer.queue.suppressing import EVERY_STREAM
from mailer.queue.suppressionentries import API, Entry
from mailer.store.tables import notice, recipient, usage
from tests.accept.conftest import Desk
from tests.support.mailroom import KEYS

ADA = "ada@example.org"


def to_ada(desk: Desk, **change: object) -> Prepared:
    prepared = desk.prepared()
    [one] = prepared.recipients
    return replace(prepared, recipients=(replace(one, address=ADA, **change),))


def suppress(desk: Desk) -> None:
    room = desk.room
    entry = Entry(
        target=KEYS.address(ADA), tenant_id=room.tenant_id, stream_id=EVERY_STREAM, id=room.new_id(),
        reason="complaint", cause=API, created_at=clock.now(),
    )  # fmt: skip
    suppressionlist.add(room.store, entry, new_id=room.new_id)


async def test_it_is_counted_and_told_once(desk: Desk) -> None:
    suppress(desk)

    await asyncio.gather(desk.committer.commit(to_ada(desk)), desk.committer.commit(desk.prepared()))

    with desk.room.store.read() as connection:
        found = select(recipient.c.state, func.count()).group_by(recipient.c.state)
        states = {state: n for state, n in connection.execute(found)}
        counted = select(func.sum(usage.c.accepted), func.sum(usage.c.suppressed))
        assert connection.execute(counted).one() == (2, 1)
    assert states == {RecipientState.SUPPRESSED: 1, RecipientState.QUEUED: 1}
    assert verify.verify(desk.room.store).holds


async def test_a_submitter_who_wants_to_hear_of_failures_does(desk: Desk) -> None:
    suppress(desk)

    await desk.committer.commit(to_ada(desk, notify="FAILURE"))
    await desk.committer.commit(to_ada(desk, notify="NEVER"))

    with desk.room.store.read() as connection:
        assert connection.execute(select(notice.c.kind)).scalars().all() == [NoticeKind.FAILED]
    assert verify.verify(desk.room.store).holds


async def test_an_entry_that_comes_while_mail_is_accepted_stops_all_of_it(desk: Desk) -> None:
    room = desk.room

    async def send() -> None:
        for _ in range(15):
            await desk.committer.commit(to_ada(desk))

    entry = asyncio.to_thread(suppress, desk)
    await asyncio.gather(send(), send(), entry, send())
    later = clock.now() + timedelta(seconds=31)
    while stopping.stop_waiting(room.store, room.suppressing, new_id=room.new_id, now=later):
        pass

    with room.store.read() as connection:
        states = set(connection.execute(select(recipient.c.state)).scalars())
    assert states == {RecipientState.SUPPRESSED}
    assert room.claim() == []
    assert verify.verify(room.store).holds
