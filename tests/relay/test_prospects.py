"""Many waiting lanes: new mail is found at once, whatever else waits, and nothing is overlooked for ever."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from mailer import clock
from mailer.policy.fairness import ReadyLane
from mailer.queue.claim import Claimed, WaitingLane
from mailer.relay import prospects
from mailer.relay.claimer import Claimer, ClaimLimits, Permits
from mailer.relay.inhand import InHand
from mailer.relay.lease import Lease
from mailer.relay.means import Means
from mailer.relay.prospects import Prospects
from tests.support.mailroom import DELIVERED, KEYS, Mailroom


@pytest.fixture(autouse=True)
def short_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prospects, "PIECE", 10)


class Ticks:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Desk:
    """A claimer for which all domains below .slow are one site, and each other one is its own."""

    def __init__(self, room: Mailroom) -> None:
        self.room, self.ticks, self.in_hand = room, Ticks(), InHand()
        limits = ClaimLimits(connections_per_site=2)
        lease = Lease(room.store, room.worker.id, seconds=15, monotonic=lambda: 0.0)
        permits = Permits(room.store, room.worker.id, limit_of=limits.connections, monotonic=self.ticks)
        means = Means(
            store=room.store, lease=lease, in_hand=self.in_hand, new_id=room.new_id,
            process_number=room.worker.process_number, keys=KEYS, now=clock.now, monotonic=self.ticks,
        )  # fmt: skip
        self.claimer = Claimer(means, permits, limits=limits, site_of=self._site_of)

    @staticmethod
    def _site_of(domain: str) -> str:
        return "mx:slow" if domain.endswith(".slow") else f"mx:{domain}"

    def pull(self) -> list[Claimed]:
        return self.claimer.pull()

    def pull_all(self, *, seconds: float = 0.0) -> list[Claimed]:
        """Until nothing is found, and on for so long, in which more of the list is read."""
        found, until = [], self.ticks.now + seconds
        while True:
            if more := self.pull():
                found += more
            elif self.ticks.now >= until:
                return found
            else:
                self.ticks.now += 0.05

    def deliver(self, claimed: Sequence[Claimed]) -> None:
        self.room.settle(list(claimed), DELIVERED)
        self.in_hand.drop(c.attempt_id for c in claimed)


def backlog(room: Mailroom, lanes: int) -> None:
    room.accept(*(room.message(f"d{n}.slow") for n in range(lanes)))


def test_mail_for_a_site_with_room_does_not_wait_for_a_backlog_to_be_read(room: Mailroom) -> None:
    desk = Desk(room)
    backlog(room, 100)
    held = desk.pull_all(seconds=1.0)
    room.accept(room.message("quick.example"))

    desk.ticks.now += 0.02
    claimed = desk.pull()

    assert {c.domain for c in held} < {f"d{n}.slow" for n in range(100)}
    assert [c.domain for c in claimed] == ["quick.example"]


def test_mail_that_was_there_before_is_found_as_the_list_is_read(room: Mailroom) -> None:
    """Nothing new tells of it: a retry that fell due, say, behind a hundred lanes of another site."""
    backlog(room, 100)
    room.accept(room.message("quick.example"))
    desk = Desk(room)
    desk.claimer._prospects._long_look_at = 1e9
    with room.store.write() as connection:
        connection.exec_driver_sql("UPDATE message SET accepted_at = accepted_at")

    assert "quick.example" in {c.domain for c in desk.pull_all(seconds=1.0)}


def test_everything_is_claimed_once_and_in_the_end(room: Mailroom) -> None:
    desk = Desk(room)
    backlog(room, 60)
    room.accept(*(room.message(f"q{n}.example") for n in range(40)))
    done: list[Claimed] = []
    for _ in range(200):
        claimed = desk.pull_all(seconds=0.6)
        if not claimed:
            break
        desk.deliver(claimed)
        done += claimed

    assert len({c.recipient_id for c in done}) == len(done) == 100


def test_a_list_that_grew_short_is_read_at_once_again(room: Mailroom) -> None:
    desk = Desk(room)
    backlog(room, 25)
    for _ in range(30):
        desk.deliver(desk.pull_all(seconds=0.6))
    assert desk.claimer.opens_in() is None

    room.accept(room.message("d1.slow"))

    assert [c.domain for c in desk.pull()] == ["d1.slow"]


def test_while_there_is_more_to_read_the_claimer_wakes_for_it(room: Mailroom) -> None:
    desk = Desk(room)
    backlog(room, 100)
    desk.pull_all()

    wakes = desk.claimer.opens_in()

    assert wakes is not None
    assert wakes <= 0.05


def test_new_mail_is_found_though_no_more_can_be_remembered(
    room: Mailroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prospects, "_REMEMBERED", 10)
    ticks = Ticks()
    found = Prospects(room.store, monotonic=ticks, now=clock.now)

    def place(lane: WaitingLane) -> ReadyLane:
        return ReadyLane(lane.lane_id, lane.tenant_id, lane.domain, f"mx:{lane.domain}")

    room.accept(*(room.message(f"full{n}.example") for n in range(30)))
    for _ in range(5):
        found.look(place)
        assert found.choose(lambda _: False) == []
        ticks.now += 0.05
    room.accept(room.message("quick.example"))

    found.look(place)

    chosen = found.choose(lambda flow: flow[1] == "mx:quick.example")
    assert [lane.domain for lane in chosen] == ["quick.example"]
