"""What a warm-up promises in the database, on both engines: never a message over the cap, a day ends once."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from mailer import clock
from mailer.config.load import warmup_rules
from mailer.events import EventType
from mailer.identity import egress
from mailer.policy.warmup import Counts
from mailer.queue import incarnations, settle, warming, warmup
from mailer.queue.incarnations import Fenced
from mailer.queue.warming import Standing, Start
from mailer.queue.warmup import Heard
from mailer.store import Store
from mailer.store.tables import warmup_day
from tests.support.hearing import Word, record
from tests.support.mailroom import DELIVERED, KEYS, Mailroom, register

RULES = warmup_rules()
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAY = timedelta(days=1)
CAP = RULES.ladder("steady", None, "google").caps[0]


@dataclass
class Hothouse:
    """One IP that warms up."""

    room: Mailroom
    ip: int
    store: Store = field(init=False)

    def __post_init__(self) -> None:
        self.store = self.room.store

    def reserve(self, messages: int, *, at: datetime = NOON, provider: str = "google", me: int = 0) -> int:
        key = (self.ip, provider)
        who = me or self.room.worker.id
        return warmup.reserve(self.store, who, {key: messages}, rules=RULES, now=at)[key].messages

    def hear(self, provider: str = "google", **counts: int) -> None:
        warmup.observe(self.store, {(self.ip, provider): Heard(Counts(**counts))})

    def standing(self, *, at: datetime = NOON, provider: str = "google") -> Standing:
        found = warming.one(self.store, self.ip, rules=RULES, now=at)
        assert found is not None
        return next(s for s in found.providers if s.provider == provider)

    def sweep(self, at: datetime) -> int:
        return len(warmup.sweep(self.store, rules=RULES, now=at))

    def days_over(self) -> int:
        with self.store.read() as connection:
            return connection.execute(select(func.count()).select_from(warmup_day)).scalar_one()


@pytest.fixture
def house(room: Mailroom) -> Hothouse:
    made = egress.add(room.store, ["127.0.0.2"], "out.acme.example", new_id=room.new_id, now=NOON)
    assert warming.start(room.store, made.id, Start("steady"), rules=RULES, now=NOON)
    return Hothouse(room, made.id)


def test_what_is_granted_never_passes_the_cap(house: Hothouse) -> None:
    assert house.reserve(CAP - 10) == CAP - 10
    assert house.reserve(30) == 10
    assert house.reserve(1) == 0
    assert (house.standing().used, house.standing().cap) == (CAP, CAP)


def test_each_provider_has_a_cap_of_its_own(house: Hothouse) -> None:
    house.reserve(CAP)

    assert house.reserve(5, provider="yahoo") == 5
    assert warmup.used_today(house.store, house.ip, "yahoo", rules=RULES, now=NOON) == 5
    assert warmup.cap_today(house.store, house.ip, "google", rules=RULES, now=NOON) == CAP


def test_workers_at_once_never_pass_the_cap(house: Hothouse) -> None:
    """Connections of their own, as of processes; on PostgreSQL nothing but the row's lock orders them."""
    workers = [register(house.store) for _ in range(6)]
    stores = [Store(house.store.url) for _ in workers]
    granted: Counter[int] = Counter()

    def work(n: int) -> None:
        for _ in range(15):
            key = (house.ip, "google")
            got = warmup.reserve(stores[n], workers[n].id, {key: 7}, rules=RULES, now=NOON)[key]
            granted[n] += got.messages

    threads = [threading.Thread(target=work, args=(n,)) for n in range(len(workers))]
    [t.start() for t in threads]
    [t.join() for t in threads]
    [s.close() for s in stores]

    assert sum(granted.values()) == CAP == house.standing().used


_PROCESS = """
import sys
from datetime import datetime
from mailer.config.load import warmup_rules
from mailer.events import EventType
from mailer.queue import warmup
from mailer.store import Store
url, me, ip, now = sys.argv[1:]
store, rules, granted = Store(url), warmup_rules(), 0
for _ in range(30):
    key = (int(ip), "google")
    got = warmup.reserve(store, int(me), {key: 3}, rules=rules, now=datetime.fromisoformat(now))
    granted += got[key].messages
print(granted)
"""


def test_two_processes_never_pass_the_cap(house: Hothouse) -> None:
    """Each wants 90 of the 100 there are."""
    words = [
        [sys.executable, "-c", _PROCESS, house.store.url, str(register(house.store).id), str(house.ip),
         NOON.isoformat()]
        for _ in range(2)
    ]  # fmt: skip
    running = [subprocess.Popen(w, stdout=subprocess.PIPE, text=True) for w in words]
    granted = [int(process.communicate(timeout=120)[0]) for process in running]

    assert sum(granted) == CAP == house.standing().used


def test_workers_that_want_the_same_ips_in_any_order_do_not_block_each_other(house: Hothouse) -> None:
    names = ["google", "yahoo", "apple", "other"]
    workers = [register(house.store) for _ in range(4)]

    def work(n: int) -> None:
        wants = {(house.ip, name): 1 for name in (names if n % 2 else reversed(names))}
        for _ in range(10):
            warmup.reserve(house.store, workers[n].id, wants, rules=RULES, now=NOON)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    [t.start() for t in threads]
    [t.join(60) for t in threads]

    assert not any(t.is_alive() for t in threads)


def test_what_was_not_offered_is_given_back_to_its_own_day_only(house: Hothouse) -> None:
    house.reserve(CAP)
    today, tomorrow = warmup.day_of(NOON), warmup.day_of(NOON + DAY)
    warmup.observe(house.store, {(house.ip, "google"): Heard(Counts(), {today: 4})})
    again = house.reserve(10)
    house.reserve(20, at=NOON + DAY)
    warmup.observe(house.store, {(house.ip, "google"): Heard(Counts(), {today: 6})})

    assert again == 4
    assert house.standing(at=NOON + DAY).used == 20
    warmup.observe(house.store, {(house.ip, "google"): Heard(Counts(), {tomorrow: 5})})
    assert house.standing(at=NOON + DAY).used == 15


def test_an_ip_that_does_not_warm_up_gets_all_it_wants(room: Mailroom) -> None:
    grants = warmup.reserve(room.store, room.worker.id, {(99, "google"): 10**6}, rules=RULES, now=NOON)

    assert grants[99, "google"].messages == 10**6


def test_a_good_day_advances_whoever_comes_first_on_the_next(house: Hothouse) -> None:
    house.reserve(CAP)
    house.hear(delivered=CAP)

    assert house.reserve(10**6, at=NOON + DAY) == RULES.ladder("steady", None, "google").caps[1]
    assert house.standing(at=NOON + DAY).stage == 2


def test_a_day_rolls_over_once_with_any_number_of_sweepers(house: Hothouse) -> None:
    house.reserve(CAP)
    house.hear(delivered=CAP)
    stores = [Store(house.store.url) for _ in range(4)]
    changed: list[int] = []
    threads = [
        threading.Thread(target=lambda s=s: changed.append(len(warmup.sweep(s, rules=RULES, now=NOON + DAY))))
        for s in stores
    ]
    [t.start() for t in threads]
    [t.join() for t in threads]
    [s.close() for s in stores]

    assert sum(changed) == 1
    assert house.days_over() == 1
    assert house.standing(at=NOON + DAY).stage == 2
    assert house.sweep(NOON + DAY) == 0


def test_a_host_whose_clock_is_behind_does_not_bring_yesterdays_cap_back(house: Hothouse) -> None:
    house.reserve(CAP, at=NOON + DAY)

    assert house.reserve(1, at=NOON) == 0


def test_red_lowers_the_cap_within_the_day(house: Hothouse) -> None:
    for day in range(6):
        room = house.reserve(10**6, at=NOON + day * DAY)
        house.hear(delivered=room)
    at = NOON + 6 * DAY
    before = house.standing(at=at)
    house.reserve(60, at=at)
    house.hear(delivered=40, bounced=20)

    assert house.sweep(at) == 1
    after = house.standing(at=at)
    assert before.stage is not None and before.cap is not None and after.cap is not None
    assert (after.stage, after.verdict) == (before.stage - 1, "red")
    assert after.cap < before.cap
    assert "bounced 20" in after.reason


def test_state_survives_a_restart(house: Hothouse) -> None:
    house.reserve(CAP)
    reopened = Store(house.store.url)

    found = warming.one(reopened, house.ip, rules=RULES, now=NOON)
    reopened.close()

    assert found is not None
    assert found.providers == (house.standing(),)


def test_held_does_not_advance_and_resumed_does(house: Hothouse) -> None:
    house.reserve(CAP)
    house.hear(delivered=CAP)
    warming.hold(house.store, house.ip, "a listing is looked into")
    held = house.standing(at=NOON + DAY)
    house.reserve(CAP, at=NOON + DAY)
    house.hear(delivered=CAP)
    warming.resume(house.store, house.ip)

    assert (held.stage, held.warm_on) == (1, None)
    assert house.standing(at=NOON + 2 * DAY).stage == 2


def test_stopped_has_no_cap_and_is_not_resumed(house: Hothouse) -> None:
    warming.stop(house.store, house.ip, None)

    assert house.reserve(10**6) == 10**6
    assert warming.resume(house.store, house.ip) is False


def test_begun_anew_what_was_used_today_stays_counted(house: Hothouse) -> None:
    house.reserve(CAP)

    assert warming.start(house.store, house.ip, Start("sparkpost", 50_000), rules=RULES, now=NOON)

    first = RULES.ladder("sparkpost", 50_000, "google").caps[0]
    assert house.reserve(10**6) == max(first - CAP, 0)


def test_the_past_is_kept(house: Hothouse) -> None:
    for day in range(3):
        room = house.reserve(10**6, at=NOON + day * DAY)
        house.hear(delivered=room)

    days = warming.history(house.store, house.ip)

    assert [(d.stage, d.verdict) for d in days] == [(2, "green"), (1, "green")]
    assert days[0].day == (NOON + DAY).date()


def test_a_fenced_worker_reserves_nothing(house: Hothouse) -> None:
    incarnations.fence(house.store, house.room.worker.id, now=clock.now())

    with pytest.raises(Fenced):
        house.reserve(1)
    assert warmup.used_today(house.store, house.ip, "google", rules=RULES, now=NOON) == 0


def complain(house: Hothouse, *, site: str = "provider:google", source: str = "127.0.0.2") -> None:
    room = house.room
    m = room.message()
    room.accept(m)
    heard = settle.Heard(outcome="accepted", code=250, reply="250 ok", site=site, egress_ip=source)
    room.settle(room.claim(), DELIVERED, heard)
    assert record(
        room.store, m.recipients[0].id, Word(EventType.COMPLAINED, "bounce.acme.example", {}),
        keys=KEYS, new_id=room.new_id, now=NOON,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("site", "source", "google", "other"),
    [
        ("provider:google", "127.0.0.2", 1, 0),
        ("mx:mx.example", "127.0.0.2", 0, 1),
        ("provider:google", "127.0.0.3", 0, 0),  # not ours, or not warming up
    ],
)
def test_a_complaint_counts_against_the_ip_it_left_from(
    house: Hothouse, site: str, source: str, google: int, other: int
) -> None:
    house.reserve(1)
    house.reserve(1, provider="other")

    complain(house, site=site, source=source)

    counted = house.standing().complained, house.standing(provider="other").complained
    assert counted == (google, other)
