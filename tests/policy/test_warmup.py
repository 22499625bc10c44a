"""How a new IP grows: by what was achieved, provider by provider, and back again."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from mailer.config.load import warmup_rules
from mailer.policy import warmplan, warmup
from mailer.policy.warmplan import Ladder, WarmupPlanError
from mailer.policy.warmup import Counts, Level, Verdict

RULES = warmup_rules()
HEALTH = RULES.health
LADDER = Ladder((100, 200, 400, 800))
DAY, HOUR = 20_000, 480_000


def ended(level: Level, today: int = DAY + 1, *, is_held: bool = False) -> Level:
    return warmup.roll(LADDER, HEALTH, level, today, is_held=is_held)[0]


def after(stage: int, is_held: bool = False, **counts: int) -> Level:
    level = Level(stage=stage, cap=LADDER.cap(stage), day=DAY, counts=Counts(**counts))
    return ended(level, is_held=is_held)


# ---- plans ------------------------------------------------------------------------------------------------


def test_every_plan_grows_and_says_where_it_comes_from() -> None:
    assert {"steady", "sparkpost", "sendgrid"} == set(RULES.plans)
    assert all(plan.source for plan in RULES.plans.values())


def test_caps_an_hour_are_converted_to_caps_a_day() -> None:
    assert RULES.plans["sendgrid"].caps[:3] == (240, 336, 468)


def test_a_provider_gets_its_share_and_the_floor_at_least() -> None:
    assert RULES.ladder("sparkpost", None, "google").caps[:3] == (100, 250, 500)
    assert RULES.ladder("sparkpost", None, "seznam").caps[:4] == (20, 30, 60, 150)


def test_a_target_ends_the_ladder() -> None:
    assert RULES.ladder("sparkpost", 50_000, "google").caps[-1] == 25_000


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ("    200, 280", "    280, 200"),
        ('unit = "hour"', ""),
        ("[red]", "[rot]"),
        ("floor = 20", "floor = x"),
    ],
)
def test_plans_that_cannot_be_used_are_refused(was: str, becomes: str) -> None:
    from importlib import resources

    text = resources.files("mailer.policy").joinpath("data/warmup.toml").read_text()
    assert was in text

    with pytest.raises(WarmupPlanError):
        warmplan.parse(text.replace(was, becomes, 1))


# ---- the end of a day -------------------------------------------------------------------------------------


def test_a_day_on_which_most_was_used_and_delivered_advances() -> None:
    level = after(1, used=190, delivered=180, deferred=5)

    assert (level.stage, level.cap, level.day, level.counts) == (2, 400, DAY + 1, Counts())
    assert level.verdict is Verdict.GREEN


@pytest.mark.parametrize(
    ("counts", "word"),
    [
        ({"used": 50, "delivered": 50}, "stays"),  # little volume is no fault
        ({"used": 200, "delivered": 150, "bounced": 5}, "holds"),
        ({"used": 200, "delivered": 170, "deferred": 30}, "holds"),
        ({"used": 200, "delivered": 185, "bounced": 14}, "holds"),
        ({"used": 200, "delivered": 196, "blocked": 4}, "holds"),
    ],
)
def test_a_day_that_was_not_good_enough_stays(counts: dict[str, int], word: str) -> None:
    level = after(1, **counts)

    assert (level.stage, level.cap) == (1, 200)
    assert level.reason.startswith(word)


@pytest.mark.parametrize(
    "counts",
    [
        {"used": 200, "delivered": 120, "deferred": 80},
        {"used": 200, "delivered": 170, "bounced": 30},
        {"used": 200, "delivered": 185, "blocked": 15},
        {"used": 200, "delivered": 200, "complained": 3},
    ],
)
def test_a_red_day_steps_back(counts: dict[str, int]) -> None:
    level = after(1, **counts)

    assert (level.stage, level.cap, level.verdict) == (0, 100, Verdict.RED)


def test_a_warm_ip_steps_back_to_the_last_stage_when_a_day_is_red() -> None:
    assert after(4, used=5000, delivered=4900, complained=50).stage == 3


def test_an_operator_holds_what_would_advance_but_not_what_steps_back() -> None:
    assert after(1, is_held=True, used=200, delivered=200).stage == 1
    assert after(1, is_held=True, used=200, delivered=100, bounced=100).stage == 0


def test_few_answers_are_not_judged() -> None:
    assert warmup.judge(HEALTH, Counts(used=10, delivered=5, bounced=5))[0] is Verdict.GREEN
    assert warmup.judge(HEALTH, Counts(used=30, delivered=28, bounced=2))[0] is Verdict.GREEN


@pytest.mark.parametrize(("answers", "bad"), [(25, 4), (100, 13), (1000, 109)])
def test_chance_makes_no_day_red(answers: int, bad: int) -> None:
    """One bad answer of ten is the limit, and few answers do not tell it from less."""
    just_under = Counts(delivered=answers - bad, bounced=bad)
    over = Counts(delivered=answers - bad - 2, bounced=bad + 2)

    assert warmup.judge(HEALTH, just_under)[0] is Verdict.YELLOW
    assert warmup.judge(HEALTH, over)[0] is Verdict.RED


def test_a_day_ends_once() -> None:
    level = after(1, used=200, delivered=200)

    again, over = warmup.roll(LADDER, HEALTH, level, DAY + 1)

    assert (again, over) == (level, None)
    assert warmup.roll(LADDER, HEALTH, level, DAY)[0] == level  # a host whose clock is behind


# ---- days without mail ------------------------------------------------------------------------------------


def warm(day: int = DAY) -> Level:
    return Level(stage=4, cap=None, day=day, counts=Counts(used=10, delivered=10))


@pytest.mark.parametrize(
    ("idle", "stage"), [(1, 4), (9, 4), (10, 3), (19, 3), (20, 2), (29, 2), (30, 0), (99, 0)]
)
def test_days_without_mail_make_it_cold_again(idle: int, stage: int) -> None:
    assert ended(warm(), DAY + idle).stage == stage


@pytest.mark.parametrize("idle", [1, 10, 25, 40])
def test_it_is_as_cold_however_often_the_days_were_rolled(idle: int) -> None:
    level = warm()
    for day in range(DAY + 1, DAY + idle + 1):
        level = ended(level, day)

    assert level.stage == ended(warm(), DAY + idle).stage


def test_a_sender_of_little_volume_is_never_harmed() -> None:
    """Ten messages a week, for a year: never held, never back, nothing refused."""
    level = warmup.begin(LADDER, DAY)
    for day in range(DAY, DAY + 365):
        level = ended(level, day)
        if day % 7 == 0:
            assert level.cap is not None
            assert level.cap >= 10
            level = replace(level, counts=Counts(used=10, delivered=10))
        assert (level.stage, level.verdict) == (0, Verdict.GREEN)


# ---- within a day -----------------------------------------------------------------------------------------


def test_red_steps_back_within_the_day_and_again_if_it_goes_on() -> None:
    level = Level(stage=3, cap=800, day=DAY, counts=Counts(used=60, delivered=40, bounced=20))

    first = warmup.check(LADDER, HEALTH, level, HOUR)
    same = warmup.check(LADDER, HEALTH, first, HOUR)
    worse = replace(first, counts=Counts(used=130, delivered=60, bounced=65))
    second = warmup.check(LADDER, HEALTH, worse, HOUR)

    assert (first.stage, first.cap, first.verdict) == (2, 400, Verdict.RED)
    assert same == first
    assert (second.stage, second.cap) == (1, 200)
    assert ended(second).stage == 1  # the day was answered for already


def test_health_changes_nothing_within_the_day() -> None:
    level = Level(stage=1, cap=200, day=DAY, counts=Counts(used=200, delivered=200))

    looked_at = warmup.check(LADDER, HEALTH, level, HOUR)

    assert looked_at == replace(level, hour=HOUR, before=level.counts)
    assert warmup.check(LADDER, HEALTH, looked_at, HOUR) is looked_at


GOOD_DAY = Counts(used=3000, delivered=2950, bounced=30)


def evening(hour: int = HOUR, **heard: int) -> Level:
    """A good day, and what was heard after its last look."""
    now = {name: getattr(GOOD_DAY, name) + n for name, n in heard.items()}
    return Level(stage=4, cap=None, day=DAY, counts=replace(GOOD_DAY, **now), hour=hour, before=GOOD_DAY)


@pytest.mark.parametrize(
    ("heard", "word"),
    [
        ({"delivered": 60, "bounced": 40}, "bounced 40 of 100 answers, over 10.0% within the hour"),
        ({"delivered": 12, "bounced": 8}, "bounced 8 of 20"),
        (
            {"delivered": 400, "complained": 10},
            "complaints 10 about 400 delivered, over 0.3% within the hour",
        ),
        ({"delivered": 80, "blocked": 20}, "blocked 20 of 100"),
    ],
)
def test_a_bad_hour_is_not_excused_by_a_good_day(heard: dict[str, int], word: str) -> None:
    level = evening(**heard)
    assert warmup.judge(HEALTH, level.counts)[0] is not Verdict.RED

    stepped = warmup.check(LADDER, HEALTH, level, HOUR)

    assert (stepped.stage, stepped.cap, stepped.verdict) == (3, 800, Verdict.RED)
    assert word in stepped.reason


@pytest.mark.parametrize(
    "heard",
    [
        {"delivered": 10, "bounced": 4},  # too few
        {"delivered": 17, "bounced": 5},  # by chance
        {"delivered": 90, "bounced": 14},  # by chance, too
        {"delivered": 500, "complained": 4},
    ],
)
def test_chance_makes_no_hour_red(heard: dict[str, int]) -> None:
    assert warmup.check(LADDER, HEALTH, evening(**heard), HOUR).judged == 0


def test_an_hour_begins_with_nothing_heard() -> None:
    level = evening(delivered=90, bounced=14)

    next_hour = warmup.check(LADDER, HEALTH, level, HOUR + 1)
    idle = warmup.check(LADDER, HEALTH, next_hour, HOUR + 2)

    assert next_hour.in_the_hour == Counts()
    assert idle is next_hour


def test_a_healthy_list_has_no_red_hour_in_years() -> None:
    """3 % bounced and 0.05 % complaints, in hours of any size."""
    rng = random.Random(1)
    for _ in range(20_000):
        answers = rng.randint(20, 400)
        bounced = sum(rng.random() < 0.03 for _ in range(answers))
        complained = sum(rng.random() < 0.0005 for _ in range(answers))
        counts = Counts(delivered=answers - bounced, bounced=bounced, complained=complained)
        assert warmup.judge_hour(HEALTH, counts) is None


# ---- over weeks -------------------------------------------------------------------------------------------


def a_day(level: Level, wanted: int, rng: random.Random, *, bad: float, deferred: float = 0.03) -> Level:
    used = wanted if level.cap is None else min(wanted, level.cap)
    bounced = sum(rng.random() < bad for _ in range(used))
    later = sum(rng.random() < deferred for _ in range(used - bounced))
    delivered = used - bounced - later
    complaints = sum(rng.random() < 0.0003 for _ in range(delivered))
    return replace(level, counts=Counts(used, delivered, later, bounced, 0, complaints))


@pytest.mark.parametrize("seed", range(20))
def test_a_healthy_list_warms_up_within_45_days_without_a_red_one(seed: int) -> None:
    """1 % bounces, 3 % deferrals, 0.03 % complaints; 5,000 messages a day to the provider."""
    rng = random.Random(seed)
    ladder = RULES.ladder("steady", 10_000, "google")
    level = warmup.begin(ladder, DAY)
    verdicts = set()
    for day in range(DAY, DAY + 45):
        level, over = warmup.roll(ladder, HEALTH, level, day)
        verdicts |= {over.verdict} if over else set()
        level = warmup.check(ladder, HEALTH, a_day(level, 5_000, rng, bad=0.01), day * 24)
        verdicts.add(level.verdict)

    assert Verdict.RED not in verdicts
    assert level.cap is None


@pytest.mark.parametrize("seed", range(20))
def test_a_poisoned_list_steps_back_within_the_hour(seed: int) -> None:
    """Every third address is bad; mail is spread over the day, and looked at every ten minutes."""
    rng = random.Random(seed)
    ladder = RULES.ladder("steady", 50_000, "google")
    level = Level(stage=12, cap=ladder.cap(12), day=DAY)
    assert level.cap is not None
    ten_minutes = level.cap // 144
    counts = Counts()
    for _ in range(6):
        part = a_day(replace(level, cap=ten_minutes), ten_minutes, rng, bad=0.33).counts
        counts = Counts(
            counts.used + part.used, counts.delivered + part.delivered, counts.deferred + part.deferred,
            counts.bounced + part.bounced, 0, counts.complained + part.complained,
        )  # fmt: skip
        level = warmup.check(ladder, HEALTH, replace(level, counts=counts), HOUR)

    assert level.stage < 12
    assert level.verdict is Verdict.RED


# ---- when it will be warm ---------------------------------------------------------------------------------


def test_the_forecast_counts_the_stages_that_are_left() -> None:
    advanced = after(1, used=200, delivered=200)

    assert warmup.forecast(LADDER, advanced).day == advanced.day + 2
    assert warmup.forecast(LADDER, warm()).reason == "warm"


def test_without_progress_there_is_no_forecast_but_a_reason() -> None:
    slow = warmup.forecast(LADDER, after(1, used=20, delivered=20))
    held = warmup.forecast(LADDER, after(1, used=200, delivered=200), is_held=True)

    assert (slow.day, held.day) == (None, None)
    assert "20 of 200 used" in slow.reason
    assert "holds" in held.reason
