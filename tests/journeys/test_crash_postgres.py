"""PostgreSQL with RabbitMQ and with Redis: the same promises, and a database and brokers that die too.

The floor is 10,000 messages and 40 faults on this engine, counted over this module. The database
waits for the disk, as in production: what it lost by a crash would be the product's loss.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.journeys.crash_run import CrashPlan, crash, shuffled
from tests.support.faults import (
    amid_batch,
    freeze,
    kill,
    kill_server,
    kill_up,
    lose_commit,
    step_clock,
    terminate,
)
from tests.support.servers import Postgres, RabbitMQ, Redis
from tests.support.tcp_proxy import Cut, commit_thief

# A statement by which the proxy knows whose transaction it is.
ACCEPT, CLAIM, SETTLE = "INSERT INTO message", "INSERT INTO attempt", "UPDATE attempt"
FAN_OUT, BEAT = "INSERT INTO event (", "UPDATE heartbeat"

KILLS = [
    *[kill("worker")] * 3, *[amid_batch(kill("http"))] * 2, kill("http"), kill("sweeper"),
    kill("worker", "sweeper"), amid_batch(kill()), kill_up(), *[kill_server("postgres")] * 3,
    amid_batch(kill_server("postgres")), *[kill_server("broker")] * 2, terminate("worker"),
]  # fmt: skip
LOSSES = [
    *[lose_commit(Cut.ANSWER, touching=ACCEPT)] * 2, lose_commit(Cut.COMMIT, touching=ACCEPT),
    *[amid_batch(lose_commit(cut, touching=ACCEPT)) for cut in (Cut.ANSWER, Cut.COMMIT)],
    *[lose_commit(Cut.ANSWER, touching=CLAIM)] * 2, lose_commit(Cut.COMMIT, touching=CLAIM),
    *[lose_commit(Cut.ANSWER, touching=SETTLE)] * 2, lose_commit(Cut.COMMIT, touching=SETTLE),
    lose_commit(Cut.ANSWER, touching=FAN_OUT), lose_commit(Cut.ANSWER, touching=BEAT), kill("worker"),
]  # fmt: skip
STOPS = [
    *[freeze("worker")] * 2, *[freeze("worker-2")] * 2, *[kill_server("broker")] * 3, kill("worker-2"),
]  # fmt: skip
STEPS = [step_clock(3600), step_clock(-1800), kill("worker"), step_clock(0)]


def assert_kept(folder: Path, plan: CrashPlan) -> None:
    """Every 202 ends once, every duplicate is in doubt, nobody stays stuck. Prints the figures."""
    reckoning = crash(folder, plan)
    print(reckoning.summary())
    assert reckoning.broken() == []


@pytest.mark.timeout(600)
def test_killed_processes_database_and_rabbitmq(
    tmp_path: Path, durable_postgres: Postgres, rabbitmq: RabbitMQ
) -> None:
    url = durable_postgres.new_database()
    settings = {"MAILER_DATABASE_URL": url, "MAILER_BROKER_URL": rabbitmq.url}

    assert_kept(
        tmp_path,
        CrashPlan(
            name="pk", faults=shuffled(KILLS, "pk"), messages=6000, per_second=50, settings=settings,
            ledger_url=url, postgres=durable_postgres, broker=rabbitmq,
        ),
    )  # fmt: skip


@pytest.mark.timeout(600)
def test_commits_whose_answer_is_lost(tmp_path: Path, durable_postgres: Postgres, rabbitmq: RabbitMQ) -> None:
    url = durable_postgres.new_database()
    with commit_thief("127.0.0.1", durable_postgres.port) as thief:
        through = url.replace(f":{durable_postgres.port}/", f":{thief.port}/")
        settings = {"MAILER_DATABASE_URL": through, "MAILER_BROKER_URL": rabbitmq.url}

        assert_kept(
            tmp_path,
            CrashPlan(
                name="pl", faults=shuffled(LOSSES, "pl"), messages=2000, per_second=70, settings=settings,
                ledger_url=url, postgres=durable_postgres, broker=rabbitmq, thief=thief,
            ),
        )  # fmt: skip


@pytest.mark.timeout(600)
def test_stopped_workers_and_a_killed_redis(
    tmp_path: Path, durable_postgres: Postgres, redis_server: Redis
) -> None:
    url = durable_postgres.new_database()
    settings = {"MAILER_DATABASE_URL": url, "MAILER_BROKER_URL": redis_server.url, "MAILER_WORKERS": "2"}

    assert_kept(
        tmp_path,
        CrashPlan(
            name="ps", faults=shuffled(STOPS, "ps"), messages=1500, per_second=70, settings=settings,
            ledger_url=url, postgres=durable_postgres, broker=redis_server,
        ),
    )  # fmt: skip


@pytest.mark.timeout(600)
def test_a_stepped_wall_clock(tmp_path: Path, durable_postgres: Postgres, redis_server: Redis) -> None:
    url = durable_postgres.new_database()
    settings = {"MAILER_DATABASE_URL": url, "MAILER_BROKER_URL": redis_server.url}

    assert_kept(
        tmp_path,
        CrashPlan(
            name="pc", faults=STEPS, messages=700, per_second=60, settings=settings, ledger_url=url,
            postgres=durable_postgres, broker=redis_server, clock=True,
        ),
    )  # fmt: skip


def test_the_faults_of_this_module_are_forty_at_least() -> None:
    assert len(KILLS) + len(LOSSES) + len(STOPS) + len(STEPS) >= 40
