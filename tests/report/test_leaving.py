"""Leaving by mail when nothing is kept of what was sent: the address and the subject say it together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from mailer import clock, ids
from mailer.compose import fields
from mailer.compose.subscriber import Subscriber, make_subject
from mailer.queue import fanout, retention, returned, returned_list, verify
from mailer.queue.returned_list import Returned, Wanted
from mailer.report.reader import Reader
from mailer.store import Store
from mailer.store.tables import event, stream, suppression, tenant
from tests.support.mailroom import Mailroom
from tests.support.returning import SECRET, Fragile, Host, Sent, reader_of, sent

TEN_YEARS = timedelta(days=3650)


@dataclass
class Office:
    """A listener and a reader, ten years after the mail was sent, of which nothing is kept."""

    room: Mailroom
    host: Host
    reader: Reader
    mail: Sent
    events: int = field(init=False)

    def __post_init__(self) -> None:
        self.events = len(self.log())

    def hear(self, content: bytes) -> Returned:
        """By SMTP, from a person."""
        self.host.send(content.replace(b"\n", b"\r\n"), self.mail.leave_by, sender="ada@there.example")
        while self.reader.read_some():
            pass
        return returned_list.page(self.room.store, Wanted(tenant_id=None))[0]

    def of_tenant(self) -> list[Returned]:
        return returned_list.page(self.room.store, Wanted(tenant_id=self.room.tenant_id))

    def log(self) -> list[Any]:
        fanout.fan_out(self.room.store)
        with self.room.store.read() as connection:
            return list(connection.execute(select(event).order_by(event.c.number)).all())

    def told(self) -> list[Any]:
        """Since nothing is kept."""
        return self.log()[self.events :]

    def entries(self) -> list[Any]:
        with self.room.store.read() as connection:
            return list(connection.execute(select(suppression)).all())


@pytest.fixture
def office(store: Store) -> Iterator[Office]:
    room = Mailroom.furnish(store, now=clock.now())
    mail = sent(room)
    fanout.fan_out(store)
    assert retention.drop_messages(store, before=clock.now() + timedelta(hours=1)) == 1
    later = clock.now() + timedelta(days=181)
    assert returned.forget_past(store, now=later, after=timedelta(days=180)) == 1
    host = Host(room, Fragile(store), later=TEN_YEARS)
    host.open()
    yield Office(room, host, reader_of(room, now=host.now), mail)
    host.close()


def letter(subject: str, body: str = "unsubscribe\n", more: str = "") -> bytes:
    return f"From: ada@there.example\nSubject: {subject}\n{more}\n{body}".encode()


def encoded(subject: str) -> str:
    """RFC 2047, in as many words as it takes."""
    return "\n ".join(fields.encoded_words(subject))


def test_a_mail_leaves_when_nothing_is_kept_of_what_was_sent(office: Office) -> None:
    found = office.hear(letter(office.mail.leave_subject))

    [told] = office.told()
    assert (told.type, told.message_id, told.recipient_id) == ("unsubscribed", None, None)
    assert told.tenant_id == office.room.tenant_id
    assert told.data == {
        "reason": "unsubscribe_mail", "class": "unsubscribe", "action": "fail", "blame": "recipient",
        "phase": "returned", "stream": "transactional", "address": office.mail.address,
        "returned_id": ids.show("ret", found.id),
    }  # fmt: skip
    [entry] = office.entries()
    assert (entry.reason, entry.stream_id, entry.cause) == ("unsubscribe", office.room.stream_id, "report")
    assert (found.state, found.matched_by, found.is_verified) == ("read", "address", True)
    assert (found.recipient_id, found.findings["event"]) == (None, "unsubscribed")
    assert [one.id for one in office.of_tenant()] == [found.id]
    assert verify.verify(office.room.store).holds


@pytest.mark.parametrize(
    "write",
    [
        lambda subject: letter(f"Re: {subject}"),
        lambda subject: letter(subject.upper()),
        lambda subject: letter(subject.replace(" ", "\n ")),
        lambda subject: letter(f"{subject[:60]}\n\t{subject[60:]}"),
        lambda subject: letter(encoded(subject)),
        lambda subject: letter(f"Antw: {encoded(subject)}"),
        lambda subject: letter("please", f"no more\n\n> Subject: {subject}\n"),
        lambda subject: letter(
            "unsubscribe", f"{subject[:60]}=\n{subject[60:]}\n",
            "Content-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n",
        ),
        lambda subject: letter("", f"<html><p>{subject}</p></html>", "Content-Type: text/html\n"),
    ],
)  # fmt: skip
def test_whatever_mail_programs_make_of_the_subject(office: Office, write: Any) -> None:
    office.hear(write(office.mail.leave_subject))

    assert [one.type for one in office.told()] == ["unsubscribed"]


def test_the_same_mail_again_is_no_news(office: Office) -> None:
    found = [office.hear(letter(office.mail.leave_subject)) for _ in range(2)]

    assert [one.findings["event"] for one in found] == ["unsubscribed", None]
    assert len(office.told()) == 1


def _of_another(office: Office) -> str:
    return make_subject(
        Subscriber(office.room.tenant_id, office.room.stream_id, 12345, "bob@there.example"), SECRET
    )


@pytest.mark.parametrize(
    "write",
    [
        lambda office: letter("unsubscribe"),
        lambda office: letter(make_subject(office.mail.subscriber, b"x" * 32)),
        lambda office: letter(office.mail.leave_subject[:-3]),
        lambda office: letter(_of_another(office)),
        lambda office: letter(office.mail.leave_subject, more="Auto-Submitted: auto-replied\n"),
    ],
    ids=["none", "forged", "cut", "another's", "automatic"],
)
def test_without_a_token_for_its_very_recipient_nothing_follows(office: Office, write: Any) -> None:
    found = office.hear(write(office))

    assert (office.told(), office.entries()) == ([], [])
    assert (found.state, found.matched_by, office.of_tenant()) == ("read", None, [])


def test_without_its_stream_or_tenant_nothing_follows(office: Office) -> None:
    with office.room.store.write() as connection:
        connection.execute(delete(stream))

    found = office.hear(letter(office.mail.leave_subject))

    assert (office.told(), office.entries()) == ([], [])
    assert (found.state, found.matched_by, office.of_tenant()) == ("read", None, [])


@pytest.mark.parametrize(("table", "state"), [(tenant, "suspended"), (stream, "archived")])
def test_it_leaves_whatever_became_of_its_sender(office: Office, table: Any, state: str) -> None:
    with office.room.store.write() as connection:
        connection.execute(update(table).values(state=state))

    office.hear(letter(office.mail.leave_subject))

    assert [one.type for one in office.told()] == ["unsubscribed"]
