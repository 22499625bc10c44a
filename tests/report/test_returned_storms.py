"""A site that takes all mail and returns it: what it says then is counted and judged as in the dialogue."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from mailer import clock
from mailer.policy.suppression import Share
from mailer.queue import fanout, retention, returned, suppressionstorms, verify
from mailer.queue.returned import Arrived
from mailer.report.reader import Reader
from mailer.store import Store
from mailer.store.tables import (
    attempt,
    lane,
    returned_mail,
    suppression,
    suppression_review,
    suppression_share,
)
from tests.support.mailroom import Mailroom
from tests.support.returning import Sent, arf, dsn, reader_of, sent

SITE = "mx:mx.example"  # of Mailroom's deliveries
HALF_PAST = clock.now().replace(minute=30, second=0, microsecond=0)  # no hour ends meanwhile
DAY = timedelta(days=1)


@pytest.fixture
def room(store: Store) -> Mailroom:
    return Mailroom.furnish(store, now=clock.now())


def at_half_past() -> datetime:
    return HALF_PAST


def keep(room: Mailroom, mail: Sent, content: bytes) -> None:
    arrived = Arrived(
        id=room.new_id(), kind="return-path", address=mail.path, reverse_path="", peer="192.0.2.1",
        token_of=mail.recipient_id,
    )  # fmt: skip
    returned.keep(room.store, room.new_id(), content, [arrived], now=clock.now())


def bounce(room: Mailroom, count: int, *, status: str = "5.1.1", words: str = "user unknown") -> list[Sent]:
    """Mail that was taken, and came back unread."""
    mails = [sent(room) for _ in range(count)]
    for mail in mails:
        keep(room, mail, dsn(mail.address, status=status, diagnostic=f"550 {status} {words}"))
    return mails


def read_all(reader: Reader) -> None:
    while reader.read_some():
        pass


def rows_of(room: Mailroom, table: Any) -> Sequence[Any]:
    with room.store.read() as connection:
        return connection.execute(select(table)).all()


def test_forty_of_one_site_within_an_hour_wait_for_the_operator(room: Mailroom) -> None:
    mails = bounce(room, 40)

    read_all(reader_of(room, now=at_half_past))

    assert rows_of(room, suppression) == []
    reviewed = rows_of(room, suppression_review)
    assert {(row.recipient_id, row.site, row.cause) for row in reviewed} == {
        (mail.recipient_id, SITE, "report") for mail in mails
    }
    [storm] = suppressionstorms.untold(room.store)
    # That it took them was counted when it did, which may have been in another hour.
    assert (storm.site, storm.answered, storm.invalid) == (SITE, 0, 40)
    assert [mail.told() for mail in mails] == [["bounced"]] * 40
    assert verify.verify(room.store).holds


def test_two_alone_are_on_the_list_with_their_site(room: Mailroom) -> None:
    mails = bounce(room, 2)

    read_all(reader_of(room, now=at_half_past))

    assert {(row.recipient_id, row.site) for row in rows_of(room, suppression)} == {
        (mail.recipient_id, SITE) for mail in mails
    }
    assert rows_of(room, suppression_review) == []


def test_what_it_said_in_the_dialogue_and_what_it_returned_are_one_share(room: Mailroom) -> None:
    usual, now = Share(100_000, 100), Share(5000, 30)
    with room.store.write() as connection:
        suppressionstorms.count(connection, {SITE: usual}, process_number=1, now=HALF_PAST - DAY)
        suppressionstorms.count(connection, {SITE: now}, process_number=1, now=HALF_PAST)
    bounce(room, 40)

    read_all(reader_of(room, now=at_half_past))

    # 0.1 % is usual: 1 % is passed by the 21st, and those before it are taken back.
    assert rows_of(room, suppression) == []
    assert len(rows_of(room, suppression_review)) == 40


def test_each_is_counted_once_and_as_unknown_only_where_it_is(room: Mailroom) -> None:
    [unknown] = bounce(room, 1)
    [full] = bounce(room, 1, status="5.2.2", words="mailbox full")
    bounce(room, 1, status="5.2.1", words="mailbox disabled")
    keep(room, unknown, dsn(unknown.address))
    keep(room, sent(room), arf())

    reader = reader_of(room, now=at_half_past)
    read_all(reader)

    [row] = rows_of(room, suppression_share)
    assert (row.site, row.answered, row.invalid) == (SITE, 0, 1)
    assert row.process_number > 0
    assert full.told() == ["bounced"]


def test_the_last_attempts_site_counts_and_of_dropped_mail_that_of_its_domain(room: Mailroom) -> None:
    [first], [second] = bounce(room, 1), bounce(room, 1)
    with room.store.write() as connection:
        moved = update(attempt).where(attempt.c.message_id == first.message_id)
        connection.execute(moved.values(site="mx:elsewhere.example"))
    fanout.fan_out(room.store)
    with room.store.write() as connection:
        connection.execute(update(lane).values(site="mx:by-now.example"))
    kept = first.message_id
    with room.store.write() as connection:
        connection.execute(update(attempt).where(attempt.c.message_id != kept).values(site=None))

    read_all(reader_of(room, now=at_half_past))

    assert {row.site for row in rows_of(room, suppression_share)} == {
        "mx:elsewhere.example", "mx:by-now.example",
    }  # fmt: skip
    assert second.told() == ["bounced"]


def test_of_a_message_that_was_dropped_the_site_is_that_of_its_domain(room: Mailroom) -> None:
    bounce(room, 1)
    fanout.fan_out(room.store)
    assert retention.drop_messages(room.store, before=clock.now() + timedelta(hours=1)) == 1

    read_all(reader_of(room, now=at_half_past))

    assert [row.site for row in rows_of(room, suppression)] == [SITE]


def test_where_no_site_is_known_it_is_judged_alone(room: Mailroom) -> None:
    bounce(room, 1)
    with room.store.write() as connection:
        connection.execute(update(attempt).values(site=None))
        connection.execute(update(lane).values(site=None))

    read_all(reader_of(room, now=at_half_past))

    assert [row.site for row in rows_of(room, suppression)] == [None]
    assert rows_of(room, suppression_share) == []


def run_together(readers: Sequence[Reader]) -> list[BaseException]:
    """Until nothing is left to read; what they failed of."""
    failures: list[BaseException] = []

    def run(reader: Reader) -> None:
        try:
            read_all(reader)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(reader,)) for reader in readers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


def unread(room: Mailroom) -> int:
    with room.store.read() as connection:
        wanted = select(func.count()).where(returned_mail.c.state != "read")
        return int(connection.execute(wanted).scalar_one())


def test_of_several_readers_at_once_none_lets_one_slip(room: Mailroom) -> None:
    mails = bounce(room, 60)

    failures = run_together([reader_of(room, now=at_half_past) for _ in range(4)])

    assert (failures, unread(room)) == ([], 0)
    suppressionstorms.take_back_late(room.store, now=HALF_PAST)  # as the sweeper does
    assert rows_of(room, suppression) == []
    assert {row.recipient_id for row in rows_of(room, suppression_review)} == {
        mail.recipient_id for mail in mails
    }
    shares = rows_of(room, suppression_share)
    assert (sum(row.answered for row in shares), sum(row.invalid for row in shares)) == (0, 60)


def test_readers_of_bounces_and_of_complaints_never_wait_in_a_circle(room: Mailroom) -> None:
    """Of the same people, by other mail of theirs: both hold what is counted of the stream, and an entry."""
    for _ in range(12):
        bounced = bounce(room, 8)
        complained = [sent(room, to=mail.address) for mail in bounced]
        for mail in complained:
            keep(room, mail, arf())

    failures = run_together([reader_of(room, now=at_half_past) for _ in range(4)])

    assert (failures, unread(room)) == ([], 0)
