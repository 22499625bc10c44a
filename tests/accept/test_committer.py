"""Group commit: everybody is answered truly, and nobody pays for a neighbour."""

from __future__ import annotations

import asyncio
import threading

import pytest
from msgspec.structs import replace
from sqlalchemy import select

from mailer import clock
from mailer.accept.submission import Fault, Receipt, SubmissionError
from mailer.queue import fanout, read, verify
from mailer.store import Store
from mailer.store.tables import api_key, event, message, recipient, sending_domain, stream, tenant
from tests.accept.conftest import Desk


async def refusal(desk: Desk, **changed: object) -> SubmissionError:
    with pytest.raises(SubmissionError) as caught:
        await desk.committer.commit(desk.prepared(**changed))  # type: ignore[arg-type]
    return caught.value


def rows(store: Store) -> int:
    with store.read() as c:
        return len(c.execute(recipient.select()).all())


async def test_a_receipt_means_that_the_message_is_in_the_store(desk: Desk) -> None:
    prepared = desk.prepared()

    receipt = await desk.committer.commit(prepared)

    assert receipt == Receipt(prepared.message_id, prepared.response)
    assert read.message_of(desk.room.store, desk.room.tenant_id, prepared.message_id) is not None
    assert len(desk.rings) == 1


async def test_a_crowd_shares_commits_and_each_gets_its_own_answer(desk: Desk) -> None:
    crowd = [desk.prepared() for _ in range(100)]

    receipts = await asyncio.gather(*(desk.committer.commit(p) for p in crowd))

    assert [r.message_id for r in receipts] == [p.message_id for p in crowd]
    assert len(desk.rings) < 100
    assert verify.verify(desk.room.store).holds


def test_a_loop_that_stands_still_holds_up_no_other(desk: Desk) -> None:
    released, stood = threading.Event(), []

    async def hand_in() -> None:
        mine = [asyncio.create_task(desk.committer.commit(desk.prepared())) for _ in range(4)]
        await asyncio.sleep(0)
        stood.append(released.wait(30))
        await asyncio.gather(*mine)

    thread = threading.Thread(target=lambda: asyncio.run(hand_in()))
    thread.start()
    for _ in range(10):
        assert len(asyncio.run(_all(desk, 30))) == 30
    released.set()
    thread.join()

    assert stood == [True]
    assert rows(desk.room.store) == 304


async def _all(desk: Desk, number: int) -> list[Receipt]:
    return await asyncio.gather(*(desk.committer.commit(desk.prepared()) for _ in range(number)))


async def test_those_who_were_answered_fill_the_next_group(desk: Desk) -> None:
    """Twenty that submit again as soon as they are answered share what is committed."""

    async def client() -> None:
        for _ in range(25):
            await desk.committer.commit(desk.prepared())

    await asyncio.gather(*(client() for _ in range(20)))

    assert rows(desk.room.store) == 500
    assert len(desk.rings) < 500 / 5


async def test_one_that_cannot_be_stored_does_not_refuse_its_neighbours(desk: Desk) -> None:
    poisoned = desk.prepared(key="k", response=b"\xff")
    crowd = [desk.prepared() for _ in range(10)]

    answers = await asyncio.gather(
        *(desk.committer.commit(p) for p in [*crowd[:5], poisoned, *crowd[5:]]), return_exceptions=True
    )

    refused = [a for a in answers if isinstance(a, SubmissionError)]
    assert [e.fault for e in refused] == [Fault.INTERNAL]
    assert rows(desk.room.store) == 10


@pytest.mark.parametrize(
    ("changed", "fault", "pointer"),
    [
        ({"sender": "shop@other.example"}, Fault.FROM_NOT_ALLOWED, "/from"),
        ({"stream": "unheard-of"}, Fault.UNKNOWN_STREAM, "/stream"),
        ({"secret_hash": b"wrong"}, Fault.UNAUTHENTICATED, None),
    ],
)
async def test_what_is_not_admitted_writes_no_row(
    desk: Desk, changed: dict[str, object], fault: Fault, pointer: str | None
) -> None:
    error = await refusal(desk, **changed)

    assert (error.fault, error.pointer) == (fault, pointer)
    assert rows(desk.room.store) == 0
    assert desk.rings == []


async def test_a_refusal_leaves_its_event_in_the_tenants_log(desk: Desk) -> None:
    await refusal(desk, sender="shop@other.example")
    await desk.committer.commit(desk.prepared())
    fanout.fan_out(desk.room.store)

    with desk.room.store.read() as c:
        told = c.execute(event.select().where(event.c.type == "rejected")).all()
    assert [(e.tenant_id, e.data["fault"]) for e in told] == [(desk.room.tenant_id, "from-not-allowed")]


@pytest.mark.parametrize(
    ("table", "values", "fault"),
    [
        (api_key, {"revoked_at": clock.now()}, Fault.UNAUTHENTICATED),
        (api_key, {"expires_at": clock.now()}, Fault.UNAUTHENTICATED),
        (api_key, {"scopes": ["read"]}, Fault.FORBIDDEN),
        (tenant, {"state": "suspended"}, Fault.TENANT_SUSPENDED),
        (sending_domain, {"state": "revoked"}, Fault.FROM_NOT_ALLOWED),
        (stream, {"state": "archived"}, Fault.STREAM_ARCHIVED),
        (api_key, {"streams": ["broadcast"]}, Fault.KEY_LIMITED),
        (api_key, {"domains": ["other.example"]}, Fault.KEY_LIMITED),
    ],
)
async def test_what_was_withdrawn_before_the_commit_refuses(
    desk: Desk, table: object, values: dict[str, object], fault: Fault
) -> None:
    with desk.room.store.write() as c:
        c.execute(table.update().values(**values))  # type: ignore[attr-defined]

    error = await refusal(desk)

    assert error.fault is fault
    assert rows(desk.room.store) == 0


async def test_a_repeated_key_is_replayed_with_the_same_bytes(desk: Desk) -> None:
    first = await desk.committer.commit(desk.prepared(key="k"))

    second = await desk.committer.commit(desk.prepared(key="k"))

    assert (second.replayed, second.message_id, second.body) == (True, first.message_id, first.body)
    assert rows(desk.room.store) == 1


async def test_a_key_with_another_body_is_refused(desk: Desk) -> None:
    await desk.committer.commit(desk.prepared(key="k", body=b"one"))

    error = await refusal(desk, key="k", body=b"two")

    assert error.fault is Fault.IDEMPOTENCY_KEY_REUSED
    assert rows(desk.room.store) == 1


async def test_a_refusal_does_not_use_up_its_key(desk: Desk) -> None:
    await refusal(desk, key="k", sender="shop@other.example")

    receipt = await desk.committer.commit(desk.prepared(key="k"))

    assert not receipt.replayed


@pytest.mark.parametrize("limits", [{"streams": ["transactional"]}, {"domains": ["acme.example"]}])
async def test_within_its_limits_a_key_sends(desk: Desk, limits: dict[str, object]) -> None:
    with desk.room.store.write() as c:
        c.execute(api_key.update().values(**limits))

    await desk.committer.commit(desk.prepared())

    assert rows(desk.room.store) == 1


async def test_the_refusal_tells_what_the_key_may_do(desk: Desk) -> None:
    with desk.room.store.write() as c:
        c.execute(api_key.update().values(streams=[f"s{n:02}" for n in range(12)]))

    error = await refusal(desk)

    assert error.pointer == "/stream"
    assert error.detail.startswith("this API key may send to the streams s00, s01, ")
    assert error.detail.endswith("s09 and 2 more only, and transactional is none of them")


async def test_a_tag_said_twice_is_one(desk: Desk) -> None:
    prepared = desk.prepared()
    twice = replace(prepared, submission=replace(prepared.submission, tags=("eu", "order", "eu")))

    await desk.committer.commit(twice)

    with desk.room.store.read() as c:
        assert c.execute(select(message.c.tags)).scalar_one() == ["eu", "order"]
    assert verify.verify(desk.room.store).holds
