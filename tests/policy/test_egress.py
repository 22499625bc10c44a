"""Which IP an attempt leaves from, and when the next one may leave from another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.events import WaitReason
from mailer.policy.bounceclass import Blame, BounceClass
from mailer.policy.classifier import shipped
from mailer.policy.egress import (
    BROADCAST,
    DRAINING,
    OFF,
    TRANSACTIONAL,
    Candidate,
    Egress,
    NoRoom,
    Room,
    Stay,
    Wish,
    choose,
    stay_after,
)
from mailer.policy.outcome import Broken, Outcome, Refused
from mailer.policy.sites import SiteRules
from mailer.protocol.phase import Phase
from mailer.protocol.reply import Reply

MIDNIGHT = datetime(2026, 11, 25, tzinfo=UTC)
FULL = Room(free=0, until=MIDNIGHT)
SUSPENDED = Room(suspended_until=MIDNIGHT)
BUSY = Room(is_busy=True)
ACME, GLOBEX = 1, 2
WISH = Wish(tenant_id=ACME, stream_kind=TRANSACTIONAL)


def egress(number: int) -> Egress:
    return Egress(id=number, helo=f"out{number}.example", ipv4=f"203.0.113.{number}")


def member(number: int, **more: object) -> Candidate:
    return Candidate(egress=egress(number), pool="main", **more)  # type: ignore[arg-type]


def overflow(number: int, **more: object) -> Candidate:
    return Candidate(egress=egress(number), pool="spare", is_overflow=True, **more)  # type: ignore[arg-type]


def chosen(
    *candidates: Candidate, rooms: Mapping[int, Room] | None = None, wish: Wish = WISH, draw: float = 0.0
) -> int | NoRoom:
    found = choose(wish, candidates, rooms or {}, draw, pool="main")
    return found.id if isinstance(found, Egress) else found


def test_members_are_drawn_by_weight() -> None:
    members = member(1, weight=1), member(2, weight=3)

    drawn = Counter(chosen(*members, draw=n / 100) for n in range(100))

    assert drawn == {1: 25, 2: 75}


def test_a_full_ip_leaves_the_draw_and_its_mail_goes_by_the_others() -> None:
    drawn = {chosen(member(1), member(2), rooms={1: FULL}, draw=n / 10) for n in range(10)}

    assert drawn == {2}


def test_the_reserve_of_a_pool_takes_only_what_the_others_cannot() -> None:
    pool = member(1), member(2, weight=0)

    assert chosen(*pool, draw=0.99) == 1
    assert chosen(*pool, rooms={1: FULL}) == 2


def test_a_busy_ip_leaves_its_part_to_the_others_of_its_rank_and_not_to_reserve_or_overflow() -> None:
    pool = member(1), member(2), member(3, weight=0), overflow(4)

    assert {chosen(*pool, rooms={1: BUSY}, draw=n / 10) for n in range(10)} == {2}
    found = chosen(*pool, rooms={1: BUSY, 2: BUSY})
    assert isinstance(found, NoRoom)
    assert (found.reason, found.until) == (WaitReason.LIMITED, None)
    assert chosen(*pool, rooms={1: FULL, 2: SUSPENDED}) == 3


def test_what_must_stay_on_its_ip_waits_while_that_is_busy() -> None:
    wish = Wish(tenant_id=ACME, stream_kind=TRANSACTIONAL, stay=Stay(1, is_pinned=True, is_changed=False))

    found = chosen(member(1), member(2), rooms={1: BUSY}, wish=wish)

    assert isinstance(found, NoRoom)
    assert found.reason is WaitReason.LIMITED


def test_what_must_leave_from_another_ip_waits_while_the_others_are_busy() -> None:
    wish = Wish(tenant_id=ACME, stream_kind=TRANSACTIONAL, stay=Stay(1, is_pinned=False, is_changed=True))

    found = chosen(member(1), member(2), rooms={2: BUSY}, wish=wish)

    assert isinstance(found, NoRoom)
    assert found.reason is WaitReason.LIMITED


def test_volume_goes_to_the_overflow_pool_last() -> None:
    pool = member(1), member(2, weight=0), overflow(3)

    assert chosen(*pool, draw=0.99) == 1
    assert chosen(*pool, rooms={1: FULL}) == 2
    assert chosen(*pool, rooms={1: FULL, 2: FULL}) == 3


def test_trouble_does_not_overflow() -> None:
    """Where every IP is suspended for what a provider said of us, its mail spoils no other pool."""
    found = chosen(member(1), overflow(2), rooms={1: SUSPENDED})

    assert isinstance(found, NoRoom)
    assert (found.reason, found.until) == (WaitReason.SUSPENDED, MIDNIGHT)


def test_a_stream_in_trouble_does_not_overflow_for_volume_either() -> None:
    wish = Wish(tenant_id=ACME, stream_kind=TRANSACTIONAL, may_overflow=False)

    found = chosen(member(1), overflow(2), rooms={1: FULL}, wish=wish)

    assert isinstance(found, NoRoom)
    assert found.reason is WaitReason.WARMUP


def test_what_finds_no_room_waits_until_the_day_ends_and_says_for_what() -> None:
    found = chosen(member(1), overflow(2), rooms={1: FULL, 2: FULL})

    assert isinstance(found, NoRoom)
    assert (found.reason, found.until) == (WaitReason.WARMUP, MIDNIGHT)
    assert "203.0.113.1" in found.words


def test_a_dead_hosts_ips_strand_no_mail() -> None:
    assert chosen(member(1, is_here=False), overflow(2)) == 2
    found = chosen(member(1, is_here=False), member(2, state=OFF))
    assert isinstance(found, NoRoom)
    assert (found.reason, found.until) == (WaitReason.NO_EGRESS, None)


def test_never_into_another_tenants_dedicated_pool() -> None:
    found = chosen(member(1), overflow(2, owner=GLOBEX), rooms={1: FULL})

    assert isinstance(found, NoRoom)
    assert chosen(member(1), overflow(2, owner=ACME), rooms={1: FULL}) == 2


def test_never_from_broadcast_into_a_transactional_pool() -> None:
    news = Wish(tenant_id=ACME, stream_kind=BROADCAST)
    own = member(1, kind=BROADCAST)

    found = chosen(own, overflow(2, kind=TRANSACTIONAL), rooms={1: FULL}, wish=news)

    assert isinstance(found, NoRoom)
    assert chosen(own, overflow(2, kind=BROADCAST), rooms={1: FULL}, wish=news) == 2


@pytest.mark.parametrize(
    ("state", "room", "expected"),
    [
        ("active", Room(), 1),
        (DRAINING, Room(), 1),  # what must stay on it still leaves from it
        (OFF, Room(), 2),
        ("active", SUSPENDED, 2),
    ],
)
def test_a_greylisted_recipient_stays_on_its_ip_until_that_is_suspended(
    state: str, room: Room, expected: int
) -> None:
    wish = Wish(tenant_id=ACME, stream_kind=TRANSACTIONAL, stay=Stay(1, is_pinned=True, is_changed=False))

    assert chosen(member(1, state=state), member(2), rooms={1: room}, wish=wish, draw=0.99) == expected


PINNED = Wish(tenant_id=ACME, stream_kind=TRANSACTIONAL, stay=Stay(1, is_pinned=True, is_changed=False))


def test_a_greylisted_recipient_does_not_wait_for_midnight_while_another_ip_has_room() -> None:
    """The greylist begins anew there, which takes minutes."""
    assert chosen(member(1), member(2), rooms={1: FULL}, wish=PINNED) == 2
    assert chosen(member(1), overflow(2), rooms={1: FULL}, wish=PINNED) == 2

    found = chosen(member(1), member(2), rooms={1: FULL, 2: FULL}, wish=PINNED)

    assert isinstance(found, NoRoom)
    assert (found.reason, found.until) == (WaitReason.WARMUP, MIDNIGHT)


def test_what_was_refused_of_a_stream_in_trouble_stays_where_it_was_heard() -> None:
    found = chosen(member(1), member(2), rooms={1: FULL}, wish=replace(PINNED, may_overflow=False))

    assert isinstance(found, NoRoom)
    assert found.reason is WaitReason.WARMUP


# ---- mail with a deadline ---------------------------------------------------------------------------------


def urgent(expires_at: datetime, **more: object) -> Wish:
    return replace(WISH, expires_at=expires_at, **more)  # type: ignore[arg-type]


NOON = MIDNIGHT - timedelta(hours=12)
ONE_O_CLOCK = NOON + timedelta(hours=1)


def test_mail_with_a_deadline_overflows_before_it_waits() -> None:
    rooms = {1: FULL, 2: SUSPENDED}

    assert chosen(member(1), member(2), overflow(3), rooms=rooms, wish=urgent(ONE_O_CLOCK)) == 3


@pytest.mark.parametrize(
    "behind",
    [
        overflow(3, owner=GLOBEX),
        overflow(3, kind=TRANSACTIONAL),
        overflow(3, kind=BROADCAST, state=OFF),
    ],
)
def test_a_deadline_opens_no_pool_that_is_closed_to_it(behind: Candidate) -> None:
    wish = urgent(ONE_O_CLOCK, stream_kind=BROADCAST)

    found = chosen(member(1, kind=BROADCAST), behind, rooms={1: FULL}, wish=wish)

    assert isinstance(found, NoRoom)
    assert found.until == MIDNIGHT


@pytest.mark.parametrize("rooms", [{1: SUSPENDED}, {1: FULL}])
def test_trouble_does_not_overflow_for_a_deadline_either(rooms: Mapping[int, Room]) -> None:
    wish = urgent(ONE_O_CLOCK, may_overflow=rooms == {1: SUSPENDED})

    assert isinstance(chosen(member(1), overflow(2), rooms=rooms, wish=wish), NoRoom)


@pytest.mark.parametrize("number", [2, 3])
def test_what_opens_before_the_deadline_is_waited_for(number: int) -> None:
    """Another IP of the pool, or one of its overflow pool, that its site may want again at one."""
    soon = Room(suspended_until=ONE_O_CLOCK)
    rooms = {1: FULL, 2: FULL, 3: FULL, number: soon}
    pool = member(1), member(2), overflow(3)

    hurried = chosen(*pool, rooms=rooms, wish=urgent(ONE_O_CLOCK + timedelta(hours=1)))
    patient = chosen(*pool, rooms=rooms, wish=urgent(MIDNIGHT + timedelta(hours=1)))

    assert isinstance(hurried, NoRoom)
    assert isinstance(patient, NoRoom)
    assert (hurried.until, patient.until) == (ONE_O_CLOCK, MIDNIGHT)


# ---- a stream in trouble ----------------------------------------------------------------------------------


def ill(stream_id: int = 0) -> Wish:
    return Wish(tenant_id=ACME, stream_id=stream_id, stream_kind=TRANSACTIONAL, may_overflow=False)


def test_a_stream_in_trouble_leaves_from_one_ip_of_its_pool_alone() -> None:
    pool = member(1), member(2), member(3, weight=5)
    rooms = {n: Room(free=100, until=MIDNIGHT) for n in (1, 2, 3)}

    for stream in range(6):
        assert len({chosen(*pool, rooms=rooms, wish=ill(stream), draw=n / 10) for n in range(10)}) == 1
    assert len({chosen(*pool, rooms=rooms, wish=ill(stream)) for stream in range(6)}) == 3


def test_it_waits_when_that_one_is_full_and_takes_no_other() -> None:
    pool = member(1), member(2)
    rooms = {n: Room(free=100, until=MIDNIGHT) for n in (1, 2)}
    own = chosen(*pool, rooms=rooms, wish=ill())
    assert isinstance(own, int)

    found = chosen(*pool, rooms={**rooms, own: FULL}, wish=ill())

    assert isinstance(found, NoRoom)
    assert (found.reason, found.until) == (WaitReason.WARMUP, MIDNIGHT)


def test_a_warm_ip_bears_trouble_better_than_a_new_one() -> None:
    rooms = {1: Room(free=100), 2: Room(free=100)}

    found = {chosen(member(1), member(2), member(3), rooms=rooms, wish=ill(s)) for s in range(6)}

    assert found == {3}


def test_a_draining_ip_takes_nothing_new() -> None:
    assert {chosen(member(1, state=DRAINING), member(2), draw=n / 10) for n in range(10)} == {2}


def test_after_blame_on_our_ip_another_one_is_taken_if_there_is_one() -> None:
    wish = Wish(tenant_id=ACME, stream_kind=TRANSACTIONAL, stay=Stay(1, is_pinned=False, is_changed=True))

    assert {chosen(member(1), member(2), wish=wish, draw=n / 10) for n in range(10)} == {2}
    assert chosen(member(1), wish=wish) == 1


@given(
    rooms=st.dictionaries(st.integers(1, 4), st.sampled_from([Room(), Room(free=1), FULL, SUSPENDED])),
    kind=st.sampled_from([TRANSACTIONAL, BROADCAST]),
    draw=st.floats(0, 1, exclude_max=True),
)
def test_no_mail_waits_for_volume_while_an_ip_it_may_use_has_room(
    rooms: dict[int, Room], kind: str, draw: float
) -> None:
    pool = (member(1, kind=BROADCAST), member(2, kind=BROADCAST, weight=0), overflow(3, kind=BROADCAST),
            overflow(4, kind=BROADCAST, owner=GLOBEX))  # fmt: skip

    found = chosen(*pool, rooms=rooms, wish=Wish(tenant_id=ACME, stream_kind=kind), draw=draw)

    open_ones = [n for n in (1, 2, 3) if (r := rooms.get(n, Room())).suspended_until is None and r.free != 0]
    waits_for_volume = isinstance(found, NoRoom) and found.reason is WaitReason.WARMUP
    assert not (waits_for_volume and open_ones)
    assert isinstance(found, NoRoom) or found in open_ones


# ---- whose fault it is ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "text", "blame"),
    [
        (450, "4.2.0 <b@example.net>: Recipient address rejected: Greylisted", Blame.REMOTE),
        (451, "4.7.1 Greylisting in action, please come back later", Blame.REMOTE),
        (421, "4.7.0 [203.0.113.1] unusual rate of mail originating from your IP address", Blame.OUR_IP),
        (421, "4.7.28 Unusual rate of unsolicited mail originating from your IP address", Blame.OUR_IP),
        (421, "4.7.28 Unusual rate of unsolicited mail from your SPF domain", Blame.SENDER_CONTENT),
        (450, "4.7.28 Mail flood detected", Blame.SENDER_CONTENT),
        (550, "5.7.1 Service unavailable; client host [203.0.113.1] blocked using Spamhaus", Blame.OUR_IP),
        (550, "5.7.25 reverse DNS validation failed", Blame.OUR_IP),
        (421, "4.7.0 [TSS04] Messages from 203.0.113.1 temporarily deferred", Blame.OUR_IP),
        (451, "4.7.650 The mail server has been temporarily rate limited due to IP reputation", Blame.OUR_IP),
        (550, "5.7.26 This mail is unauthenticated", Blame.SENDER_CONTENT),
        (550, "5.7.23 SPF validation failed", Blame.SENDER_CONTENT),
        (550, "5.7.1 very low reputation of the sending domain", Blame.SENDER_CONTENT),
        (554, "5.7.1 Message rejected: spam score too high", Blame.SENDER_CONTENT),
        (550, "5.7.1 A URL in this message is listed by SURBL", Blame.SENDER_CONTENT),
        (550, "5.1.1 no such user", Blame.RECIPIENT),
        (452, "4.2.2 mailbox full", Blame.RECIPIENT),
        (421, "4.3.2 shutting down", Blame.REMOTE),
    ],
)
def test_whom_a_refusal_blames(code: int, text: str, blame: Blame) -> None:
    judged = shipped().of_reply(Reply(code, (text,)), Phase.RCPT)

    assert judged.blame is blame
    assert (judged.bounce_class is BounceClass.GREYLISTED) is ("greylist" in text.lower())


def refused(text: str, code: int = 451) -> Refused:
    return Refused(Reply(code, (text,)), Phase.RCPT)


@pytest.mark.parametrize(
    ("outcome", "before", "after"),
    [
        (refused("4.7.1 greylisted"), None, Stay(1, is_pinned=True, is_changed=False)),
        (refused("4.7.1 your IP is blocked"), None, Stay(1, is_pinned=False, is_changed=True)),
        # Once a recipient: the second IP keeps it.
        (refused("4.7.1 your IP is blocked"), Stay(9, False, True), Stay(1, is_pinned=True, is_changed=True)),
        (refused("4.7.1 spam content"), None, Stay(1, is_pinned=True, is_changed=False)),
        (refused("4.7.23 SPF fails"), None, Stay(1, is_pinned=True, is_changed=False)),
        (Broken(Phase.CONNECT, "timed out"), None, None),
        (Broken(Phase.CONNECT, "timed out"), Stay(9, True, False), Stay(9, True, False)),
    ],
)
def test_the_ip_is_changed_for_blame_on_it_alone_and_once(
    outcome: Outcome, before: Stay | None, after: Stay | None
) -> None:
    judged = SiteRules().judge(outcome, None)

    assert stay_after(outcome, judged, egress(1), before) == after
