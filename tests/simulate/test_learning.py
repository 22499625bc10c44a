"""What the policy makes of providers that it knows nothing of, days of it in virtual time."""

from __future__ import annotations

import random
from functools import cache

import pytest

from mailer.config.load import site_rules
from mailer.policy.pace import State
from mailer.simulate import script
from mailer.simulate.courier import Courier, Hour, Sender
from mailer.simulate.run import run
from mailer.simulate.script import Script, parse
from mailer.simulate.world import World

RULES = site_rules(None)
SEEDS = range(20)


def world(*does: str, connections: int = 10) -> Script:
    listed = ", ".join(f"{{ {one} }}" for one in does)
    return parse("test", f"[traffic]\nconnections = {connections}\n[provider.p]\ndoes = [{listed}]\n")


def hours(made: Script, count: int, seed: int = 1, *, per_day: float = 0) -> list[Hour]:
    return list(run(made, RULES, hours=count, seed=seed, messages_per_day=per_day).hours["p"])


def limit_of(seed: int) -> int:
    """From 50 to 20,000 messages an hour, as many small ones as large ones."""
    return round(50 * 400 ** random.Random(seed).random())


@cache
def lifted_after_a_day(seed: int) -> list[Hour]:
    limit = limit_of(seed)
    tenfold = f'kind = "rate", limit = {limit * 10}, per = "1h", begin = "24h"'
    return hours(world(f'kind = "rate", limit = {limit}, per = "1h", end = "24h"', tenfold), 28, seed)


def share_limited(found: list[Hour]) -> float:
    return sum(hour.limited for hour in found) / sum(hour.attempts for hour in found)


@pytest.mark.parametrize("seed", SEEDS)
def test_an_unknown_limit_is_found_within_three_hours_and_kept(seed: int) -> None:
    day, limit = lifted_after_a_day(seed)[:24], limit_of(seed)

    assert day[2].accepted >= 0.9 * limit
    assert min(hour.accepted for hour in day[3:]) >= 0.88 * limit
    assert sum(hour.accepted for hour in day[3:]) >= 0.92 * limit * 21
    assert share_limited(day) <= 0.05


@pytest.mark.parametrize("seed", SEEDS)
def test_a_limit_lifted_tenfold_is_found_within_four_hours(seed: int) -> None:
    after = lifted_after_a_day(seed)[24:]

    assert after[3].accepted >= 2 * limit_of(seed)


def test_the_seeds_draw_limits_over_the_whole_range() -> None:
    limits = sorted(limit_of(seed) for seed in SEEDS)

    assert limits[0] < 100
    assert limits[-1] > 15_000


@pytest.mark.parametrize("window", ['per = "1m", limit = 60', 'per = "10m", limit = 500'])
def test_limits_over_shorter_windows_are_found_as_well(window: str) -> None:
    found = hours(world(f'kind = "rate", {window}'), 12)

    assert min(hour.accepted for hour in found[3:]) >= 0.85 * (3600 if "1m" in window else 3000)
    assert share_limited(found) <= 0.05


def test_a_limit_by_the_clock_is_kept_without_many_refusals() -> None:
    found = hours(world('kind = "rate", limit = 1000, per = "1h", window = "fixed"'), 24)

    assert sum(hour.accepted for hour in found[3:]) >= 0.85 * 1000 * 21
    assert share_limited(found) <= 0.05


def test_a_limit_by_the_day_is_not_knocked_at_all_day() -> None:
    found = hours(world('kind = "rate", limit = 5000, per = "1d"'), 72)

    assert sum(hour.limited for hour in found[:24]) <= 60
    assert sum(hour.accepted for hour in found[24:]) >= 0.7 * 10_000


def test_refusals_that_count_themselves_do_not_lock_us_out() -> None:
    found = hours(world('kind = "rate", limit = 1000, per = "1h", counts_refused = true'), 24)

    assert sum(hour.accepted for hour in found[3:]) >= 0.8 * 1000 * 21
    assert share_limited(found) <= 0.05


def test_a_limit_cut_to_a_tenth_is_met_again() -> None:
    cut = 'kind = "rate", limit = 200, per = "1h", begin = "12h"'
    found = hours(world('kind = "rate", limit = 2000, per = "1h", end = "12h"', cut), 24)

    assert min(hour.accepted for hour in found[17:]) >= 0.85 * 200
    assert share_limited(found[12:]) <= 0.05


def test_a_flapping_limit_costs_few_refusals() -> None:
    """An adversary: an hour at 2000, an hour at 200."""
    wide = 'kind = "rate", limit = 2000, per = "1h", on = "1h", off = "1h"'
    narrow = 'kind = "rate", limit = 200, per = "1h", begin = "1h", on = "1h", off = "1h"'
    found = hours(world(wide, narrow), 48)

    assert share_limited(found) <= 0.05
    assert sum(hour.accepted for hour in found) >= 200 * 48


def test_a_storm_of_421_stops_the_sending_and_leaves_nothing_behind() -> None:
    storm = 'kind = "refuse", phase = "mail", reply = "421 4.3.2 Shutting down", begin = "2h", end = "3h"'
    found = hours(world(storm, connections=2), 5)

    assert found[2].accepted == 0
    assert found[2].attempts <= 40
    assert found[3].accepted >= 0.8 * found[0].accepted
    assert (found[4].rate, found[4].state) == (None, State.FREE)


def test_a_dead_site_is_asked_by_single_messages_and_its_backlog_waits() -> None:
    dead = 'kind = "dead", begin = "1h", end = "25h"'
    found = hours(world(dead), 27, per_day=24_000)

    assert max(hour.attempts for hour in found[2:25]) <= 12
    assert sum(hour.broken for hour in found[1:25]) <= 100
    assert found[24].waiting >= 20_000
    assert found[25].accepted > 20_000
    assert found[26].waiting == 0


def test_a_site_that_is_dead_from_the_start_is_asked_ever_more_seldom() -> None:
    found = hours(world('kind = "dead"'), 24)

    assert found[0].attempts > found[12].attempts
    assert found[12].attempts == 2
    assert all(hour.state in (State.SUSPENDED, State.PROBING) for hour in found)


def test_too_many_connections_are_halved_and_tried_again() -> None:
    found = hours(world('kind = "connections", limit = 4'), 2)

    assert sum(hour.refused for hour in found) <= 0.01 * sum(hour.accepted for hour in found)
    assert found[1].accepted >= 0.7 * 4 / 0.2 * 3600


def test_greylisting_is_no_reason_to_slow_down() -> None:
    [found] = hours(world('kind = "greylist", seconds = "5m"'), 1, per_day=24_000)

    assert (found.rate, found.state, found.limited) == (None, State.FREE, 0)
    assert found.accepted >= 700


def test_unknown_recipients_are_no_reason_either() -> None:
    found = hours(world('kind = "refuse", share = 0.5'), 1, per_day=24_000)

    assert (found[0].rate, found[0].state) == (None, State.FREE)


def test_a_providers_own_rule_suspends_and_its_probes_grow_apart() -> None:
    """Yahoo's own words, which a shipped rule knows by the provider's MX name."""
    made = parse(
        "test",
        '[provider.y]\nmx = "mta5.am0.yahoodns.net"\ndoes = [{ kind = "reputation", messages = 1000,'
        ' per = "10m", lasts = "5h", reply = "421 4.7.0 [TSS04] Messages temporarily deferred" }]\n',
    )
    courier = Courier(World(made, 1), "y", RULES, Sender(), seed=1)
    found = list(courier.hours(5))

    assert sum(hour.limited for hour in found) <= 40
    assert found[1].attempts <= 1
    assert courier.record.pace.why is not None
    assert courier.record.pace.why.rule == "yahoo-complaints"


def test_the_same_seed_brings_the_same_figures() -> None:
    made = script.load("hostile")

    assert run(made, RULES, hours=3, seed=5).as_json() == run(made, RULES, hours=3, seed=5).as_json()
    assert run(made, RULES, hours=3, seed=5).as_json() != run(made, RULES, hours=3, seed=6).as_json()
