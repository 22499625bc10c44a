"""The host that takes what comes back: addresses of ours only, on disk before it is answered for."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from mailer import clock
from mailer.compose.subscriber import mail_address
from mailer.compose.verp import make_token
from mailer.listener import Limits
from mailer.queue import fanout, retention, returned, returned_list
from mailer.queue.returned_list import Wanted
from mailer.store import Store
from mailer.store.tables import past_recipient, recipient, returned_content, returned_mail, sending_domain
from tests.support.mailroom import Mailroom
from tests.support.returning import DOMAIN, SECRET, Fragile, Host, Sent, sent

LETTER = b"From: a@there.example\r\nSubject: back\r\n\r\nHello.\r\n"


@pytest.fixture
def room(store: Store) -> Mailroom:
    return Mailroom.furnish(store, now=clock.now())


@pytest.fixture
def host(room: Mailroom) -> Iterator[Host]:
    made = Host(room, Fragile(room.store))
    made.open()
    yield made
    made.close()


@pytest.fixture
def mail(room: Mailroom) -> Sent:
    return sent(room)


def kept(room: Mailroom) -> list[returned_list.Returned]:
    return returned_list.page(room.store, Wanted(tenant_id=None))


def answer(host: Host, recipient: str, sender: str = "") -> tuple[int, bytes]:
    """To RCPT, in a session of its own that ends there."""
    with host.connect() as client:
        client.ehlo()
        client.mail(sender)
        code, text = client.docmd(f"RCPT TO:<{recipient}>")
        return code, text[:5]


def test_what_came_to_a_token_is_on_disk_when_it_is_answered(host: Host, mail: Sent) -> None:
    host.send(LETTER, mail.path)

    [found] = kept(host.room)
    assert (found.kind, found.address, found.reverse_path) == ("return-path", mail.path, "")
    assert (found.state, found.bounce_class, host.kept) == ("new", None, 1)
    content = returned_list.content(host.room.store, None, found.id)
    assert content is not None
    assert content.endswith(LETTER)
    assert content.startswith(b"Return-Path: <>\r\nDelivered-To: ")
    assert b"Received: from mx.there.example ([127.0.0.1])\r\n\tby mx.acme.example" in content


def test_null_and_other_senders_are_both_taken(host: Host, mail: Sent) -> None:
    for sender in ("", "MAILER-DAEMON@there.example", "a@b.example"):
        host.send(LETTER, mail.path, sender=sender)

    assert [one.reverse_path for one in kept(host.room)] == ["a@b.example", "MAILER-DAEMON@there.example", ""]


@pytest.mark.parametrize(
    "address",
    [
        "postmaster", "Postmaster", "POSTMASTER@acme.example", "postmaster@bounce.acme.example",
        "abuse@acme.example", "Abuse@Bounce.Acme.Example", f"dmarc-reports@{DOMAIN}", f"tls-reports@{DOMAIN}",
        f"complaints@{DOMAIN}",
    ],
)  # fmt: skip
def test_people_and_reports_have_addresses(host: Host, address: str) -> None:
    assert answer(host, address) == (250, b"2.1.5")


def test_a_token_is_good_in_any_case_and_with_its_own_domain_only(host: Host, mail: Sent) -> None:
    assert answer(host, mail.path.upper()) == (250, b"2.1.5")
    assert answer(host, f"{mail.token}@bounce.globex.example") == (550, b"5.1.1")
    assert answer(host, f"{mail.token}@acme.example") == (550, b"5.1.1")
    assert answer(host, mail.leave_by.upper()) == (250, b"2.1.5")
    assert answer(host, f"unsubscribe-{mail.token}@{DOMAIN}") == (550, b"5.1.1")


@pytest.mark.parametrize(
    "address",
    [
        "user@example.org",
        "postmaster@example.org",
        "abuse@globex.example",
        "user0@example.org",
        f"user@{DOMAIN}",
        "dmarc-reports@acme.example",
        f"user%example.org@{DOMAIN}",
        f'"user@example.org"@{DOMAIN}',
        f"user!example.org@{DOMAIN}",
        "user@[127.0.0.1]",
        "postmaster@[127.0.0.1]",
        f"@{DOMAIN}:user@example.org",
        f"{make_token(5, b'x' * 32)}@{DOMAIN}",
        f"unsubscribe-@{DOMAIN}",
        f"unsubscribe-{make_token(5, b'x' * 32)}@{DOMAIN}",
    ],
)
def test_nothing_else_is_taken_by_any_way_of_writing_it(host: Host, address: str) -> None:
    assert answer(host, address) == (550, b"5.1.1")
    assert kept(host.room) == []


def test_a_token_of_nobody_is_refused_although_we_made_it(host: Host) -> None:
    assert answer(host, f"{host.keys.make(host.room.new_id())}@{DOMAIN}") == (550, b"5.1.1")


def test_data_after_refused_recipients_only_is_refused(host: Host, mail: Sent) -> None:
    with host.connect() as client:
        client.ehlo()
        client.mail("a@b.example")
        client.rcpt("user@example.org")
        code, _ = client.docmd("DATA")
        client.rset()
        later, _ = client.docmd("DATA")
    assert (code, later) == (554, 503)  # RFC 5321 §3.3
    assert kept(host.room) == []


def test_a_good_recipient_beside_a_bad_one_gets_the_mail_alone(host: Host, mail: Sent) -> None:
    host.send(LETTER, "user@example.org", mail.path)

    assert [one.address for one in kept(host.room)] == [mail.path]


def test_a_caller_that_only_asks_hears_the_truth_and_changes_nothing(host: Host, mail: Sent) -> None:
    """As hosts do that verify a sender before they take its mail."""
    assert answer(host, mail.path) == (250, b"2.1.5")
    with host.connect() as client:
        client.ehlo()
        client.mail("")
        client.rcpt(mail.path)
        client.rset()
        client.docmd("VRFY", mail.path)

    assert kept(host.room) == []
    assert mail.told() == []
    with host.room.store.read() as connection:
        assert connection.execute(select(func.count()).select_from(returned_content)).scalar_one() == 0


def test_several_addresses_share_what_came(host: Host, room: Mailroom) -> None:
    first, second = sent(room), sent(room)

    host.send(LETTER, first.path, second.path, "postmaster@acme.example")

    found = kept(room)
    assert [one.kind for one in found] == ["person", "return-path", "return-path"]
    with room.store.read() as connection:
        assert connection.execute(select(func.count()).select_from(returned_content)).scalar_one() == 1
        tokens = connection.execute(select(returned_mail.c.token_of).order_by(returned_mail.c.id)).scalars()
        assert list(tokens) == [first.recipient_id, second.recipient_id, None]


def test_while_the_database_is_away_it_is_put_off_at_any_time(host: Host, mail: Sent) -> None:
    host.store.away_for = 1
    assert answer(host, mail.path) == (451, b"4.3.0")

    with host.connect() as client:
        client.ehlo()
        client.mail("")
        client.rcpt(mail.path)
        host.store.away_for = 1
        code, text = client.data(LETTER)
        assert (code, text[:5]) == (451, b"4.3.0")
        assert kept(host.room) == []
        client.mail("")
        client.rcpt(mail.path)
        assert client.data(LETTER)[0] == 250
    assert len(kept(host.room)) == 1


def test_a_domain_that_was_revoked_has_no_addresses_but_its_tokens(host: Host, mail: Sent) -> None:
    with host.room.store.write() as connection:
        connection.execute(sending_domain.update().values(state="revoked"))

    assert answer(host, "postmaster@acme.example") == (550, b"5.1.1")
    assert answer(host, f"tls-reports@{DOMAIN}") == (550, b"5.1.1")
    assert answer(host, mail.path) == (250, b"2.1.5")
    assert answer(host, "postmaster") == (250, b"2.1.5")


def test_a_token_is_good_for_half_a_year_after_its_mail(host: Host, mail: Sent) -> None:
    host.later = timedelta(days=179)
    before = answer(host, mail.path)
    host.later = timedelta(days=181)
    after = answer(host, mail.path)

    assert (before, after) == ((250, b"2.1.5"), (550, b"5.1.1"))


def test_it_is_good_after_the_message_was_dropped(host: Host, mail: Sent) -> None:
    with host.room.store.write() as connection:
        row = connection.execute(select(recipient).where(recipient.c.id == mail.recipient_id)).one()
        connection.execute(
            past_recipient.insert().values(
                id=row.id, message_id=row.message_id, tenant_id=row.tenant_id,
                stream_id=host.room.stream_id, address=row.address, return_path_domain=DOMAIN,
                version=row.version, settled_at=row.settled_at,
            )
        )  # fmt: skip
        connection.execute(recipient.delete().where(recipient.c.id == row.id))

    assert answer(host, mail.path) == (250, b"2.1.5")


def drop_all(room: Mailroom) -> None:
    """The message and what stays of its recipients."""
    fanout.fan_out(room.store)
    assert retention.drop_messages(room.store, before=clock.now() + timedelta(hours=1)) == 1
    later = clock.now() + timedelta(days=181)
    assert returned.forget_past(room.store, now=later, after=timedelta(days=180)) == 1


def test_an_address_to_unsubscribe_by_is_good_for_ever(host: Host, mail: Sent) -> None:
    host.later = timedelta(days=181)
    of_half_a_year = answer(host, mail.leave_by)
    drop_all(host.room)
    host.later = timedelta(days=3650)
    of_ten_years = answer(host, mail.leave_by)

    assert (of_half_a_year, of_ten_years) == ((250, b"2.1.5"), (250, b"2.1.5"))
    assert answer(host, mail.path) == (550, b"5.1.1")


def test_of_one_whose_rows_are_gone_it_is_good_at_domains_of_ours_only(host: Host, mail: Sent) -> None:
    drop_all(host.room)
    elsewhere = mail_address(mail.recipient_id, SECRET, "bounce.globex.example")
    forged = mail_address(mail.recipient_id, b"x" * 32, DOMAIN)
    with host.room.store.write() as connection:
        connection.execute(sending_domain.update().values(state="revoked"))

    assert [answer(host, each) for each in (elsewhere, forged)] == [(550, b"5.1.1")] * 2
    assert answer(host, mail.leave_by) == (250, b"2.1.5")


def test_whoever_guesses_addresses_is_sent_away(room: Mailroom) -> None:
    host = Host(room, Fragile(room.store), misses=5)
    host.open()
    try:
        answers = [answer(host, f"user{n}@{DOMAIN}")[0] for n in range(7)]
    finally:
        host.close()
    assert answers == [550, 550, 550, 550, 550, 421, 421]


def test_one_peer_brings_no_more_in_a_minute_than_it_may(room: Mailroom) -> None:
    host = Host(room, Fragile(room.store), mails=2)
    host.open()
    mail = sent(room)
    try:
        host.send(LETTER, mail.path)
        host.send(LETTER, mail.path)
        with pytest.raises(smtplib.SMTPSenderRefused) as refused:
            host.send(LETTER, mail.path)
    finally:
        host.close()
    assert (refused.value.smtp_code, refused.value.smtp_error[:5]) == (451, b"4.7.1")
    assert len(kept(room)) == 2


def test_what_is_too_large_is_refused_for_good(room: Mailroom) -> None:
    host = Host(room, Fragile(room.store), limits=replace(Limits(), size_bytes=100_000))
    host.open()
    mail = sent(room)
    try:
        with pytest.raises(smtplib.SMTPSenderRefused) as declared:
            host.send(LETTER + b"x" * 78 + b"\r\n" * 60_000, mail.path)
    finally:
        host.close()
    assert declared.value.smtp_code == 552
    assert kept(room) == []


def test_only_so_many_connections_are_one_peers(room: Mailroom) -> None:
    host = Host(room, Fragile(room.store), limits=replace(Limits(), connections_per_peer=2))
    host.open()
    open_ = [host.connect() for _ in range(2)]
    try:
        with pytest.raises(smtplib.SMTPConnectError) as refused:
            host.connect()
        assert refused.value.smtp_code == 421
    finally:
        for client in open_:
            client.close()
        host.close()
