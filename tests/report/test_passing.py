"""Letters to postmaster and abuse reach the operator's mailbox, and never go round."""

from __future__ import annotations

import email
import email.policy
from datetime import timedelta

import pytest
from sqlalchemy import select

from mailer import clock
from mailer.identity import operator
from mailer.identity.operator import Operator
from mailer.identity.vault import Vault
from mailer.queue import bodies, verify
from mailer.queue.returned import Claimed
from mailer.report.passing import Passer
from mailer.store import Store
from mailer.store.tables import content, message, recipient
from tests.support.mailroom import Mailroom

LETTER = (
    b"Return-Path: <ann@there.example>\r\nReceived: from x by y; now\r\nFrom: Ann <ann@there.example>\r\n"
    b"Subject: =?utf-8?q?Spam_f=C3=BCr?=\r\n mich\r\n\r\nPlease look.\r\n"
)
OPERATOR = "ops.example"


@pytest.fixture
def room(store: Store) -> Mailroom:
    made = Mailroom.furnish(store, now=clock.now())
    operator.ensure(
        store, Vault(bytes(32)), OPERATOR, return_path_prefix="bounce", new_id=made.new_id, now=clock.now()
    )
    return made


def passer(room: Mailroom, *, to: str | None = "boss@elsewhere.example", ahead: list[timedelta] | None = None,
           who: bool = True) -> Passer:  # fmt: skip
    def find() -> Operator | None:
        return operator.find(room.store, OPERATOR) if who else None

    return Passer(
        store=room.store, to=to, find_operator=find, host="mx.ops.example", new_id=room.new_id,
        process_number=room.worker.process_number,
        now=lambda: clock.now() + (ahead[0] if ahead else timedelta(0)),
    )  # fmt: skip


def letter(room: Mailroom, octets: bytes = LETTER) -> Claimed:
    return Claimed(
        id=room.new_id(), kind="person", address="abuse@acme.example", token_of=None,
        reverse_path="ann@there.example", received_at=clock.now(), content=octets,
    )  # fmt: skip


def pass_on(room: Mailroom, by: Passer, mail: Claimed) -> str:
    with room.store.write() as connection:
        return by.pass_on(connection, mail)


def queued(room: Mailroom) -> list[tuple[str, str, email.message.EmailMessage]]:
    """Recipient, return-path domain and the message as it will go out."""
    with room.store.read() as connection:
        rows = connection.execute(
            select(recipient.c.address, message.c.return_path_domain, content.c.id, content.c.headers)
            .join(message, message.c.id == recipient.c.message_id)
            .join(content, content.c.id == message.c.content_id)
            .order_by(recipient.c.id)
        ).all()
    found = bodies.load(room.store, [row.id for row in rows])
    parsed = [
        email.message_from_bytes(row.headers + b"\r\n" + found[row.id].body, policy=email.policy.default)
        for row in rows
    ]
    return [(row.address, row.return_path_domain, one) for row, one in zip(rows, parsed, strict=True)]


def test_it_goes_to_the_operator_as_an_attachment_with_a_null_sender(room: Mailroom) -> None:
    said = pass_on(room, passer(room), letter(room))

    [(to, return_path, mail)] = queued(room)
    assert said.startswith("msg_")
    assert (to, return_path) == ("boss@elsewhere.example", "")
    assert mail["From"].addresses[0].addr_spec == "postmaster@ops.example"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Subject"].startswith("Fwd: ")
    told, original = mail.iter_parts()
    assert "Envelope sender: <ann@there.example>" in told.get_content()
    assert original.get_content_type() == "message/rfc822"
    inner = original.get_payload(0)
    assert inner.as_bytes().replace(b"\r\n", b"\n") == LETTER.replace(b"\r\n", b"\n")
    assert verify.verify(room.store).holds


def test_octets_are_kept_whatever_they_are(room: Mailroom) -> None:
    body = b"--x\r\nFrom here\r\n.\r\n\xff\xfe \xc3\xa4\r\n"
    pass_on(room, passer(room), letter(room, b"From: a@b.example\r\n\r\n" + body))

    with room.store.read() as connection:
        row = connection.execute(select(content)).one()
    assert row.is_8bit
    assert body in bodies.load(room.store, [row.id])[row.id].body


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        (b"X-Mailer-Passed-On: MX.ops.example\r\n" + LETTER, "it was passed on before"),
        (b"Received: from a by b; x\r\n" * 40 + LETTER, "too many hosts"),
    ],
)
def test_a_letter_that_goes_round_is_kept_only(room: Mailroom, octets: bytes, why: str) -> None:
    assert why in pass_on(room, passer(room), letter(room, octets))
    assert queued(room) == []


def test_a_mark_of_another_host_or_inside_the_text_stops_nothing(room: Mailroom) -> None:
    marked = b"X-Mailer-Passed-On: mx.other.example\r\n" + LETTER + b"X-Mailer-Passed-On: mx.ops.example\r\n"
    assert pass_on(room, passer(room), letter(room, marked)).startswith("msg_")


def test_what_we_pass_on_is_not_passed_on_again(room: Mailroom) -> None:
    by = passer(room)
    pass_on(room, by, letter(room))
    with room.store.read() as connection:
        row = connection.execute(select(content)).one()
    ours = row.headers + b"\r\n" + bodies.load(room.store, [row.id])[row.id].body

    assert "passed on before" in pass_on(room, by, letter(room, b"Received: from z by q; now\r\n" + ours))


@pytest.mark.parametrize("to", ["boss@acme.example", "boss@bounce.acme.example"])
def test_a_mailbox_of_our_own_domains_would_come_back_to_us(room: Mailroom, to: str) -> None:
    assert "domain of this installation" in pass_on(room, passer(room, to=to), letter(room))
    assert queued(room) == []


def test_without_a_mailbox_or_a_sender_it_is_kept_only(room: Mailroom) -> None:
    assert pass_on(room, passer(room, to=None), letter(room)) == "no: nobody is to have it"
    assert pass_on(room, passer(room, who=False), letter(room)) == "no: nobody can send it"
    assert queued(room) == []


def test_a_flood_reaches_nobody_beyond_what_can_be_read(room: Mailroom) -> None:
    ahead = [timedelta(0)]
    by = passer(room, ahead=ahead)
    with room.store.write() as connection:
        said = [by.pass_on(connection, letter(room)) for _ in range(205)]
    assert [one.startswith("msg_") for one in said] == [True] * 200 + [False] * 5
    ahead[0] = timedelta(hours=2)
    assert pass_on(room, by, letter(room)).startswith("msg_")
