"""One row a site is the truth, on both engines, however many workers report to it."""

from __future__ import annotations

import threading
from datetime import timedelta

from mailer import clock
from mailer.policy.automation import Rule, parse_rule
from mailer.policy.governor import Match, Observation
from mailer.policy.pace import Slice, State
from mailer.queue import pace
from mailer.queue.pace import Place
from mailer.store import Store

PLACE: Place = ("", "mx:mx.example")
NOW = clock.now()
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


def rule(action: str = "slow", **values: object) -> Rule:
    made, faults = parse_rule("r", {"code": [4], "source": "s", "action": [action], **values}, "f:7")
    assert made is not None, faults
    return made


def tell(store: Store, seen: Observation, *, at: timedelta = timedelta(0), place: Place = PLACE) -> None:
    pace.report(store, {place: seen}, {}, most_of=lambda site: 8, now=NOW + at)


def refused(made: Rule | None = None, count: int = 1) -> Observation:
    return Observation(matches=(Match(rule=made or rule(), count=count, words="421 slow down"),))


def test_a_refusal_for_rate_is_known_to_all_with_its_reason(store: Store) -> None:
    tell(store, refused())

    [(place, standing)] = pace.known(store).places.items()
    assert place == PLACE
    assert (standing.state, standing.since) == (State.SUSPENDED, NOW)
    assert standing.why is not None
    assert (standing.why.reason, standing.why.rule, standing.why.place) == ("421 slow down", "r", "f:7")
    assert pace.standing(store, *PLACE) == standing
    assert pace.standing(store, "192.0.2.9", PLACE[1]) is None


def test_a_site_that_accepts_leaves_no_row(store: Store) -> None:
    tell(store, Observation(heard=Slice(broken=3)))
    counted = pace.known(store).places
    tell(store, Observation(heard=Slice(accepted=3)))

    assert list(counted) == [PLACE]
    assert pace.known(store).places == {}


def test_no_report_is_lost_when_workers_report_at_once(store: Store) -> None:
    """Each of four workers tells of 25 replies; the rule asks for 100 within its window."""
    made = rule(threshold=100, window="1h")
    tell(store, Observation(heard=Slice(accepted=1)))

    def work() -> None:
        for _ in range(25):
            tell(store, refused(made))

    threads = [threading.Thread(target=work) for _ in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]

    assert pace.known(store).places[PLACE].state is State.SUSPENDED


def test_workers_that_report_sites_in_different_orders_do_not_block_each_other(store: Store) -> None:
    sites = [f"mx:{n}.example" for n in range(6)]

    def work(names: list[str]) -> None:
        for _ in range(10):
            seen = {("", name): Observation(heard=Slice(broken=1)) for name in names}
            pace.report(store, seen, {}, most_of=lambda site: 8, now=NOW)

    threads = [threading.Thread(target=work, args=(order,)) for order in (sites, sites[::-1])]
    [t.start() for t in threads]
    [t.join() for t in threads]

    assert [s.state for s in pace.known(store).places.values()] == [State.SUSPENDED] * 6


def test_of_many_workers_one_sends_the_probe(store: Store) -> None:
    tell(store, refused())
    early = pace.take_probe(store, PLACE, now=NOW)
    won: list[bool] = []

    def ask() -> None:
        won.append(pace.take_probe(store, PLACE, now=NOW + MINUTE))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]

    assert not early
    assert sorted(won) == [False, False, False, True]
    assert pace.known(store).places[PLACE].state is State.PROBING


def test_a_probe_that_was_answered_opens_the_site_at_the_rate_it_took(store: Store) -> None:
    tell(store, Observation(heard=Slice(accepted=300), matches=refused().matches))
    pace.take_probe(store, PLACE, now=NOW + 30 * MINUTE)
    tell(store, Observation(heard=Slice(accepted=1)), at=30 * MINUTE)

    standing = pace.known(store).places[PLACE]
    assert standing.state is State.SLOWED
    assert standing.rate is not None
    assert standing.rate == pace.pace_of(store, PLACE).rate


def test_egress_ips_are_told_apart(store: Store) -> None:
    tell(store, refused(), place=("192.0.2.1", "mx:mx.example"))
    tell(store, Observation(heard=Slice(accepted=3)), place=("192.0.2.2", "mx:mx.example"))

    assert list(pace.known(store).places) == [("192.0.2.1", "mx:mx.example")]


def test_a_stream_is_held_at_a_site_and_released_by_the_operator(store: Store) -> None:
    part = (7, 8, "mx:mx.example")
    matches = [Match(rule=rule("hold-stream", lasts="1h"), count=1, words="554 spam")]
    pace.report(store, {}, {part: matches}, most_of=lambda site: 8, now=NOW)

    assert pace.known(store).streams[part].held_until == NOW + 60 * MINUTE
    assert pace.release_stream(store, *part)
    assert pace.known(store).streams == {}
    assert not pace.release_stream(store, *part)


def test_an_operator_lifts_what_was_learnt(store: Store) -> None:
    for ip in ("192.0.2.1", "192.0.2.2", "192.0.2.3"):
        tell(store, refused(), place=(ip, PLACE[1]))

    assert pace.lift(store, "192.0.2.1", PLACE[1]) == 1
    assert pace.lift(store, None, PLACE[1]) == 2
    assert pace.known(store).places == {}


def test_what_says_nothing_any_more_is_dropped(store: Store) -> None:
    tell(store, Observation(heard=Slice(broken=3)), place=("", "counted"))
    tell(store, refused(), place=("", "suspended"))
    tell(store, Observation(matches=refused(rule("fewer-connections")).matches), place=("", "slowed"))
    pace.report(
        store, {}, {(1, 2, "s"): refused(rule("hold-stream")).matches}, most_of=lambda site: 8, now=NOW
    )

    early, late = pace.forget(store, now=NOW + MINUTE), pace.forget(store, now=NOW + 8 * DAY)

    assert (early, late) == (0, 3)
    assert [place[1] for place in pace.known(store).places] == ["suspended"]
