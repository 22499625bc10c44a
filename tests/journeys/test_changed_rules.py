"""The operator's file of rules changes under a running product: no restart, and no harm by a slip."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.instance import Instance, Ledger, installed, wait_for
from tests.support.providers import Serving, serving

PROVIDERS = """
[provider.busy]
domains = ["busy.test"]
tls = "none"
does = [{ kind = "refuse", phase = "mail", reply = "451 4.7.99 Come back after lunch" }]
"""
NOTHING = "# nothing of our own yet\n"
SLIP = '\n\n[rule.lunch]\ntext = "after lunch"\naction = ["sleep"]\nsource = "their postmaster"\n'
LUNCH = (
    '\n[rule.lunch]\ntext = "after lunch"\naction = ["suspend"]\nlasts = "2h"\nsource = "their postmaster"\n'
)
WITHIN = 60.0


def logged(instance: Instance, role: str, event: str) -> list[str]:
    lines = (instance.data / "log" / f"{role}.log").read_text().splitlines()
    return [line for line in lines if event in line]


def by_all(instance: Instance, event: str) -> Mapping[str, list[str]]:
    """What each process said that holds rules; once all of them said it."""
    roles = [role for role in instance.roles() if role.partition("-")[0] in ("worker", "http", "sweeper")]
    assert len(roles) == 4, roles

    def said() -> Mapping[str, list[str]] | None:
        found = {role: logged(instance, role, event) for role in roles}
        return found if all(found.values()) else None

    return wait_for(f"{event} by {roles}", said, within_seconds=WITHIN)


def tried(served: Serving, count: int) -> bool:
    return served.sink.seen["busy"]["refused"] >= count


def rules_named(instance: Instance, message_id: str) -> set[str]:
    """By the command, which reads the files anew, and by the API, which has them."""
    command = json.loads(instance.run("explain", message_id, "--json").stdout)
    answer: dict[str, Any] = instance.get(f"/v1/messages/{message_id}/explain")
    shown = [*command, *answer["recipients"]]
    return {o["rule"] for one in shown for o in one["obstacles"] if o["kind"] == "suspended"}


def test_a_rule_that_comes_into_the_file_is_obeyed_and_named_and_a_slip_is_not(tmp_path: Path) -> None:
    file = tmp_path / "sites.toml"
    file.write_text(NOTHING)
    with serving(PROVIDERS, tmp_path) as served:
        settings = {
            "MAILER_ROUTES": served.routes, "MAILER_RETRY_DELAYS": "1s", "MAILER_WORKERS": "2",
            "MAILER_SITES_FILE": str(file), "MAILER_LOG_LEVEL": "info",
        }  # fmt: skip
        with installed(tmp_path / "data", settings) as instance:
            assert instance.ready is not None
            ledger = Ledger(f"sqlite:///{tmp_path / 'data/mailer.sqlite3'}")
            pids = {role: instance.pid(role) for role in instance.roles()}
            answer = instance.send(
                **{"from": f"shop@{instance.ready.domain}", "to": "a@busy.test", "subject": "x", "text": "x"}
            )
            assert answer.status_code == 202, answer.text
            message_id = str(answer.json()["id"])
            wait_for("a few tries", lambda: tried(served, 2), within_seconds=WITHIN)

            file.write_text(SLIP)
            refused = by_all(instance, "sites.rules_refused")
            before = served.sink.seen["busy"]["refused"]
            wait_for("tries by the old rules", lambda: tried(served, before + 2), within_seconds=WITHIN)
            suspended_by_a_slip = ledger.count("state = 'suspended'", "pace")

            file.write_text(LUNCH)
            by_all(instance, "sites.rules_taken")
            wait_for(
                "the suspension", lambda: ledger.count("state = 'suspended'", "pace"), within_seconds=WITHIN
            )
            named = rules_named(instance, message_id)
            said = instance.run("sites", "set", "mine", "mx=mx.mine.example", "source=assumed")
            by_all(instance, "sites.own_rules_taken")
            after = {role: instance.pid(role) for role in instance.roles()}

            file.write_text(SLIP)
            worker = next(role for role in instance.roles() if role.startswith("worker"))
            os.kill(after[worker], signal.SIGKILL)
            instance.wait_for_successor(worker, after[worker], within_seconds=WITHIN)
            started = logged(instance, worker, "sites.started_without_file")
            listed = instance.run("sites", "rules")

    assert said.returncode == 0, said.stderr
    assert after == pids
    assert suspended_by_a_slip == 0
    assert named == {f"{file}:2"}
    assert len(started) == 1
    assert f"{tmp_path}/data/sites.last-good.toml:2" in listed.stdout
    assert f"MAILER_SITES_FILE {file} cannot be used" in listed.stderr
    for lines in refused.values():
        assert f"{file}:3" in lines[0]
        assert "error" in lines[0]
        assert len(lines) == 1
