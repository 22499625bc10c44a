"""Why mail is slowed, in words, with the rule's place and the time."""

from __future__ import annotations

from datetime import timedelta

from mailer import clock
from mailer.policy.automation import Rule, parse_rule
from mailer.policy.governor import Match, Observation
from mailer.policy.pace import Slice
from mailer.queue import pace, slowness
from mailer.queue.slowness import Hindrance
from mailer.store import Store

SITE = "mx:mx.example"
NOW = clock.now()
HOUR = timedelta(hours=1)


def match(action: str) -> Match:
    values = {"code": [4], "source": "s", "action": [action], "lasts": "2h"}
    rule, _ = parse_rule("busy", values, "sites.toml:12")
    assert isinstance(rule, Rule)
    return Match(rule=rule, count=1, words="421 busy (to mail)")


def site_after(store: Store, *seen: Observation) -> list[Hindrance]:
    for number, one in enumerate(seen):
        pace.report(store, {("", SITE): one}, {}, most_of=lambda site: 8, now=NOW + number * HOUR)
    with store.read() as connection:
        return slowness.of_site(connection, SITE, for_operator=True)


def test_a_free_site_hinders_nothing(store: Store) -> None:
    assert site_after(store, Observation(heard=Slice(accepted=5, broken=2))) == []


def test_a_suspension_says_since_when_until_when_and_by_which_rule(store: Store) -> None:
    [found] = site_after(store, Observation(matches=(match("suspend"),)))

    assert (found.kind, found.rule, found.until) == ("suspended", "sites.toml:12", NOW + 2 * HOUR)
    assert found.facts == {"egress_ip": "", "since": NOW, "rule_name": "busy"}
    assert "421 busy (to mail)" in found.what
    assert "one message will ask" in found.what


def test_a_tenant_is_not_told_what_was_said_of_anothers_mail(store: Store) -> None:
    site_after(store, Observation(matches=(match("suspend"),)))

    with store.read() as connection:
        [found] = slowness.of_site(connection, SITE, for_operator=False)
    assert "421" not in found.what
    assert "mailer sites" not in found.remedy
    assert (found.rule, found.until) == ("sites.toml:12", NOW + 2 * HOUR)


def test_a_probe_under_way_is_told(store: Store) -> None:
    site_after(store, Observation(matches=(match("slow"),)))
    pace.take_probe(store, ("", SITE), now=NOW + HOUR)

    with store.read() as connection:
        [found] = slowness.of_site(connection, SITE, for_operator=True)
    assert found.kind == "probing"
    assert found.until is not None


def test_a_learnt_rate_and_fewer_connections_are_two_things(store: Store) -> None:
    site_after(store, Observation(heard=Slice(accepted=100), matches=(match("slow"),)))
    pace.take_probe(store, ("", SITE), now=NOW + HOUR)
    fewer = Observation(heard=Slice(accepted=1), matches=(match("fewer-connections"),))
    pace.report(
        store, {("", SITE): Observation(heard=Slice(accepted=1))}, {}, most_of=lambda s: 8, now=NOW + HOUR
    )
    pace.report(store, {("", SITE): fewer}, {}, most_of=lambda s: 8, now=NOW + 2 * HOUR)

    with store.read() as connection:
        found = {h.kind: h for h in slowness.of_site(connection, SITE, for_operator=True)}
    assert found.keys() == {"paced", "fewer_connections"}
    assert found["paced"].facts["rate_per_hour"] >= 30
    assert found["fewer_connections"].facts["connections"] == 4
    assert found["paced"].until is None


def test_an_outage_is_told_in_its_own_words(store: Store) -> None:
    [found] = site_after(
        store, Observation(heard=Slice(broken=10), words="ConnectionRefusedError (at connect)")
    )

    assert (found.kind, found.rule) == ("suspended", None)
    assert "ConnectionRefusedError" in found.what
    assert [(ip, site) for ip, site, _ in slowness.everywhere(store)] == [("", SITE)]


def test_a_held_stream_is_told_until_its_hold_ends_and_then_its_rate(store: Store) -> None:
    pace.report(store, {}, {(1, 2, SITE): [match("hold-stream")]}, most_of=lambda site: 8, now=NOW)

    with store.read() as connection:
        [held] = slowness.of_stream(connection, 1, 2, SITE, now=NOW + HOUR)
        [paced] = slowness.of_stream(connection, 1, 2, SITE, now=NOW + 3 * HOUR)
        free = slowness.of_stream(connection, 1, 2, SITE, now=NOW + 48 * HOUR)
        others = slowness.of_stream(connection, 1, 3, SITE, now=NOW + HOUR)
    assert (held.kind, held.until, held.rule) == ("stream_held", NOW + 2 * HOUR, "sites.toml:12")
    assert (paced.kind, paced.facts["rate_per_hour"]) == ("stream_paced", 120.0)
    assert (free, others) == ([], [])
