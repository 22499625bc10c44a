"""The same providers in real time: a client of sockets meets what the script says."""

from __future__ import annotations

import smtplib
import ssl
import threading
from pathlib import Path

import pytest

from mailer.policy.routing import RouteTable
from tests.support.providers import LETTER, serving


def test_a_rate_limit_is_kept_and_counted(tmp_path: Path) -> None:
    text = '[provider.p]\ndoes = [{ kind = "rate", limit = 3, per = "1h" }]'
    with serving(text, tmp_path) as served:
        answers = [served.send("p") for _ in range(5)]

    assert answers == ["250"] * 3 + ["421 4.7.28 Rate limit exceeded, slow down"] * 2
    assert served.sink.seen["p"] == {"accepted": 3, "refused for rate": 2}


def test_greylisting_passes_who_comes_again(tmp_path: Path) -> None:
    text = '[provider.p]\ndoes = [{ kind = "greylist", seconds = "1s" }]'
    with serving(text, tmp_path) as served:
        first = served.send("p")
        threading.Event().wait(1.2)
        again, other = served.send("p"), served.send("p", "c@p.test")

    assert first == other == "451 4.7.1 Greylisted, try again later"
    assert again == "250"


def test_connections_beyond_the_cap_are_turned_away_until_one_leaves(tmp_path: Path) -> None:
    text = '[provider.p]\ndoes = [{ kind = "connections", limit = 2 }]'
    with serving(text, tmp_path) as served:
        first, second = served.client("p"), served.client("p")
        third = served.send("p")
        first.quit()
        while (fourth := served.send("p")) != "250":  # it leaves a moment after it said so
            threading.Event().wait(0.05)
        second.quit()

    assert third == "421 4.7.0 Too many connections"
    assert fourth == "250"


@pytest.mark.parametrize("phase", ["mail", "rcpt", "end-of-data", "greeting"])
def test_refusals_come_at_their_phase(tmp_path: Path, phase: str) -> None:
    reply = "421 4.3.2 Sudden end" if phase == "greeting" else "451 4.3.0 Sudden end"
    text = f'[provider.p]\ndoes = [{{ kind = "refuse", phase = "{phase}", reply = "{reply}" }}]'
    with serving(text, tmp_path) as served:
        assert served.send("p") == reply


def test_a_dead_provider_closes_without_a_word(tmp_path: Path) -> None:
    with (
        serving('[provider.p]\ndoes = [{ kind = "dead" }]', tmp_path) as served,
        pytest.raises(smtplib.SMTPServerDisconnected),
    ):
        served.client("p")


def test_a_tarpit_answers_late(tmp_path: Path) -> None:
    text = '[provider.p]\ndoes = [{ kind = "tarpit", seconds = "3s", phase = "rcpt" }]'
    with serving(text, tmp_path) as served:
        client = served.client("p", seconds=1)
        client.ehlo("c.example")
        client.mail("a@sender.example")
        with pytest.raises(smtplib.SMTPServerDisconnected, match="timed out"):
            client.docmd("RCPT", "TO:<b@p.test>")
        client.close()
        assert served.send("p") == "250"


def test_tls_is_offered_missing_or_broken(tmp_path: Path) -> None:
    text = '[provider.yes]\n[provider.no]\ntls = "none"\n[provider.odd]\ntls = "broken"\n'
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with serving(text, tmp_path) as served:
        with served.client("yes") as yes:
            yes.starttls(context=context)
            yes.sendmail("a@sender.example", ["b@yes.test"], LETTER)
        with served.client("no") as no:
            no.ehlo()
            offered = no.has_extn("starttls")
        odd = served.client("odd")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            odd.starttls(context=context)
        odd.close()

    assert not offered
    assert served.sink.seen["yes"]["accepted"] == 1


def test_its_routes_are_those_of_a_product(tmp_path: Path) -> None:
    text = '[provider.p]\ndomains = ["p.test", "q.test"]\n[provider.r]\n'
    with serving(text, tmp_path) as served:
        routes = RouteTable.parse(served.routes)

    found = routes.match("q.test")
    assert found is not None
    assert found.port == served.places["p"].port
