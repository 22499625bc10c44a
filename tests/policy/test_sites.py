"""Which provider an MX host belongs to, and what the rules refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

import mailer.policy
from mailer.config.load import site_rules
from mailer.policy.sites import SiteRuleError, SiteRules
from mailer.policy.tls import Wish

BIG = """
[provider.big]
mx = ["big.example", "mail.protection.example"]
connections = 5
messages_per_session = 20
source = "https://postmaster.big.example/"

[provider.filter]
mx = ["filter.example"]
connections = 10
one_site = false
source = "assumed"

[provider.consumer]
mx = ["olc.protection.example", "olc.mail.protection.example"]
source = "assumed"
"""
_SHIPPED = Path(mailer.policy.__file__).parent / "data/sites.toml"
RULES = SiteRules.parse({"sites.toml": BIG})


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("big.example", "big"),
        ("mx1.eu.BIG.example.", "big"),
        ("acme-com.mail.protection.example", "big"),
        ("acme.olc.mail.protection.example", "consumer"),
        ("notbig.example", None),
        ("big.example.net", None),
        ("example", None),
        ("", None),
    ],
)
def test_the_longest_end_of_whole_labels_decides(host: str, name: str | None) -> None:
    found = RULES.provider_of(host)

    assert (found.name if found else None) == name


def test_all_domains_of_a_provider_are_one_site() -> None:
    one, other = RULES.site(["a.big.example"]), RULES.site(["b.mail.protection.example", "c.big.example"])

    assert one == other == "provider:big"
    assert (RULES.connections(one, 20), RULES.messages_per_session(one, 1000)) == (5, 20)


def test_a_filter_is_one_site_for_each_mx_set_and_limits_each() -> None:
    eu, us = RULES.site(["eu.filter.example", "eu2.filter.example"]), RULES.site(["us.filter.example"])

    assert (eu, us) == ("mx:eu.filter.example+1", "mx:us.filter.example")
    assert (RULES.connections(eu, 20), RULES.messages_per_session(eu, 1000)) == (10, 1000)


def test_no_rule_allows_more_than_the_operator() -> None:
    assert RULES.connections("provider:big", 2) == 2
    assert RULES.messages_per_session("provider:big", 3) == 3


@pytest.mark.parametrize(
    "site", ["route:mx.big.example:25", "mx:small.example", "domain:big.example", "provider:?"]
)
def test_other_sites_are_not_limited(site: str) -> None:
    assert (RULES.connections(site, 20), RULES.messages_per_session(site, 1000)) == (20, 1000)


def test_limits_over_time_are_by_address_or_for_all_together() -> None:
    rules = SiteRules.parse(
        {
            "own.toml": """
[provider.x]
mx = ["x.example"]
messages_per_hour = 500
messages_per_second = 5
connections_per_minute = 30
source = "s"

[provider.x.together]
messages_per_day = 9000
"""
        }
    )

    rule = rules.rule_of("provider:x")

    assert rule is not None
    assert [str(rate) for rate in rule.rates] == ["5/second", "500/hour"]
    assert str(rule.connects) == "30/minute"
    assert [str(rate) for rate in rule.together] == ["9000/day"]


def test_the_default_is_for_all_sites_that_no_provider_is_known_of() -> None:
    text = '[default]\nconnections = 3\nmessages_per_hour = 100\nsource = "we are new here"\n'
    rules = SiteRules.parse({"sites.toml": BIG, "own.toml": text})

    assert rules.connections("mx:mx1.nobody.example+1", 20) == 3
    assert rules.rule_of("mx:mx1.nobody.example") is rules.default
    assert rules.rule_of("provider:big") is not rules.default
    assert rules.rule_of("route:127.0.0.1:25") is None
    assert rules.default is not None
    assert rules.default.place == "own.toml:1"


def test_a_later_file_replaces_and_takes_away_sections() -> None:
    own = '[provider.big]\nmx = ["big.example"]\nconnections = 50\nsource = "agreed"\n'
    gone = '[provider.filter]\nmx = []\nsource = "not ours"\n'

    rules = SiteRules.parse({"sites.toml": BIG, "own.toml": own + gone})

    big = rules.provider_of("big.example")
    assert big is not None
    assert (big.connections, big.messages_per_session, big.place) == (50, None, "own.toml:1")
    assert rules.provider_of("mail.protection.example") is None
    assert rules.provider_of("eu.filter.example") is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[provider.x]\nmx = [", "own.toml: "),
        ('[site.x]\nmx = ["x.example"]', "there is no section 'site'"),
        ("provider = 3", "provider must be sections"),
        ("provider.x = 3", "provider.x must be a section"),
        ('[provider.x]\nsource = "s"', "own.toml:1: provider.x needs mx"),
        ('[provider.x]\nmx = ["x.example"]\nsource = "a\\u001bc"', "needs source, in one line"),
        ('[provider.x]\nmx = "x.example"\nsource = "s"', "needs mx"),
        ('[provider.x]\nmx = ["x example"]\nsource = "s"', "'x example' in mx must be a host name"),
        ('[provider.x]\nmx = ["com"]\nsource = "s"', "'com' in mx must be a host name"),
        ("[provider.x]\nmx = [7]\nsource = 's'", "7 in mx must be a host name"),
        ('\n\n[provider.x]\nmx = ["x.example"]', "own.toml:3: provider.x needs source"),
        ('[provider.x]\nmx = ["x.example"]\nsource = " "', "needs source"),
        ('[provider.x]\nmx = ["x.example"]\nsource = "s"\nconnections = 0', "connections must be a number"),
        (
            '[provider.x]\nmx = ["x.example"]\nsource = "s"\nconnections = true',
            "connections must be a number",
        ),
        (
            '[provider.x]\nmx = ["x.example"]\nsource = "s"\nmessages_per_session = "9"',
            "messages_per_session must",
        ),
        ('[provider.x]\nmx = ["x.example"]\nsource = "s"\none_site = 1', "one_site must be true or false"),
        ('[provider.x]\nmx = ["x.example"]\nsource = "s"\nconection = 3', "conection is not known"),
        (
            '[provider.x]\nmx = ["x.example"]\nsource = "s"\nmessages_per_hour = 0',
            "messages_per_hour: a limit is",
        ),
        (
            '[provider.x]\nmx = ["x.example"]\nsource = "s"\nmessages_per_week = 5',
            "messages_per_week is not known",
        ),
        ('[provider.x]\nmx = ["x.example"]\nsource = "s"\nconnections_per_minute = "5"', "must be a number"),
        ('[provider.x]\nmx = ["x.example"]\nsource = "s"\ntogether = 5', "together must be a section"),
        (
            '[provider.x]\nmx = ["x.example"]\nsource = "s"\n[provider.x.together]\nconnections = 5',
            "own.toml:1: together.connections is not known",
        ),
        ('[default]\nsource = "s"\nmx = ["x.example"]', "own.toml:1: mx is not known"),
        ("[default]\nconnections = 5", "own.toml:1: default needs source"),
        ('[provider.default]\nsource = "s"\nmx = []', "a provider cannot be called 'default'"),
        (
            '[provider.x]\nmx = ["x.example"]\nsource = "s"\ntls = "always"',
            "tls must be encrypted or required",
        ),
        ("domain = 3", "own.toml: domain must be sections"),
        ("domain.x = 3", "domain.x must be a section"),
        ('[domain."a b"]\ntls = "required"\nsource = "s"', "'a b' must be a domain"),
        ('[domain."a.example"]\nsource = "s"', "domain.a.example needs tls"),
        ('[domain."a.example"]\ntls = "required"', "domain.a.example needs source"),
        ('[domain."a.example"]\ntls = "required"\nsource = "s"\nmx = []', "mx is not known"),
        ('[provider.X_]\nmx = ["x.example"]\nsource = "s"', "'X_' must be a name"),
        (
            '[provider.x]\nmx = ["x.example"]\nsource = "s"\n[provider.y]\nmx = ["X.example."]\nsource = "s"',
            "own.toml:4: x.example belongs to provider.x (own.toml:1)",
        ),
    ],
)
def test_a_fault_is_named_with_its_place(text: str, fault: str) -> None:
    with pytest.raises(SiteRuleError) as caught:
        SiteRules.parse({"own.toml": text})

    assert fault in str(caught.value)


def test_all_faults_are_named_at_once() -> None:
    with pytest.raises(SiteRuleError) as caught:
        SiteRules.parse({"a.toml": "[provider.a]\n", "b.toml": "[provider.b]\nmx = [1]\n"})

    assert [fault.partition(":")[0] for fault in caught.value.faults] == [
        "a.toml",
        "a.toml",
        "b.toml",
        "b.toml",
    ]


def test_the_example_of_the_documents_holds() -> None:
    document = (Path(__file__).parents[2] / "docs/providers.md").read_text()
    example = document.partition("```toml\n")[2].partition("```")[0]

    rules = SiteRules.parse({"sites.toml": _SHIPPED.read_text(), "own.toml": example})

    assert rules.connections(rules.site(["acme-com.mail.protection.outlook.com"]), 20) == 10
    assert rules.connections(rules.site(["mx.customer.example"]), 20) == 1
    assert rules.provider_of("mx1.naver.com") is None


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("gmail-smtp-in.l.google.com", "google"),
        ("aspmx.l.google.com", "google"),
        ("alt1.aspmx.l.googlemail.com", "google"),
        ("outlook-com.olc.protection.outlook.com", "outlook-consumer"),
        ("acme-com.mail.protection.outlook.com", "microsoft-365"),
        ("acme-com.a-v1.mx.microsoft", "microsoft-365"),
        ("mta5.am0.yahoodns.net", "yahoo"),
        ("mx01.mail.icloud.com", "apple"),
        ("mx00.gmx.net", "gmx-webde"),
        ("mx-ha02.web.de", "gmx-webde"),
        ("mx00.t-online.de", "t-online"),
    ],
)
def test_the_shipped_rules_know_the_large_providers(host: str, name: str) -> None:
    found = site_rules(None).provider_of(host)

    assert found is not None
    assert found.name == name


@pytest.mark.parametrize(
    ("domain", "wish"),
    [
        ("bank.example", Wish.REQUIRED),
        ("www.bank.example", Wish.NONE),
        ("a.gov.example", Wish.ENCRYPTED),
        ("b.a.gov.example", Wish.ENCRYPTED),
        ("c.gov.example", Wish.REQUIRED),
        ("gov.example", Wish.NONE),
        ("example", Wish.NONE),
    ],
)
def test_the_closest_rule_for_a_recipient_domain_holds(domain: str, wish: Wish) -> None:
    rules = SiteRules.parse(
        {
            "shipped.toml": '[domain."Bank.example"]\ntls = "required"\nsource = "s"\n'
            '[domain.".gov.example"]\ntls = "required"\nsource = "s"',
            "own.toml": '[domain.".gov.example"]\ntls = "encrypted"\nsource = "s"\n'
            '[domain."c.gov.example"]\ntls = "required"\nsource = "s"',
        }
    )

    assert rules.tls_of(domain) is wish


def test_the_shipped_rules_ask_for_tls_where_providers_have_it() -> None:
    rules = SiteRules.parse({"sites.toml": _SHIPPED.read_text()})
    asked = {provider.name: provider.tls for provider in rules.providers if provider.tls}

    assert asked == {
        "google": "required", "gmx-webde": "required", "kpn": "required", "qq": "required",
        "barracuda": "required", "comcast": "required", "netease": "encrypted",
    }  # fmt: skip
