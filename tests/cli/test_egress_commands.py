"""`mailer ip`, `mailer pool` and `mailer warmup`, as an operator types them."""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mailer import clock
from mailer.cli import main
from mailer.config.load import warmup_rules
from mailer.identity import egress
from mailer.policy.warmup import Counts
from mailer.queue import warmup
from mailer.queue.warmup import Heard
from mailer.store import Store
from tests.support.mailroom import register

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs `mailer ...` on a database that is there."""

    def run(*arguments: str) -> Result:
        env = {"MAILER_DATA_DIR": str(tmp_path / "data")}
        return CliRunner(env=env).invoke(main, arguments, catch_exceptions=False)

    assert run("provision").exit_code == 0
    return run


def answer(result: Result) -> Any:
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture
def furnished(run: Run) -> Run:
    for words in (
        ("ip", "add", "203.0.113.5", "2001:db8::5", "--helo", "out5.example.org"),
        ("ip", "add", "203.0.113.6", "--helo", "out6.example.org"),
        ("pool", "create", "spare"),
        ("pool", "create", "main", "--default", "--overflow", "spare"),
        ("pool", "add-ip", "main", "203.0.113.5", "--weight", "3"),
        ("pool", "add-ip", "spare", "203.0.113.6"),
    ):
        assert run(*words).exit_code == 0
    return run


def test_ips_and_pools_are_made_and_listed(furnished: Run) -> None:
    ips, pools = answer(furnished("ip", "list", "--json")), answer(furnished("pool", "list", "--json"))

    assert [(i["ipv4"], i["ipv6"], i["helo"], i["pools"]) for i in ips] == [
        ("203.0.113.5", "2001:db8::5", "out5.example.org", ["main"]),
        ("203.0.113.6", None, "out6.example.org", ["spare"]),
    ]
    assert [(p["name"], p["is_default"], p["overflow"], p["members"]) for p in pools] == [
        ("spare", False, None, [{"address": "203.0.113.6", "weight": 1}]),
        ("main", True, "spare", [{"address": "203.0.113.5", "weight": 3}]),
    ]


def test_people_get_tables(furnished: Run) -> None:
    head, first, _ = furnished("ip", "list").stdout.splitlines()
    pools = furnished("pool", "list").stdout.splitlines()

    assert head.split() == ["ADDRESS", "EHLO", "STATE", "POOLS", "HOSTS", "PTR", "NOTES"]
    assert first.startswith("203.0.113.5 2001:db8::5  out5.example.org  active  main")
    assert first.endswith("no worker has looked for it yet")
    assert "main   transactional  yes                spare     203.0.113.5*3" in pools


def test_an_ip_is_named_by_either_of_its_addresses(furnished: Run) -> None:
    changed = answer(furnished("ip", "set", "2001:DB8:0::5", "--state", "draining", "--json"))

    assert (changed["ipv4"], changed["state"]) == ("203.0.113.5", "draining")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("ip", "add", "203.0.113.5", "--helo", "x.example"), "with this address already"),
        (("ip", "add", "nowhere", "--helo", "x.example"), "'nowhere' is no IP address"),
        (("ip", "set", "203.0.113.99", "--state", "off"), "there is no egress IP 203.0.113.99"),
        (("ip", "remove", "203.0.113.5"), "is in the pool main: take it out first"),
        (("pool", "create", "main"), "there is a pool 'main' already"),
        (("pool", "remove", "spare"), "the pool main overflows into spare"),
        (("pool", "set", "main", "--overflow", "main"), "cannot overflow into itself"),
        (("pool", "add-ip", "main", "203.0.113.5", "--weight", "1001"), "from 0 to 1000"),
        (("pool", "use", "main", "--tenant", "nobody"), "there is no tenant 'nobody'"),
        (("warmup", "start", "203.0.113.5", "--plan", "hasty"), "there is no plan 'hasty'"),
        (("warmup", "hold", "203.0.113.5"), "is not being warmed up"),
        (("warmup", "show", "203.0.113.5"), "is not being warmed up"),
    ],
)
def test_what_cannot_be_is_a_sentence(furnished: Run, words: tuple[str, ...], sentence: str) -> None:
    told = furnished(*words)

    assert told.exit_code != 0
    assert sentence in told.stderr
    assert told.stdout == ""


def test_streams_are_mapped_and_unmapped(furnished: Run) -> None:
    used = answer(
        furnished("pool", "use", "main", "--tenant", "default", "--stream", "transactional", "--json")
    )
    none = answer(
        furnished("pool", "use", "--none", "--tenant", "default", "--stream", "transactional", "--json")
    )

    assert used == [{"tenant": "default", "stream": "transactional", "pool": "main"}]
    assert none == []
    assert furnished("pool", "use", "--tenant", "default").exit_code == 2


def test_a_warm_up_is_told_provider_by_provider(furnished: Run, tmp_path: Path) -> None:
    answer(furnished("warmup", "start", "203.0.113.5", "--target", "50000/day", "--json"))
    store = Store(f"sqlite:///{tmp_path}/data/mailer.sqlite3")
    key = (egress.one(store, "203.0.113.5").id, "google")
    warmup.reserve(store, register(store).id, {key: 40}, rules=warmup_rules(), now=clock.now())
    warmup.observe(store, {key: Heard(Counts(delivered=39, bounced=1))})
    store.close()

    [row] = furnished("warmup", "list").stdout.splitlines()[1:]
    [found] = answer(furnished("warmup", "list", "--json"))
    held = furnished("warmup", "hold", "203.0.113.5", "--reason", "a listing")
    shown = furnished("warmup", "show", "203.0.113.5").stdout

    assert row.split()[:7] == ["203.0.113.5", "steady", "running", "google", "1/18", "40/100", "green"]
    assert (found["target_per_day"], found["providers"][0]["delivered"]) == (50_000, 39)
    assert held.stdout == "the warm-up of 203.0.113.5 by the plan steady is held\n"
    assert shown.startswith("203.0.113.5 is held: a listing; plan steady, to 50000 a day\n")


def test_the_plans_say_where_they_come_from(run: Run) -> None:
    found = answer(run("warmup", "plans", "--json"))

    assert {p["name"] for p in found} == {"steady", "sparkpost", "sendgrid"}
    assert all(p["source"] for p in found)


# ---- the curve --------------------------------------------------------------------------------------------


def test_a_curve_grows_until_the_volume_is_taken(run: Run) -> None:
    curve = answer(run("warmup", "simulate", "--volume", "50000/day", "--json"))

    sent = [d["sent"] for d in curve["days"]]
    assert len(sent) == 45
    assert sent == sorted(sent)
    assert sent[curve["warm_on"] - 1] == 50_000 > sent[curve["warm_on"] - 2]
    assert all(d["sent"] + d["over"] == 50_000 for d in curve["days"])
    assert all(d["cap"] is None or d["sent"] <= d["cap"] for d in curve["days"])


def test_the_curve_is_printed_with_its_end(run: Run) -> None:
    told = run("warmup", "simulate", "--volume", "50000/day", "--plan", "sparkpost").stdout.splitlines()

    assert told[0].split() == ["DAY", "CAP", "SENT", "OVER"]
    assert told[1].split()[0] == "1"
    assert told[-1].startswith("from day ")


def test_too_few_days_are_said_to_be_so(run: Run) -> None:
    told = run("warmup", "simulate", "--volume", "50000/day", "--days", "5").stdout

    assert told.endswith("after 5 days the IP does not yet take 50000 messages a day\n")


@pytest.mark.parametrize(
    ("volume", "code"), [("50000", 2), ("0/day", 2), ("many/day", 2), ("1000/hour", 0), ("7/week", 0)]
)
def test_a_volume_reads_like_50000_a_day(run: Run, volume: str, code: int) -> None:
    assert run("warmup", "simulate", "--volume", volume).exit_code == code


def test_without_matplotlib_drawing_says_what_to_install(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    told = run("warmup", "simulate", "--volume", "50000/day", "--plot", str(tmp_path / "curve.png"))

    assert told.exit_code != 0
    assert told.stderr == "mailer: drawing needs matplotlib: pip install 'ecm-mailer[plots]'\n"
    assert not (tmp_path / "curve.png").exists()


def test_the_curve_is_drawn(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "curve.png"

    told = run("warmup", "simulate", "--volume", "50000/day", "--plot", str(file))

    assert told.exit_code == 0, told.stderr
    octets = file.read_bytes()
    assert octets.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", octets[16:24]) == (1080, 600)
