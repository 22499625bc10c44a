"""What follows each outcome."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mailer.events import WaitReason
from mailer.policy.disposition import (
    MOST_TRIES_OF_5YZ,
    Bounce,
    Defer,
    Delivered,
    Expire,
    Facts,
    InDoubt,
    InDoubtPolicy,
    Requeue,
    decide,
    wait_for_room,
)
from mailer.policy.outcome import Accepted, Broken, NotTried, Outcome, Refused, Unroutable, Unsuitable
from mailer.policy.retry import TRANSACTIONAL, RetrySchedule
from mailer.protocol.enhanced import EnhancedStatus
from mailer.protocol.phase import Phase
from mailer.protocol.reply import Reply

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
FACTS = Facts(schedule=TRANSACTIONAL, attempts=1, first_due_at=NOON, now=NOON, draw=0.0)
LATE = replace(FACTS, now=NOON + timedelta(hours=24))
ABOUT_MAIL = [Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.CONTENT, Phase.END_OF_DATA]
BEFORE_MAIL = [Phase.GREETING, Phase.EHLO, Phase.STARTTLS, Phase.AUTH]


def status(text: str) -> EnhancedStatus:
    return EnhancedStatus.parse(text)


def refused(code: int, text: str = "no", phase: Phase = Phase.RCPT) -> Refused:
    return Refused(Reply(code, (text,)), phase)


def test_an_acceptance_is_a_delivery() -> None:
    reply = Reply(250, ("2.0.0 queued as 4711",))

    assert decide(Accepted(reply), FACTS) == Delivered(reply)


@pytest.mark.parametrize("phase", ABOUT_MAIL)
def test_5yz_about_the_mail_is_final(phase: Phase) -> None:
    """RFC 5321 §4.2.1."""
    followed = decide(refused(550, "5.7.1 not wanted", phase), FACTS)

    assert followed == Bounce(status("5.7.1"), "550 5.7.1 not wanted")


@pytest.mark.parametrize("code", [500, 521, 535, 554])
@pytest.mark.parametrize("phase", BEFORE_MAIL)
def test_5yz_about_the_host_is_not(phase: Phase, code: int) -> None:
    """RFC 5321 §3.1: another host, or the same one tomorrow, may take it."""
    followed = decide(refused(code, "no", phase), FACTS)

    assert isinstance(followed, Defer)
    assert followed.wait is WaitReason.REFUSED


@pytest.mark.parametrize("phase", [*BEFORE_MAIL, *ABOUT_MAIL])
@pytest.mark.parametrize("code", [421, 450, 451, 452])
def test_4yz_is_a_deferral(phase: Phase, code: int) -> None:
    followed = decide(refused(code, "4.2.0 later", phase), FACTS)

    assert followed == Defer(
        NOON + timedelta(minutes=1), WaitReason.REFUSED, status("4.2.0"), f"{code} 4.2.0 later"
    )


@pytest.mark.parametrize("text", ["too many recipients", "5.2.2 mailbox full"])
def test_552_to_rcpt_is_a_deferral(text: str) -> None:
    """RFC 5321 §4.5.3.1.10."""
    assert isinstance(decide(refused(552, text), replace(FACTS, attempts=9)), Defer)
    assert isinstance(decide(refused(552, text, Phase.END_OF_DATA), replace(FACTS, attempts=9)), Bounce)


@pytest.mark.parametrize(
    ("words", "again"),
    [
        ("5.7.1 your IP is on a blocklist", True),
        ("5.7.25 no PTR record", True),
        ("5.3.0 internal system error", True),
        ("5.7.1 too many messages this hour", True),
        ("5.1.1 no such user", False),
        ("5.7.26 fails DMARC", False),
        ("5.7.1 this is spam", False),
        ("5.2.2 mailbox full", False),
        ("not here", False),
    ],
)
def test_a_5yz_that_does_not_blame_the_recipient_is_tried_again_within_bounds(
    words: str, again: bool
) -> None:
    first, last = (decide(refused(550, words), replace(FACTS, attempts=n)) for n in (1, MOST_TRIES_OF_5YZ))

    assert isinstance(first, Defer) is again
    assert isinstance(last, Bounce)


@given(code=st.integers(200, 499), phase=st.sampled_from(Phase))
def test_unknown_means_temporary(code: int, phase: Phase) -> None:
    followed = decide(refused(code, "what?", phase), FACTS)

    assert isinstance(followed, Defer)
    assert followed.status is not None
    assert followed.status.class_ == 4


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (refused(550, "no such user"), "5.1.1"),
        (refused(550, "4.1.1 a slip of the peer"), "5.1.1"),
        (refused(552, "too big", Phase.MAIL), "5.3.4"),
        (refused(556, "no mail here"), "5.1.10"),
        (refused(571, "?"), "5.0.0"),
        (Unroutable("5.1.10", "null MX"), "5.1.10"),
        (Unroutable("5.1.2", "no such domain"), "5.1.2"),
        (Unroutable("5.4.6", "ourselves"), "5.4.6"),
        (Unsuitable("5.3.4", "too big"), "5.3.4"),
        (Unsuitable("5.6.7", "no SMTPUTF8"), "5.6.7"),
    ],
)
def test_a_bounce_bears_the_status_that_says_why(outcome: Outcome, expected: str) -> None:
    followed = decide(outcome, FACTS)

    assert isinstance(followed, Bounce)
    assert followed.status == status(expected)


@pytest.mark.parametrize(
    ("outcome", "wait"),
    [
        (Unroutable("4.4.3", "SERVFAIL"), WaitReason.UNROUTABLE),
        (Broken(Phase.CONNECT, "refused"), WaitReason.BROKEN),
        (Broken(Phase.CONTENT, "reset"), WaitReason.BROKEN),
        (Broken(Phase.STARTTLS, "handshake"), WaitReason.TLS_FAILED),
    ],
)
def test_what_may_pass_waits_under_its_name(outcome: Outcome, wait: WaitReason) -> None:
    followed = decide(outcome, FACTS)

    assert isinstance(followed, Defer)
    assert (followed.wait, followed.at) == (wait, NOON + timedelta(minutes=1))


def test_silence_after_the_dot_is_tried_again_or_given_up_as_the_stream_says() -> None:
    outcome = Broken(Phase.END_OF_DATA, "silence")
    retried = decide(outcome, FACTS)
    given_up = decide(outcome, replace(FACTS, in_doubt_policy=InDoubtPolicy.GIVE_UP))

    assert isinstance(retried, InDoubt)
    assert isinstance(retried.then, Defer)
    assert retried.then.wait is WaitReason.IN_DOUBT
    assert given_up == InDoubt(Expire(NOON, status("4.4.2"), "silence"))


@pytest.mark.parametrize("reason", [WaitReason.RELEASED, WaitReason.NO_PERMIT, WaitReason.WORKER_LOST])
def test_what_was_not_tried_counts_no_attempt(reason: WaitReason) -> None:
    assert decide(NotTried(reason), LATE) == Requeue(reason)


@pytest.mark.parametrize(
    "outcome",
    [refused(451), refused(554, phase=Phase.GREETING), Broken(Phase.MAIL, "x"), Unroutable("4.4.3", "x")],
)
def test_a_deferral_after_the_last_hour_is_the_end(outcome: Outcome) -> None:
    followed = decide(outcome, LATE)

    assert isinstance(followed, Expire)
    assert (followed.expired_at, followed.status) == (NOON + timedelta(hours=24), status("4.4.7"))


def test_doubt_after_the_last_hour_stays_in_doubt() -> None:
    followed = decide(Broken(Phase.END_OF_DATA, "silence"), LATE)

    assert isinstance(followed, InDoubt)
    assert isinstance(followed.then, Expire)


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("lasts", "now", "due"),
    [
        (600, 0, 60),  # by the schedule
        (600, 530, 570),  # the last try: half a minute before the deadline, not at it
        (60, 20, 54),  # little time in all: a tenth of it
    ],
)
def test_the_last_try_falls_before_the_senders_own_deadline(lasts: float, now: float, due: float) -> None:
    followed = decide(refused(451), replace(FACTS, now=after(now), expires_at=after(lasts)))

    assert isinstance(followed, Defer)
    assert followed.at == after(due)


@pytest.mark.parametrize(("lasts", "now"), [(600, 571), (600, 541), (60, 50), (30, 30), (600, 700)])
def test_where_no_try_fits_in_before_the_deadline_its_sender_is_told_at_once(
    lasts: float, now: float
) -> None:
    followed = decide(refused(451, "busy"), replace(FACTS, now=after(now), expires_at=after(lasts)))

    assert isinstance(followed, Expire)
    assert followed.expired_at == after(min(now, lasts))
    assert (followed.status, followed.reason) == (status("4.4.7"), "451 busy")


def test_a_peer_that_wants_mail_after_the_deadline_gets_one_more_try_before_it() -> None:
    followed = decide(refused(451, "try again in 2 hours"), replace(FACTS, expires_at=after(600)))

    assert isinstance(followed, Defer)
    assert followed.at == after(570)


@given(lasts=st.floats(1, 1e6), now=st.floats(0, 1.1e6), attempts=st.integers(1, 20))
def test_a_try_before_a_deadline_always_lies_ahead_of_now(lasts: float, now: float, attempts: int) -> None:
    facts = replace(FACTS, now=after(now), expires_at=after(lasts), attempts=attempts)
    followed = decide(refused(451), facts)

    if isinstance(followed, Defer):
        assert facts.now < followed.at < after(lasts)
    else:
        assert isinstance(followed, Expire)


@pytest.mark.parametrize(
    ("attempts", "wish", "seconds"),
    [
        (1, "try again in 300 seconds", 300),
        (1, "try again in 5 seconds", 30),
        (1, "try again in 999999 hours", 4 * 3600),
        (5, "try again in 1 minute", 15 * 60),  # not below a quarter of the schedule's hour
        (9, "try again in 4 hours", 4 * 3600),
    ],
)
def test_a_wish_to_come_back_later_is_honoured_within_bounds(attempts: int, wish: str, seconds: int) -> None:
    followed = decide(refused(451, wish), replace(FACTS, attempts=attempts))

    assert isinstance(followed, Defer)
    assert followed.at == NOON + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("wish", "seconds"),
    [("try again in 5 seconds", 5), ("try again in 0 seconds", 1), ("retry in 2 min", 120)],
)
def test_a_wish_shorter_than_half_a_minute_is_honoured_by_a_schedule_that_is_shorter_still(
    wish: str, seconds: int
) -> None:
    hasty = RetrySchedule(delays=(timedelta(seconds=1),), give_up_after=timedelta(hours=1), jitter=0.0)
    followed = decide(refused(451, wish), replace(FACTS, schedule=hasty))

    assert isinstance(followed, Defer)
    assert followed.at == NOON + timedelta(seconds=seconds)


def test_a_wish_beyond_the_deadline_is_cut_at_it() -> None:
    nearly = replace(FACTS, now=NOON + timedelta(hours=23))
    followed = decide(refused(451, "try again in 2 hours"), nearly)

    assert isinstance(followed, Defer)
    assert followed.at == NOON + timedelta(hours=24)


@given(
    code=st.integers(400, 499),
    text=st.text(max_size=60),
    attempts=st.integers(1, 50),
    draw=st.floats(0, 1, exclude_max=True),
)
def test_a_retry_lies_ahead_and_before_the_deadline(code: int, text: str, attempts: int, draw: float) -> None:
    facts = replace(FACTS, attempts=attempts, draw=draw, now=NOON + timedelta(hours=1))
    followed = decide(refused(code, text), facts)

    assert isinstance(followed, Defer)
    assert facts.now < followed.at <= NOON + timedelta(hours=24)


def test_a_refusal_that_a_rule_lays_to_our_address_is_tried_again() -> None:
    """Against RFC 5321 §4.2.1: a block list is left again, a bounce is for ever."""
    followed = decide(refused(554, "5.7.1 listed"), replace(FACTS, is_our_fault=True))

    assert isinstance(followed, Defer)
    assert (followed.wait, str(followed.status)) == (WaitReason.REFUSED, "4.7.1")


# ---- none of our IPs may carry it -------------------------------------------------------------------------


def after_noon(**span: float) -> datetime:
    return NOON + timedelta(**span)


def test_mail_without_a_deadline_waits_for_room() -> None:
    followed = wait_for_room(WaitReason.WARMUP, after_noon(hours=12), "full", FACTS)

    assert followed == Defer(after_noon(hours=12), WaitReason.WARMUP, None, "full")


def test_mail_whose_deadline_comes_before_the_room_fails_at_once() -> None:
    facts = replace(FACTS, expires_at=after_noon(hours=2))

    followed = wait_for_room(WaitReason.WARMUP, after_noon(hours=12), "full", facts)

    words = "full, and its sender's deadline comes before there is room"
    assert followed == Expire(NOON, status("4.4.7"), words)


@pytest.mark.parametrize(("seconds", "waits"), [(3600, True), (3569, True), (3571, False), (3600 * 2, False)])
def test_room_must_open_in_time_for_a_last_try(seconds: float, waits: bool) -> None:
    """The deadline is an hour and 30 seconds before the last try's end."""
    facts = replace(FACTS, expires_at=after_noon(seconds=3630 if seconds == 3600 else 3600))

    followed = wait_for_room(WaitReason.WARMUP, after_noon(seconds=seconds), "full", facts)

    assert isinstance(followed, Defer) is waits


@pytest.mark.parametrize("expires_at", [None, after_noon(minutes=10)])
def test_where_nobody_knows_when_it_looks_again_soon(expires_at: datetime | None) -> None:
    facts = replace(FACTS, expires_at=expires_at)

    followed = wait_for_room(WaitReason.NO_EGRESS, None, "no IP", facts)

    assert followed == Defer(after_noon(minutes=1), WaitReason.NO_EGRESS, None, "no IP")


@pytest.mark.parametrize("until", [None, after_noon(days=2)])
def test_time_is_over_for_want_of_an_ip_as_well(until: datetime | None) -> None:
    assert isinstance(wait_for_room(WaitReason.WARMUP, until, "full", LATE), Expire)


@given(
    until=st.none() | st.integers(1, 100_000),
    lasts=st.none() | st.integers(1, 100_000),
)
def test_none_waits_beyond_its_deadline(until: int | None, lasts: int | None) -> None:
    expires_at = None if lasts is None else after_noon(seconds=lasts)
    opens = None if until is None else after_noon(seconds=until)

    followed = wait_for_room(WaitReason.WARMUP, opens, "full", replace(FACTS, expires_at=expires_at))

    if isinstance(followed, Defer):
        assert NOON < followed.at <= min(expires_at or LATE.now, LATE.now)
