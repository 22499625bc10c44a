"""What a script may say, and what its behaviours do by themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailer.policy.outcome import Accepted, Broken, Refused
from mailer.protocol.phase import Phase
from mailer.protocol.reply import Reply
from mailer.simulate import script
from mailer.simulate.provider import Heard
from mailer.simulate.script import ScriptError, parse
from mailer.simulate.world import World

IP, OTHER_IP = "192.0.2.1", "192.0.2.2"
HOUR = 3600.0


def world(*does: str) -> World:
    listed = ", ".join(f"{{ {one} }}" for one in does)
    return World(parse("test", f"[provider.p]\ndoes = [{listed}]\n"), seed=1)


def taken(heard: list[Heard]) -> int:
    return sum(one.count for one in heard if isinstance(one.outcome, Accepted))


def sent(made: World, count: int, now: float, ip: str = IP, **others: float) -> int:
    """How many of so many messages are accepted."""
    return taken(made.send(ip, "p", count, now, **others))


@pytest.mark.parametrize("name", script.shipped())
def test_the_shipped_scripts_hold(name: str) -> None:
    assert script.load(name).parts


def test_scripts_are_shipped() -> None:
    assert set(script.shipped()) == {"europe", "hostile", "new-ip", "tls-oddities", "warm-up"}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[provider", "test: "),
        ("x = 3", "a script needs sections [provider.NAME]"),
        ("[other]\n[provider.p]", "there is no section 'other'"),
        ("[provider.P_]", "its name must be lower-case"),
        ("[provider.p]\nsize = 3", "size is not known"),
        ("[provider.p]\nweight = 0", "weight must be a number above 0"),
        ('[provider.p]\ntls = "odd"', "tls must be one of none, offered, broken"),
        ('[provider.p]\ndomains = "p"', "domains must be a list"),
        ("[provider.p]\ndoes = [3]", "does 1: needs kind"),
        ('[provider.p]\ndoes = [{ kind = "rate", limit = 3 }]', "rate needs per"),
        ('[provider.p]\ndoes = [{ kind = "rate", limit = 0, per = "1h" }]', "limit must be a whole number"),
        ('[provider.p]\ndoes = [{ kind = "rate", limit = 3, per = "soon" }]', "per must be a time"),
        ('[provider.p]\ndoes = [{ kind = "greylist", seconds = "5m", limit = 3 }]', "limit is not known for"),
        ('[provider.p]\ndoes = [{ kind = "standing", free = 3, lasts = "1h" }]', "standing needs growth"),
        ('[provider.p]\ndoes = [{ kind = "standing", growth = 0.5 }]', "growth must be a number from 1"),
        ('[provider.p]\ndoes = [{ kind = "refuse", share = 2 }]', "share must be above 0"),
        ('[provider.p]\ndoes = [{ kind = "refuse", phase = "later" }]', "phase must be one of"),
        ('[provider.p]\ndoes = [{ kind = "refuse", reply = "250 2.0.0 ok" }]', "reply must be a line"),
        ('[provider.p]\ndoes = [{ kind = "refuse", reply = "550 4.0.0 no" }]', "reply must be a line"),
        ("[traffic]\nconnections = 0\n[provider.p]", "connections must be a whole number from 1"),
        ("[traffic]\nmessages_per_day = -1\n[provider.p]", "messages_per_day must be a number"),
    ],
)
def test_a_fault_is_named(text: str, fault: str) -> None:
    with pytest.raises(ScriptError) as caught:
        parse("test", text)

    assert fault in str(caught.value)


def test_a_script_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(ScriptError, match="shipped are: europe, hostile"):
        script.load("/nowhere/x.toml")


def test_a_sliding_window_takes_no_double_burst_at_its_edge() -> None:
    made = world('kind = "rate", limit = 100, per = "1h"')

    assert sent(made, 150, 0.9 * HOUR) == 100
    assert sent(made, 150, 1.1 * HOUR) == 0
    assert sent(made, 150, 1.9 * HOUR) == 100


def test_a_fixed_window_begins_anew_by_the_clock() -> None:
    made = world('kind = "rate", limit = 100, per = "1h", window = "fixed"')

    assert [sent(made, 150, at * HOUR) for at in (0.9, 0.95, 1.1)] == [100, 0, 100]


def test_each_ip_has_its_own_limit() -> None:
    made = world('kind = "rate", limit = 100, per = "1h"')

    assert (sent(made, 150, 0), sent(made, 150, 0, OTHER_IP)) == (100, 100)


def test_refusals_may_count_themselves() -> None:
    made = world('kind = "rate", limit = 10, per = "1h", counts_refused = true')

    assert sent(made, 30, 0) == 10
    assert sent(made, 30, 0.99 * HOUR) == 0
    assert sent(made, 30, 1.5 * HOUR) == 0


def test_behaviours_hold_in_their_hours_and_by_turns() -> None:
    made = world('kind = "refuse", begin = "1h", end = "3h", on = "15m", off = "45m"')

    assert [sent(made, 1, at * HOUR) for at in (0.5, 1.1, 1.5, 2.1, 2.5, 3.1)] == [1, 0, 1, 0, 1, 1]


def test_greylisting_looks_at_when_the_message_came_first() -> None:
    made = world('kind = "greylist", seconds = "5m"')

    assert sent(made, 1, 1000) == 0
    assert sent(made, 1, 1200, first_seen=1000) == 0
    assert sent(made, 1, 1300, first_seen=1000) == 1


def test_a_burst_costs_an_ip_its_reputation_for_a_time() -> None:
    made = world('kind = "reputation", messages = 50, per = "10m", lasts = "1h"')

    assert sent(made, 60, 0) == 51
    assert sent(made, 5, 0.5 * HOUR) == 0
    assert sent(made, 5, 1.1 * HOUR) == 5


def test_connections_beyond_the_cap_are_turned_away() -> None:
    made = world('kind = "connections", limit = 3')

    assert sent(made, 8, 0, connections=8) == 3
    assert sent(made, 8, 0, connections=3) == 8


STRICT = 'kind = "standing", free = 50, growth = 2, unknown = 0.1, complaints = 0.01, lasts = "1h"'
DAY = 24 * HOUR


def test_an_ip_that_grows_too_fast_loses_its_standing_for_longer_each_time() -> None:
    made = world(STRICT)

    assert sent(made, 60, 0) == 51  # the last one was too many
    assert sent(made, 1, 0.9 * HOUR) == 0
    assert sent(made, 200, DAY) == 2 * 51 + 1
    assert sent(made, 1, DAY + 1.9 * HOUR) == 0
    assert sent(made, 1, 3 * DAY) == 1


def test_an_ip_that_is_known_may_send_what_it_did() -> None:
    made = world(STRICT)
    made.provider("p").introduce(IP, 500, 0)

    assert sent(made, 1000, 0) == 1000
    assert sent(made, 1, 1) == 1
    assert sent(made, 1, 2) == 0


def test_unknown_recipients_and_complaints_cost_it_its_standing() -> None:
    made, other = world(STRICT), world(STRICT)

    [unknown] = made.provider("p").send_astray(IP, 0, 50)
    sent(other, 40, 0)
    other.provider("p").complained(IP, 10, 3)

    assert (unknown.count, unknown.outcome) == (50, Refused(Reply(550, ("5.1.1 No such user",)), Phase.RCPT))
    assert sent(made, 1, 20) == sent(other, 1, 20) == 0
    assert sent(made, 1, 2 * HOUR) == sent(other, 1, 2 * HOUR) == 1


def test_its_day_begins_when_the_provider_says() -> None:
    made = world(f'{STRICT}, shift = "6h"')

    assert sent(made, 50, 5 * HOUR) == 50
    assert sent(made, 50, 7 * HOUR) == 50


def test_a_dead_provider_gives_no_answer() -> None:
    [heard] = world('kind = "dead"').send(IP, "p", 4, 0)

    assert isinstance(heard.outcome, Broken)
    assert heard.count == 4


def test_what_is_refused_for_rate_is_told_apart() -> None:
    limited = world('kind = "rate", limit = 1, per = "1h"').send(IP, "p", 2, 0)
    unknown = world('kind = "refuse"').send(IP, "p", 2, 0)

    assert [one.is_limit for one in limited] == [False, True]
    assert [one.is_limit for one in unknown] == [False]
    assert isinstance(unknown[0].outcome, Refused)


def test_the_script_of_the_document_holds() -> None:
    document = (Path(__file__).parents[2] / "docs/simulator.md").read_text()
    example = document.partition("```toml\n")[2].partition("```")[0]

    [part] = parse("document", example).parts

    assert [section["kind"] for section in part.does] == ["rate", "refuse"]
