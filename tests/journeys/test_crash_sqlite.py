"""SQLite and the embedded bell: whatever is killed, frozen or stepped, nothing is lost or doubled unmarked.

The floor is 10,000 messages and 40 faults on this engine, counted over this module.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.journeys.crash_run import CrashPlan, crash, shuffled
from tests.support.faults import amid_batch, freeze, kill, kill_up, remove_bell, step_clock, terminate

KILLS = [
    *[kill("worker")] * 4, *[kill("http")] * 2, *[amid_batch(kill("http"))] * 2, *[kill("sweeper")] * 2,
    *[kill("worker", "sweeper")] * 2, kill("http", "worker"), amid_batch(kill("http", "worker")),
    *[kill()] * 2, kill_up(), terminate("worker"),
]  # fmt: skip
STOPS = [
    *[freeze("worker")] * 2, *[freeze("worker-2")] * 2, *[remove_bell()] * 2, *[kill("worker-2")] * 2,
    *[kill("worker")] * 2, amid_batch(terminate("http")), terminate("sweeper"),
]  # fmt: skip
STEPS = [
    step_clock(3600), step_clock(-1800), kill("worker"), step_clock(7200), step_clock(0), kill("sweeper"),
]  # fmt: skip
INBOX = [*[kill("inbox")] * 3, kill("worker")]

PLANS = [
    CrashPlan(name="sk", faults=shuffled(KILLS, "sk"), messages=5500, per_second=40),
    CrashPlan(
        name="ss",
        faults=shuffled(STOPS, "ss"),
        messages=3000,
        per_second=40,
        settings={"MAILER_WORKERS": "2"},
    ),
    CrashPlan(name="sc", faults=STEPS, messages=1250, per_second=60, clock=True),
    # The inbox keeps the newest 1,000; more would be pruned before they are counted.
    CrashPlan(name="si", faults=INBOX, messages=250, per_second=12, to_inbox=True),
]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("plan", PLANS, ids=["killed", "stopped", "stepped", "inbox"])
def test_every_202_ends_once_and_every_duplicate_is_in_doubt(tmp_path: Path, plan: CrashPlan) -> None:
    reckoning = crash(tmp_path, plan)

    print(reckoning.summary())
    assert reckoning.broken() == []


def test_this_module_meets_its_floor() -> None:
    assert sum(p.messages for p in PLANS) >= 10_000
    assert sum(len(p.faults) for p in PLANS) >= 40
