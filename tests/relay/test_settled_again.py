"""The settler says which mail may be claimed again at once, since nothing else makes a worker look."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailer import clock
from mailer.events import WaitReason
from mailer.policy.outcome import NotTried, Outcome
from mailer.queue.settle import Move
from mailer.relay.carrier import Report
from mailer.relay.inhand import InHand
from mailer.relay.journal import Journal
from mailer.relay.lease import Lease
from mailer.relay.means import Means
from mailer.relay.settler import Ended, Settler
from tests.support.mailroom import DELIVERED, KEYS, RELEASED, Mailroom, settlements

ANY: Outcome = NotTried(WaitReason.RELEASED)


@pytest.mark.parametrize(
    ("moves", "some_went_back"),
    [([DELIVERED, DELIVERED], False), ([DELIVERED, RELEASED], True), ([RELEASED], True)],
)
def test_what_went_back_is_told(
    room: Mailroom, tmp_path: Path, moves: list[Move], some_went_back: bool
) -> None:
    room.accept(*(room.message() for _ in moves))
    claimed = room.claim()
    lease = Lease(room.store, room.worker.id, seconds=30, monotonic=clock.monotonic)
    means = Means(
        store=room.store, lease=lease, in_hand=InHand(), new_id=room.new_id, keys=KEYS, now=clock.now,
        process_number=room.worker.process_number, monotonic=clock.monotonic,
    )  # fmt: skip
    told: list[bool] = []
    settler = Settler(
        means,
        Journal(tmp_path, room.worker.id, lease.is_fresh),
        judge=lambda one, _report: settlements([one], DELIVERED)[0],
        note=lambda _one, _report: None,
        on_settled=told.append,
    )
    for one, move in zip(claimed, moves, strict=True):
        settler.put(Ended(one, Report(ANY), settlement=settlements([one], move)[0]))
    settler.stop()

    settler.run()

    assert told == [some_went_back]
