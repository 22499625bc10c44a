"""Which rule fits a reply, what the shipped ones make of what providers say, and what is no rule."""

from __future__ import annotations

from pathlib import Path

import pytest

import mailer.policy
from mailer.config.load import site_rules
from mailer.policy.automation import Action, Automation, Rule, Sign, parse_rule, sign_of
from mailer.policy.bounceclass import BounceClass
from mailer.policy.outcome import Accepted, Broken, NotTried, Outcome, Refused
from mailer.policy.sites import SiteRuleError, SiteRules
from mailer.protocol.phase import Phase
from mailer.protocol.reply import Reply

SHIPPED = site_rules(None)
TOO_MUCH = Reply(421, ("4.7.28 too much",))
PROVIDER = '[provider.big]\nmx = ["big.example"]\nsource = "s"\n'


def rule(**values: object) -> Rule:
    made, faults = parse_rule("r", {"action": ["slow"], "source": "s", **values}, "f:1")
    assert made is not None, faults
    return made


@pytest.mark.parametrize(
    ("terms", "fits"),
    [
        ({"text": "too much"}, True),
        ({"text": "TOO +MUCH"}, True),
        ({"text": "enough"}, False),
        ({"code": [421]}, True),
        ({"code": [42]}, True),
        ({"code": [4], "text": "enough"}, False),
        ({"code": [5]}, False),
        ({"status": ["4.7"]}, True),
        ({"status": ["4.7.28"]}, True),
        ({"status": ["4.7.2"]}, False),
        ({"phase": ["rcpt", "mail"]}, True),
        ({"phase": ["end-of-data"]}, False),
        ({"class": ["greylisted", "rate-limited"]}, True),
        ({"class": ["greylisted"]}, False),
    ],
)
def test_all_that_a_rule_names_must_hold(terms: dict[str, object], fits: bool) -> None:
    assert rule(**terms).fits(TOO_MUCH, Phase.RCPT, BounceClass.RATE_LIMITED) is fits


def test_a_providers_rules_are_asked_before_those_for_every_site() -> None:
    text = (
        '[rule.all]\ncode = [4]\naction = ["slow"]\nsource = "s"\n'
        '[rule.own]\nprovider = "big"\ncode = [4]\naction = ["suspend"]\nsource = "s"\n'
    )
    automation = SiteRules.parse({"f": PROVIDER + text}).automation

    names = [getattr(automation.match(p, Reply(450, ("x",)), Phase.RCPT), "name", "-") for p in ("big", None)]
    assert names == ["own", "all"]


def test_an_overlay_replaces_and_takes_away_rules() -> None:
    base = "".join(f'[rule.{n}]\ncode = [4]\naction = ["slow"]\nsource = "s"\n' for n in "ab")
    own = '[rule.a]\ncode = [5]\naction = ["retry"]\nsource = "s"\n[rule.b]\naction = []\nsource = "s"\n'

    rules = SiteRules.parse({"base": base, "own": own}).automation.rules

    assert [(r.name, r.place, r.actions) for r in rules] == [("a", "own:1", frozenset({Action.RETRY}))]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("rule = 3", "rule must be sections [rule.NAME]"),
        ("rule.x = 3", "rule.x must be a section"),
        ('[rule.x]\naction = ["slow"]\nsource = "s"', "own:1: rule.x needs one of text, code, status, phase"),
        ('[rule.x]\ncode = [4]\nsource = "s"', "rule.x needs action"),
        ('[rule.x]\ncode = [4]\naction = ["stop"]\nsource = "s"', "rule.x needs action, a list of: slow"),
        ('[rule.x]\ncode = [4]\naction = ["slow"]', "rule.x needs source"),
        ('[rule.x]\ncode = 4\naction = ["slow"]\nsource = "s"', "code of rule.x must be a list"),
        ('[rule.x]\ncode = [3]\naction = ["slow"]\nsource = "s"', "code of rule.x must be a list"),
        ('[rule.x]\nstatus = ["2.0.0"]\naction = ["slow"]\nsource = "s"', "status of rule.x must be"),
        ('[rule.x]\nphase = ["later"]\naction = ["slow"]\nsource = "s"', "phase of rule.x must be"),
        ('[rule.x]\ntext = "("\naction = ["slow"]\nsource = "s"', "text of rule.x must be a regular"),
        ('[rule.x]\ncode = [4]\naction = ["slow"]\nsource = "s"\nthreshold = 0', "threshold of rule.x"),
        ('[rule.x]\ncode = [4]\naction = ["slow"]\nsource = "s"\nwindow = "soon"', "window of rule.x must"),
        ('[rule.x]\ncode = [4]\naction = ["slow"]\nsource = "s"\nlasts = "8d"', "lasts of rule.x must"),
        ('[rule.x]\ncode = [4]\naction = ["slow"]\nsource = "s"\nprovider = "y"', "there is no provider.y"),
        ('\n[rule.X_]\ncode = [4]\naction = ["slow"]\nsource = "s"', "own:2: 'X_' must be a name"),
        ('[rule.x]\ncode = [4]\naction = ["slow"]\nsource = "s"\ntimes = 3', "times is not known"),
    ],
)
def test_a_fault_is_named_with_its_place(text: str, fault: str) -> None:
    with pytest.raises(SiteRuleError) as caught:
        SiteRules.parse({"own": text})

    assert fault in str(caught.value)


@pytest.mark.parametrize(
    ("provider", "reply", "name"),
    [
        ("google", "421 4.7.28 Our system has detected an unusual rate of mail", "google-rate"),
        ("google", "450 4.2.1 The user is receiving email too quickly", "google-mailbox-rate"),
        ("yahoo", "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred", "yahoo-complaints"),
        ("yahoo", "421 4.7.0 [TS02] Messages temporarily deferred", "yahoo-volume"),
        ("outlook-consumer", "550 5.7.1 part of their network is on our block list", "outlook-blocked"),
        ("microsoft-365", "451 4.7.500 Server busy. Please try again later", "microsoft-365-rate"),
        ("microsoft-365", "550 5.7.606 Access denied, banned sending IP", "microsoft-365-banned"),
        ("orange", "421 4.7.0 Trop de connexions, veuillez verifier", "orange-connections"),
        ("qq", "550 Ip frequency limited", "qq-frequency"),
        (None, "450 4.7.1 Greylisted, too many messages", "greylisted"),
        (None, "421 4.7.0 Too many concurrent SMTP connections", "too-many-connections"),
        (None, "451 4.7.1 Sending rate limit exceeded", "rate-said-with-4yz"),
        (None, "451 4.7.1 Throttled", "rate-said-with-4yz"),
        (None, "554 5.7.1 blocked using zen.spamhaus.org", "our-address-listed"),
        (None, "452 4.2.2 The mailbox is full", "mailbox-status"),
        (None, "452 Mailbox quota exceeded", "about-a-mailbox"),
        (None, "450 The user you write to is receiving mail too quickly", "about-a-mailbox"),
        (None, "452 4.5.3 Too many recipients", None),
        (None, "421 4.7.0 Your IP has exceeded its quota for sending", "rate-said-with-4yz"),
        (None, "550 5.1.1 No such user", None),
        (None, "421 4.3.2 Shutting down", None),
    ],
)  # fmt: skip
def test_what_the_shipped_rules_make_of_replies(provider: str | None, reply: str, name: str | None) -> None:
    code, _, text = reply.partition(" ")

    found = SHIPPED.automation.match(provider, Reply(int(code), (text,)), Phase.RCPT)

    assert (found.name if found else None) == name


def test_every_shipped_rule_says_where_it_stands_and_was_read() -> None:
    rules = SHIPPED.automation.rules

    assert len(rules) > 30
    assert all(r.place.startswith("automation.toml:") and r.source for r in rules)
    assert len({r.place for r in rules}) == len(rules)


@pytest.mark.parametrize(
    ("outcome", "sign"),
    [
        (Accepted(Reply(250, ("ok",))), Sign.ACCEPTED),
        (Refused(Reply(550, ("5.1.1 no",)), Phase.RCPT), Sign.ANSWERED),
        (Refused(Reply(421, ("4.3.2 later",)), Phase.MAIL), Sign.BROKEN),
        (Refused(Reply(554, ("go away",)), Phase.GREETING), Sign.BROKEN),
        (Refused(Reply(535, ("5.7.8 no",)), Phase.AUTH), Sign.ANSWERED),
        (Broken(Phase.CONNECT, "timeout"), Sign.BROKEN),
        (Broken(Phase.END_OF_DATA, "reset"), Sign.ANSWERED),
        (NotTried("released"), Sign.NOTHING),
    ],
)
def test_what_an_outcome_says_of_the_site(outcome: Outcome, sign: Sign) -> None:
    assert sign_of(outcome) is sign


def test_without_rules_nothing_fits() -> None:
    assert Automation().match("google", Reply(421, ("x",)), Phase.MAIL) is None


def test_the_rules_of_the_document_hold() -> None:
    document = (Path(__file__).parents[2] / "docs/providers.md").read_text()
    examples = [block.partition("```")[0] for block in document.split("```toml\n")[1:]]
    shipped = Path(mailer.policy.__file__).parent / "data"
    files = {name: (shipped / name).read_text() for name in ("sites.toml", "automation.toml")}

    own = SiteRules.parse(files | {"own": "".join(examples)})

    found = own.automation.match("our-customer", Reply(451, ("4.0.0 come back later",)), Phase.RCPT)
    assert found is not None
    assert (found.name, found.threshold) == ("customer-busy", 3)
    assert own.automation.named("google-unsolicited") is None
