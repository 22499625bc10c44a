"""A running product meets simulated providers: it stops when refused, asks by one message, and goes on."""

from __future__ import annotations

from pathlib import Path

from tests.support.instance import Instance, Ledger, installed, pause, wait_for
from tests.support.providers import Serving, serving

PROVIDERS = """
[provider.small]
domains = ["small.test"]
tls = "none"
does = [{ kind = "rate", limit = 10, per = "40s" }]

[provider.large]
domains = ["large.test"]
tls = "none"

[provider.gone]
domains = ["gone.test"]
tls = "none"
does = [{ kind = "dead", end = "60s" }]

[provider.listing]
domains = ["listing.test"]
tls = "none"
does = [{ kind = "refuse", phase = "mail", reply = "554 5.7.1 Blocked by a dnsbl", end = "30s" }]
"""
SETTINGS = {"MAILER_RETRY_DELAYS": "2s", "MAILER_LOG_LEVEL": "info"}
MOST = 240.0


def send(instance: Instance, domain: str, count: int) -> None:
    for number in range(count):
        answer = instance.send(
            **{"from": "shop@sandbox.mailer.test", "to": f"u{number}@{domain}", "subject": "x", "text": "x"}
        )
        assert answer.status_code == 202, answer.text


def accepted(served: Serving, provider: str, count: int) -> bool:
    return served.sink.seen[provider]["accepted"] >= count


def test_a_provider_that_refuses_for_rate_is_left_alone_and_the_others_are_not(tmp_path: Path) -> None:
    with serving(PROVIDERS, tmp_path) as served:
        settings = SETTINGS | {"MAILER_ROUTES": served.routes}
        with installed(tmp_path / "data", settings) as instance:
            ledger = Ledger(f"sqlite:///{tmp_path / 'data/mailer.sqlite3'}")
            send(instance, "small.test", 40)
            send(instance, "large.test", 40)
            wait_for("others", lambda: accepted(served, "large", 40), within_seconds=MOST)
            wait_for("a refusal", lambda: served.sink.seen["small"]["refused for rate"], within_seconds=MOST)
            wait_for("its record", lambda: ledger.count("state <> 'free'", "pace"), within_seconds=MOST)
            before = served.sink.seen["small"]["refused for rate"]
            told = instance.run("sites", "slow").stdout
            # Two windows' worth: it was refused, asked again by single messages, and was let in again.
            wait_for("a second window", lambda: accepted(served, "small", 12), within_seconds=MOST)
            refused = served.sink.seen["small"]["refused for rate"]

    assert "slow down" in told
    assert "automation.toml:" in told
    assert refused <= 30
    # What was in hand as it began to refuse was refused; later it was asked, not tried with all that waits.
    assert refused - before <= 12


def test_a_dead_site_gets_single_messages_and_all_when_it_is_back(tmp_path: Path) -> None:
    with serving(PROVIDERS, tmp_path) as served:
        settings = SETTINGS | {"MAILER_ROUTES": served.routes}
        with installed(tmp_path / "data", settings) as instance:
            ledger = Ledger(f"sqlite:///{tmp_path / 'data/mailer.sqlite3'}")
            send(instance, "gone.test", 60)
            wait_for("suspension", lambda: ledger.count("state = 'suspended'", "pace"), within_seconds=MOST)
            pause(3)
            tried = served.sink.seen["gone"]["refused"]
            pause(5)
            later = served.sink.seen["gone"]["refused"]
            wait_for("all of it", lambda: accepted(served, "gone", 60), within_seconds=MOST)
            verified, findings = instance.verify()

    assert later - tried <= 4
    assert verified == 0, findings


def test_a_block_of_our_address_is_no_bounce_and_an_operator_may_lift_what_followed(tmp_path: Path) -> None:
    with serving(PROVIDERS, tmp_path) as served:
        settings = SETTINGS | {"MAILER_ROUTES": served.routes}
        with installed(tmp_path / "data", settings) as instance:
            ledger = Ledger(f"sqlite:///{tmp_path / 'data/mailer.sqlite3'}")
            send(instance, "listing.test", 4)
            wait_for("suspension", lambda: ledger.count("state = 'suspended'", "pace"), within_seconds=MOST)
            bounced = ledger.count("state = 'bounced'")
            pause(30)  # by then the block is gone, which nobody here knows
            place = served.places["listing"]
            lifted = instance.run("sites", "lift", f"route:{place.host}:{place.port}")
            wait_for("all", lambda: accepted(served, "listing", 4), within_seconds=MOST)
            types = {event["type"] for event in instance.events()}

    assert bounced == 0
    assert lifted.returncode == 0, lifted.stderr
    assert "bounced" not in types
