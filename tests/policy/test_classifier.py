"""What refusals mean, by the shipped rules and what may count as hard."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.policy.bounceclass import Action, Blame, BounceClass, Group
from mailer.policy.classifier import Judgement, Said, shipped
from mailer.policy.outcome import Accepted, Broken, NotTried, Outcome, Refused, Unroutable, Unsuitable
from mailer.policy.sites import SiteRules
from mailer.protocol.enhanced import EnhancedStatus
from mailer.protocol.phase import Phase
from mailer.protocol.reply import Reply


def judged(text: str, provider: str | None = None, phase: Phase | None = None) -> Judgement:
    return shipped().classify(Said(text, provider=provider, phase=phase))


def meant(text: str, provider: str | None = None) -> str:
    return judged(text, provider).bounce_class


# ---- a provider's own meaning of a code -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "google", "iana"),
    [
        ("7.27", "auth-failure", "policy-block"),  # SPF, and a sender with null MX (RFC 7505)
        ("7.29", "policy-block", "auth-failure"),  # TLS, and ARC (RFC 8617)
        ("7.30", "auth-failure", "policy-block"),  # DKIM, and REQUIRETLS (RFC 8689)
    ],
)
def test_googles_own_meaning_of_a_code_precedes_ianas(status: str, google: str, iana: str) -> None:
    assert [meant(f"550 5.{status}", "google"), meant(f"421 4.{status} no - gsmtp")] == [google] * 2
    assert [meant(f"550 5.{status}"), meant(f"550 5.{status}", "seznam")] == [iana] * 2


@pytest.mark.parametrize(
    ("line", "provider", "expected"),
    [
        ("550 5.1.10 RESOLVER.ADR.RecipientNotFound", "microsoft-365", "invalid-mailbox"),
        ("556 5.1.10", None, "invalid-domain"),
        ("550 Unknown user b@example.jp", "docomo", "recipient-refused"),
        ("550 Unknown user b@example.jp", None, "invalid-mailbox"),
        ("451 Internal resource is temporarily unavailable", "mimecast", "greylisted"),
        ("451 Internal resource is temporarily unavailable", None, "server-error"),
        ("550 Mailbox unavailable or access denied", "qq", "rate-limited"),
        ("550 5.2.1 Mailbox not available", "interia", "recipient-refused"),
        ("421 Reject due to policy violations", "gmx-webde", "reputation-block"),
        ("550 Invalid Domain", "libero", "policy-block"),
    ],
)
def test_whose_words_they_are_decides_what_they_mean(line: str, provider: str | None, expected: str) -> None:
    assert meant(line, provider) == expected


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("550 5.1.10 no [AB1.prod.protection.outlook.com]", "bounces/microsoft.toml"),
        ("550 5.7.27 SPF - gsmtp", "bounces/google.toml"),
        ("450 DT:SPM,please try again", "bounces/netease.toml"),
        ("550 5.2.0 Mail rejete. Mail rejected. OFR_506 [506]", "bounces/orange.toml"),
        ("450 4.7.1 Service refused SFR_IN_101", "bounces/sfr.toml"),
        ("421 4.7.0 [TSS04] Messages; see https://postmaster.yahooinc.com/error-codes", "bounces/yahoo.toml"),
    ],
)
def test_a_provider_is_known_by_its_words(line: str, place: str) -> None:
    assert judged(line).place.startswith(f"{place}:")


# ---- what may count as hard -------------------------------------------------------------------------------

UNKNOWN = (
    "User unknown",
    "No such user here",
    "Mailbox does not exist",
    "Recipient not found",
    "Invalid recipient",
)
OTHER = (
    "your IP has a poor reputation", "blocked using dnsbl.example.net", "rejected by policy",
    "SPF check failed", "DMARC policy of the domain", "DKIM signature is bad", "too many messages this hour",
    "rate limit exceeded", "unsolicited mail", "your domain is blacklisted", "sender is not authenticated",
    "message looks like spam", "your country is blocked", "reverse DNS lookup failed for your host",
)  # fmt: skip


@pytest.mark.parametrize(("unknown", "other"), [*itertools.product(UNKNOWN, OTHER)])
def test_words_of_another_matter_keep_an_unknown_user_from_being_hard(unknown: str, other: str) -> None:
    """A large provider once answered 550 5.1.1 to live users, for policy."""
    lines = (f"550 5.1.1 {unknown}: {other}", f"550 5.1.1 {other}. {unknown}.", f"550 5.1.1 {other}")

    assert [line for line in lines if judged(line).bounce_class.group is Group.HARD] == []


@pytest.mark.parametrize("unknown", UNKNOWN)
def test_a_block_is_hard_where_its_words_say_that_the_user_is_unknown(unknown: str) -> None:
    assert meant(f"550 5.7.1 <b@example.net>: {unknown}") == "invalid-mailbox"
    assert meant("550 5.7.1 <b@example.net>: refused") == "policy-block"


@pytest.mark.parametrize(
    "line",
    [
        "550 Sender address rejected: User unknown",
        "550 Your account is disabled",
        "550 host name is unknown",
        "550 message rejected: your domain does not exist",
        "550 5.1.1 unknown IP address",
        "550 user lookup: directory server error, unknown",
        "550 mailbox temporarily disabled",
        "554 5.5.1 Error: no valid recipients",
        "550 Message does not have a valid Subject",
        "550 5.1.8 Domain of sender address a@b.example does not exist",
        "550 5.4.1 Recipient address rejected: Access denied",
        "554 5.7.1 <b@example.net>: Recipient address rejected: see our page",
        "550 <unknown.user@example.net>: no",
        "550 relay for <no-such-user@example.net> denied",
        "550",
        "",
    ],
)
def test_what_does_not_say_that_the_recipient_is_not_there_is_not_hard(line: str) -> None:
    assert judged(line).bounce_class.group is not Group.HARD


@pytest.mark.parametrize(
    "words", [*UNKNOWN, "Host unknown", "Account disabled", "5.1.1 no", "5.1.2 no", "5.1.6 no"]
)
@pytest.mark.parametrize("phase", [Phase.GREETING, Phase.EHLO, Phase.MAIL])
def test_before_a_recipient_was_named_nothing_is_hard(words: str, phase: Phase) -> None:
    """RFC 5321 §3.3."""
    assert judged(f"550 {words}", phase=phase).bounce_class.group is not Group.HARD
    assert judged(f"550 {words}", phase=Phase.RCPT).bounce_class.group is Group.HARD
    assert judged(f"550 {words} (in reply to MAIL FROM command)").bounce_class.group is not Group.HARD


def test_only_a_blame_on_the_recipient_goes_with_a_hard_class() -> None:
    hard = [rule.judgement for rule in shipped().rules if rule.judgement.bounce_class.group is Group.HARD]

    assert {judgement.blame for judgement in hard} == {Blame.RECIPIENT}


# ---- the form of a line -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "550 5.1.1 User unknown",
        "550-5.1.1 USER\n550 5.1.1 unknown!",
        "550 5.1.1 <b@example.net>... user  unknown (in reply to RCPT TO command)",
        "host mx.example.net[192.0.2.1] said: 550 5.1.1 user unknown",
        "host mx.example.net[192.0.2.1] said: 550 user unknown (in  reply to end of data COMMAND)",
        "SMTP error from remote mail server after RCPT TO:<b@example.net>: host mx [::1]: 550 User unknown",
        "192.0.2.1 does not like recipient. Remote host said: 550 user unknown Giving up on 192.0.2.1.",
        "smtp; 550-5.1.1 user unknown",
        "user unknown (#5.1.1)",
        "550 Benutzer unbekannt",
        "550 Usuario desconocido",
        "550 destinataire inconnu",
    ],
)
def test_case_punctuation_lines_and_language_do_not_matter(line: str) -> None:
    assert meant(line) == "invalid-mailbox"


@pytest.mark.parametrize(("line", "code"), [("450 4.2.0 Greylisted", 450), ("550 Greylisted for ever", 550)])
def test_greylisting_is_a_4yz(line: str, code: int) -> None:
    """RFC 6647 §2."""
    assert (meant(line) == "greylisted") is (code < 500)


def test_what_is_known_beside_the_text_is_believed() -> None:
    said = Said("sorry", code=550, status=EnhancedStatus(5, 2, 2), phase=Phase.RCPT)

    assert shipped().classify(said).bounce_class is BounceClass.MAILBOX_FULL
    assert shipped().classify(said).status == EnhancedStatus(5, 2, 2)


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("550 5.1.1 no", "5.1.1"),
        ("550 no such user (#5.1.1)", "5.1.1"),
        ("554 4.4.7 message expired", "4.4.7"),
        ("550 Postfix 2.1.5 says no", None),
        ("550 version 2.1.5 says 5.7.1", "5.7.1"),
        ("421 from 4.7.1.22, 4.16.50 and 5.1", None),
        ("250 2.1.5 ok", "2.1.5"),
    ],
)
def test_the_status_is_found_where_it_stands(line: str, status: str | None) -> None:
    found = judged(line).status

    assert (None if found is None else str(found)) == status


@pytest.mark.parametrize(
    ("line", "action"),
    [
        ("450 4.1.1 No such user yet", Action.RETRY),
        ("550 5.1.1 No such user", Action.FAIL),
        ("554 5.7.1 Your IP is on a blocklist", Action.RETRY_ELSEWHERE),
        ("421 4.7.0 Too many messages", Action.SLOW_DOWN),
        ("553 5.7.2 [TSS09] All messages from 192.0.2.1 will be permanently deferred", Action.SUSPEND),
        ("499 something else", Action.RETRY),
        ("550 something else", Action.FAIL),
    ],
)
def test_what_is_to_be_done(line: str, action: Action) -> None:
    """RFC 5321 §4.2.1: a 4yz is never the end."""
    assert judged(line, "yahoo").action is action


@given(
    text=st.text(max_size=300), code=st.none() | st.integers(0, 999), phase=st.none() | st.sampled_from(Phase)
)
def test_nothing_that_is_said_raises(text: str, code: int | None, phase: Phase | None) -> None:
    found = shipped().classify(Said(text, code=code, phase=phase, provider="google"))

    assert found.bounce_class in BounceClass
    assert found == shipped().classify(Said(text, code=code, phase=phase, provider="google"))


def test_a_long_line_takes_no_longer_than_its_beginning() -> None:
    assert meant("550 5.1.1 User unknown " + "x" * 10_000_000) == "invalid-mailbox"


# ---- without a reply --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Accepted(Reply(250, ("ok",))), None),
        (NotTried("held"), None),
        (Broken(Phase.DATA, "lost"), ("network-error", "retry", "remote")),
        (Unroutable("5.1.10", "null MX"), ("invalid-domain", "fail", "recipient")),
        (Unroutable("4.4.3", "SERVFAIL"), ("network-error", "retry", "remote")),
        (Unsuitable("5.3.4", "too large"), ("message-too-large", "fail", "sender-content")),
        (Refused(Reply(550, ("5.1.1 no such user",)), Phase.RCPT), ("invalid-mailbox", "fail", "recipient")),
    ],
)
def test_every_outcome_but_a_delivery_has_a_meaning(
    outcome: Outcome, expected: tuple[str, str, str] | None
) -> None:
    found = SiteRules().judge(outcome, "mx:mx.example.net")

    assert (None if found is None else (found.bounce_class, found.action, found.blame)) == expected


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("550 The user isn't known here", "550 The user is not known here"),
        ("550 user doesn\u2019t exist", "550 user does not exist"),
        ("550 mail box can not be found", "550 mailbox cannot be found"),
        ("553 5.1.2 <a@b.example> isn't a valid RFC-5321 address",
        "553 5.1.2 <a@b.example> is not a valid RFC-5321 address"),
        ("554 your IP is on a black-list", "554 your IP is on a blacklist"),
        ("550 we don't relay for you", "550 we do not relay for you"),
        ("451 gray-listed", "451 graylisted"),
        ("550 non-existent user", "550 nonexistent user"),
        ("550 recipient not recognised", "550 recipient not recognized"),
    ],
)  # fmt: skip
def test_a_line_means_the_same_in_either_spelling(one: str, other: str) -> None:
    first, second = (shipped().classify(Said(line)) for line in (one, other))

    assert first == second
    assert first.rule
    assert not first.rule.startswith("code-")


@pytest.mark.parametrize(
    "advice",
    [
        "Please contact your administrator for assistance.",
        "For more information see https://help.northwind.example/e/42",
        "Please direct questions to postmaster@northwind.example.",
        "Please check the recipient's address for typing errors.",
        "Contact the postmaster of the recipient's domain by other means.",
    ],
)
@pytest.mark.parametrize(
    ("line", "bounce_class"),
    [
        ("550 5.1.1 User unknown.", "invalid-mailbox"),
        ("552 5.2.2 Mailbox full.", "mailbox-full"),
        ("550 Your region is blocked.", "policy-block"),
        ("550 5.2.1 This account is disabled.", "inactive-mailbox"),
        ("554 5.7.1 Message rejected as spam.", "spam-content"),
    ],
)
def test_advice_does_not_change_what_is_said(line: str, bounce_class: str, advice: str) -> None:
    assert (meant(line), meant(f"{line} {advice}")) == (bounce_class, bounce_class)


@pytest.mark.parametrize(
    "line",
    [
        "550 Your region is blocked. Write to postmaster@northwind.example",
        "550 Access is blocked: abuse@northwind.example",
        "550 5.7.1 Delivery has been blocked. Please mail abuse@northwind.example",
        "550 License has expired, recipient a@northwind.example",
        "550 5.7.1 Unknown error. Mail postmaster@northwind.example",
    ],
)
def test_whom_to_write_to_is_not_whose_mailbox_is_shut(line: str) -> None:
    assert judged(line).bounce_class.group is not Group.HARD
