"""Delivery status notifications are read, also those that break RFC 3464."""

from __future__ import annotations

import pytest

from mailer.policy.bounceclass import BounceClass
from mailer.policy.classifier import shipped
from mailer.report.reading import DeliveryAction, DeliveryReport, read
from tests.report.reading.mails import ORIGINAL, REF, STATUS, dsn


def report(content: bytes) -> DeliveryReport:
    found = read(content, classifier=shipped())
    assert isinstance(found, DeliveryReport)
    return found


def test_a_notification_says_whom_what_and_why() -> None:
    """RFC 3464 §2.2, §2.3."""
    found = report(dsn())

    (recipient,) = found.recipients
    assert (recipient.address, recipient.action, str(recipient.status)) == (
        "ann@there.example",
        "failed",
        "5.1.1",
    )
    assert recipient.diagnostic == "550 5.1.1 <ann@there.example>: User unknown"
    assert (recipient.reporting_mta, recipient.remote_mta) == ("mx.relay.example", "mx.there.example")
    assert recipient.judgement.bounce_class is BounceClass.INVALID_MAILBOX
    assert found.bounce_class is BounceClass.INVALID_MAILBOX
    assert found.form == "rfc3464"


def test_the_original_is_found_in_it() -> None:
    original = report(dsn()).original

    assert (original.message_id, original.mailer_ref, original.subject) == (
        "m1@shop.example",
        REF,
        "Your order",
    )
    assert original.envelope_from == f"{REF}@bounces.shop.example"
    assert original.recipients == ("ann@there.example",)


def test_its_header_alone_is_enough() -> None:
    found = report(dsn(original_kind="text/rfc822-headers"))

    assert found.original.mailer_ref == REF


def test_a_token_is_found_however_the_original_is_wrapped() -> None:
    quoted = "".join(f"> {line}\n" for line in ORIGINAL.split("\n"))

    assert report(dsn(original_kind="application/x-whatever", original=quoted)).original.mailer_ref == REF


def test_the_return_path_stands_for_the_field() -> None:
    """A forwarder that rewrites it (SRS) keeps our local part."""
    path = f"Return-Path: <SRS0=x1y2=A1=bounces.shop.example={REF.upper()}@forwarder.example>\nSubject: s\n\n"

    assert report(dsn(original=path)).original.mailer_ref == REF


@pytest.mark.parametrize(
    "status",
    [
        STATUS.replace("\n\n", "\n"),
        STATUS.replace("\n", "\n\n"),
        STATUS.replace("Final-Recipient", "Final-Recipeint").replace("Diagnostic-Code", "Diagnositc-Code"),
        STATUS.replace("Final-Recipient: rfc822;", "Final-Recipient:"),
        STATUS.replace("rfc822; ann@there.example", "RFC822;<ann@there.example>"),
        STATUS.replace("rfc822; ann@there.example", "rfc/822;ann@there.example (Ann)"),
        STATUS.replace("Action", "action").replace("Status:", "STATUS :"),
        STATUS.replace("Action: failed\n", ""),
        STATUS.replace("5.1.1\n", "5.1.1 (no such user)\n"),
        STATUS.replace(": User unknown", ":\n\tUser unknown"),
        STATUS.replace(
            "\n\nFinal-Recipient", "\n\nOriginal-Recipient: rfc822;ann@there.example\nFinal-Recipient"
        ),
        "\n\n\n" + STATUS,
        STATUS.split("\n\n")[1],
    ],
)
def test_what_hosts_write_instead_is_read_too(status: str) -> None:
    (recipient,) = report(dsn(status)).recipients

    assert (recipient.address, recipient.action) == ("ann@there.example", DeliveryAction.FAILED)
    assert recipient.judgement.bounce_class is BounceClass.INVALID_MAILBOX


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "message/global-delivery-status",
        "application/octet-stream",
        "message/rfc822",
        "nonsense",
    ],
)
def test_the_fields_are_known_by_what_they_say(kind: str) -> None:
    (recipient,) = report(dsn(kind=kind)).recipients

    assert recipient.address == "ann@there.example"


def test_each_recipient_has_its_own_fate_and_the_failed_come_first() -> None:
    groups = "\n\n".join(
        f"Final-Recipient: rfc822; {name}@there.example\nAction: {action}\nStatus: {status}"
        for name, action, status in (
            ("a", "delayed", "4.4.1"), ("b", "failed", "5.2.2"), ("c", "delivered", "2.0.0"),
            ("d", "relayed", "2.0.0"), ("e", "expanded", "2.0.0"), ("f", "failed", "5.1.1"),
        )
    )  # fmt: skip

    found = report(dsn(f"Reporting-MTA: dns; r.example\n\n{groups}\n"))

    assert [(r.address[0], str(r.judgement.bounce_class)) for r in found.recipients] == [
        ("b", "mailbox-full"), ("f", "invalid-mailbox"), ("a", "delayed"),
        ("c", "delivered"), ("d", "delivered"), ("e", "delivered"),
    ]  # fmt: skip


def test_an_address_in_utf_8_is_read() -> None:
    """RFC 6533 §3, in both forms."""
    status = "Reporting-MTA: dns; r.example\n\nFinal-Recipient: utf-8; {}@there.example\nAction: failed\n"

    plain = report(dsn(status.format("änn"), kind="message/global-delivery-status"))
    escaped = report(dsn(status.format(r"\x{E4}nn"), kind="message/global-delivery-status"))

    assert plain.recipients[0].address == "änn@there.example"
    assert escaped.recipients[0].address == "änn@there.example"


def test_a_recipient_beyond_a_gateway_is_told_by_its_original() -> None:
    status = STATUS.replace(
        "Final-Recipient: rfc822; ann@there.example",
        "Original-Recipient: rfc822; ann@there.example\nFinal-Recipient: x400; /S=ann/ADMD= /C=WW/",
    )

    assert report(dsn(status)).recipients[0].address == "ann@there.example"


def test_an_address_it_was_forwarded_to_stays_apart_from_ours() -> None:
    status = STATUS.replace(
        "Final-Recipient: rfc822; ann@there.example",
        "Original-Recipient: rfc822; ann@there.example\nFinal-Recipient: rfc822; ann@home.example",
    )

    (recipient,) = report(dsn(status)).recipients
    assert (recipient.address, recipient.original_address) == ("ann@home.example", "ann@there.example")


def test_a_program_that_failed_is_told_by_the_words() -> None:
    words = "The following address(es) failed:\n\n  pipe to |/bin/false\n    generated by ann@there.example\n"
    status = STATUS.replace("rfc822; ann@there.example", "rfc822; |/bin/false").replace("User unknown", "")

    assert report(dsn(status, words=words)).recipients[0].address == "ann@there.example"


@pytest.mark.parametrize(
    ("code", "said", "bounce_class"),
    [
        ("4.4.7", "delivery time expired", "expired"),
        ("5.4.7", "", "expired"),
        ("4.4.7", "450 4.2.2 mailbox full; message expired", "mailbox-full"),
        ("4.4.7", "451 4.3.0 try again later; message expired", "expired"),
        ("4.4.7", "421 4.4.2 timeout; retry timeout exceeded", "expired"),
    ],
)
def test_a_queue_that_lost_patience_says_what_it_heard_last(code: str, said: str, bounce_class: str) -> None:
    """RFC 3463 §3.5, x.4.7."""
    status = STATUS.replace("5.1.1\n", f"{code}\n").replace(
        "550 5.1.1 <ann@there.example>: User unknown", said
    )

    assert report(dsn(status, words="")).bounce_class == bounce_class


def test_the_words_are_asked_where_the_fields_say_nothing() -> None:
    status = STATUS.replace("5.1.1\n", "5.0.0\n").replace("550 5.1.1 <ann@there.example>: User unknown", "")
    words = "<ann@there.example>: host mx.there.example[192.0.2.1] said: 552 5.2.2 Mailbox full\n"

    (recipient,) = report(dsn(status, words=words)).recipients
    assert recipient.judgement.bounce_class is BounceClass.MAILBOX_FULL
    assert str(recipient.status) == "5.2.2"


def test_the_envid_is_carried() -> None:
    found = report(dsn("Original-Envelope-Id: e+2Bx\n" + STATUS))

    assert found.original.envid == "e+2Bx"
