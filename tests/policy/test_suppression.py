"""Who is suppressed, by what was heard of them and before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mailer.policy.bounceclass import Action, Blame, BounceClass
from mailer.policy.suppression import (
    NOTHING,
    History,
    Memory,
    Reason,
    Remember,
    Review,
    Run,
    Said,
    Scope,
    Share,
    Suppress,
    decide,
    is_role,
    is_storm,
    needs_history,
)

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
UNKNOWN = Said(bounce_class=BounceClass.INVALID_MAILBOX, blame=Blame.RECIPIENT)
FULL = Said(bounce_class=BounceClass.MAILBOX_FULL, blame=Blame.RECIPIENT, action=Action.RETRY)
NO_DOMAIN = Said(bounce_class=BounceClass.INVALID_DOMAIN, blame=Blame.RECIPIENT, is_authoritative=True)
COMPLAINT = Said(bounce_class=BounceClass.COMPLAINT, blame=Blame.RECIPIENT)


def run(count: int, first: timedelta, last: timedelta | None = None) -> Run:
    return Run(count=count, first_at=NOW - first, last_at=NOW - (first if last is None else last))


def test_a_complaint_stops_all_mail_of_the_tenant_at_once() -> None:
    assert decide(COMPLAINT, History(delivered_at=NOW - HOUR), NOW) == Suppress(Reason.COMPLAINT)


def test_an_unsubscription_stops_its_stream_at_once() -> None:
    said = Said(bounce_class=BounceClass.UNSUBSCRIBE, blame=Blame.RECIPIENT)

    assert decide(said, History(), NOW) == Suppress(Reason.UNSUBSCRIBE, Scope.STREAM)


@pytest.mark.parametrize("word", ["invalid-mailbox", "inactive-mailbox", "moved"])
def test_a_hard_bounce_suppresses_at_once_where_nothing_was_delivered_lately(word: str) -> None:
    said = Said(bounce_class=BounceClass(word), blame=Blame.RECIPIENT)

    assert decide(said, History(), NOW) == Suppress(Reason.HARD_BOUNCE)
    assert decide(said, History(delivered_at=NOW - 31 * DAY), NOW) == Suppress(Reason.HARD_BOUNCE)


@pytest.mark.parametrize(
    ("hard", "expected"),
    [
        (None, Remember(Memory.HARD_BOUNCE, restart=True)),
        (run(1, 23 * HOUR), Remember(Memory.HARD_BOUNCE)),
        (run(4, 23 * HOUR, HOUR), Remember(Memory.HARD_BOUNCE)),
        (run(1, 24 * HOUR), Suppress(Reason.HARD_BOUNCE)),
        (run(2, 30 * HOUR, HOUR), Suppress(Reason.HARD_BOUNCE)),
        # It took mail since: that it was refused before says nothing of today.
        (run(1, 11 * DAY), Remember(Memory.HARD_BOUNCE, restart=True)),
    ],
)
def test_an_address_that_took_mail_lately_needs_two_hard_bounces_a_day_apart(
    hard: Run | None, expected: object
) -> None:
    assert decide(UNKNOWN, History(delivered_at=NOW - 10 * DAY, hard=hard), NOW) == expected


@pytest.mark.parametrize("blame", [Blame.SENDER_CONTENT, Blame.OUR_IP, Blame.REMOTE])
@pytest.mark.parametrize("bounce_class", sorted(BounceClass))
def test_only_a_recipients_fault_suppresses(bounce_class: BounceClass, blame: Blame) -> None:
    said = Said(bounce_class=bounce_class, blame=blame, is_authoritative=True, expired_blames=(blame,))
    is_heard_of_people = bounce_class in (BounceClass.COMPLAINT, BounceClass.UNSUBSCRIBE)

    decided = decide(said, History(full=run(20, 20 * DAY, DAY), no_domain=run(3, 2 * DAY, HOUR)), NOW)

    assert isinstance(decided, Suppress) is is_heard_of_people
    assert needs_history(said) is is_heard_of_people


@pytest.mark.parametrize(
    "word",
    [
        "spam-content", "reputation-block", "policy-block", "auth-failure", "content-rejected",
        "message-too-large", "protocol-error", "relay-denied", "recipient-refused", "rate-limited",
        "greylisted", "server-error", "network-error", "auto-reply", "challenge", "undetermined", "delayed",
    ],
)  # fmt: skip
def test_blocks_and_passing_trouble_never_suppress(word: str) -> None:
    said = Said(bounce_class=BounceClass(word), blame=Blame.RECIPIENT)

    assert decide(said, History(), NOW) == NOTHING


def test_an_unknown_mailbox_that_is_to_be_tried_again_is_no_hard_bounce() -> None:
    said = Said(bounce_class=BounceClass.INVALID_MAILBOX, blame=Blame.RECIPIENT, action=Action.RETRY)

    assert decide(said, History(), NOW) == NOTHING


@pytest.mark.parametrize(
    ("full", "expected"),
    [
        (None, Remember(Memory.MAILBOX_FULL, restart=True)),
        (run(3, 20 * DAY, DAY), Remember(Memory.MAILBOX_FULL)),
        (run(9, 13 * DAY, DAY), Remember(Memory.MAILBOX_FULL)),
        (run(4, 14 * DAY, DAY), Suppress(Reason.MAILBOX_FULL)),
        (run(4, 200 * DAY, 91 * DAY), Remember(Memory.MAILBOX_FULL, restart=True)),
    ],
)
def test_a_full_mailbox_suppresses_the_fifth_time_over_two_weeks(full: Run | None, expected: object) -> None:
    assert decide(FULL, History(full=full), NOW) == expected


def test_a_delivery_ends_a_run_of_full_mailboxes() -> None:
    history = History(full=run(4, 20 * DAY, 10 * DAY), delivered_at=NOW - 5 * DAY)

    assert decide(FULL, history, NOW) == Remember(Memory.MAILBOX_FULL, restart=True)


@pytest.mark.parametrize(
    ("blames", "expected"),
    [
        ((Blame.RECIPIENT, Blame.RECIPIENT), Suppress(Reason.EXPIRED)),
        ((Blame.RECIPIENT, Blame.REMOTE), NOTHING),
        ((Blame.OUR_IP, Blame.RECIPIENT), NOTHING),
        ((), NOTHING),
        (None, NOTHING),
    ],
)
def test_who_expired_is_suppressed_if_every_reply_blamed_the_recipient(
    blames: tuple[Blame, ...] | None, expected: object
) -> None:
    said = Said(
        bounce_class=BounceClass.INVALID_MAILBOX,
        blame=Blame.RECIPIENT,
        action=Action.RETRY,
        expired_blames=blames,
    )

    assert decide(said, History(), NOW) == expected


@pytest.mark.parametrize(
    ("earlier", "expected"),
    [
        (None, Remember(Memory.INVALID_DOMAIN, restart=True)),
        (run(5, 23 * HOUR, HOUR), Remember(Memory.INVALID_DOMAIN)),
        (run(1, 24 * HOUR), Suppress(Reason.INVALID_DOMAIN, is_domain=True, lasts=7 * DAY)),
        (run(1, 8 * DAY), Remember(Memory.INVALID_DOMAIN, restart=True)),
    ],
)
def test_a_domain_needs_two_answers_a_day_apart(earlier: Run | None, expected: object) -> None:
    assert decide(NO_DOMAIN, History(no_domain=earlier), NOW) == expected


def test_what_a_peer_says_about_a_domain_is_no_answer_of_its_dns() -> None:
    said = Said(bounce_class=BounceClass.INVALID_DOMAIN, blame=Blame.RECIPIENT)

    assert decide(said, History(no_domain=run(4, 3 * DAY, HOUR)), NOW) == NOTHING


def test_in_a_storm_bounces_wait_for_the_operator_and_complaints_do_not() -> None:
    storm = History(is_storm=True)

    assert decide(UNKNOWN, storm, NOW) == Review(Suppress(Reason.HARD_BOUNCE))
    assert decide(COMPLAINT, storm, NOW) == Suppress(Reason.COMPLAINT)


@pytest.mark.parametrize(
    ("hour", "earlier", "expected"),
    [
        (Share(1000, 101), Share(10_000, 100), True),
        (Share(1000, 100), Share(10_000, 100), False),
        (Share(19, 19), Share(10_000, 100), False),  # too few to tell
        (Share(100, 21), Share(), True),  # not known yet: two in a hundred are usual
        (Share(100, 20), Share(), False),
        (Share(0, 20), Share(), True),  # it took them an hour before, and returns them all
        (Share(30, 40), Share(10_000, 800), True),  # all of them, where one in twelve is usual
        (Share(9000, 20), Share(50_000, 0), True),  # one in fifty thousand, at most
    ],
)
def test_a_storm_is_ten_times_what_is_usual_at_a_site(hour: Share, earlier: Share, expected: bool) -> None:
    assert is_storm(hour, earlier) is expected


@pytest.mark.parametrize("name", ["abuse", "Postmaster", "news-request", "no-reply", "INFO"])
def test_addresses_of_tasks_are_told_from_people(name: str) -> None:
    assert is_role(name)
    assert not is_role(f"x{name}x")
