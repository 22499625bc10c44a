"""Automatic replies, challenges and unsubscriptions are told from bounces and from mail of people."""

from __future__ import annotations

import pytest

from mailer.policy.classifier import shipped
from mailer.report.reading import (
    CONTENT_OCTETS,
    AutoReply,
    Challenge,
    OrdinaryMail,
    Reading,
    Unparsable,
    Unsubscription,
    read,
)
from tests.report.reading.mails import dsn, plain_mail

PERSON = "From: Ann <ann@there.example>\nTo: shop@shop.example\n"


def reading(content: bytes) -> Reading:
    return read(content, classifier=shipped())


@pytest.mark.parametrize(
    "header",
    [
        "Subject: Re: Your order\nAuto-Submitted: auto-replied",
        "Subject: away\nAuto-Submitted: Auto-Replied (vacation)",
        "Subject: x\nX-Autoreply: yes",
        "Subject: x\nPrecedence: auto_reply",
        "Subject: Automatic reply: Your order\nReturn-Path: <>",
        "Subject: Out of Office: Your order\nAuto-Submitted: auto-generated",
        "Subject: =?utf-8?q?Abwesenheit?=\nIn-Reply-To: <m1@shop.example>",
        "Subject: Thank you for your message\nReturn-Path: <>",
    ],
)
def test_an_automatic_reply_shows_that_it_is_one(header: str) -> None:
    """RFC 3834 §3, §5."""
    assert isinstance(reading(plain_mail(PERSON + header, "I am away until Monday.\n")), AutoReply)


@pytest.mark.parametrize(
    "header",
    [
        "Subject: Out of office furniture",
        "Subject: Re: Your order\nIn-Reply-To: <m1@shop.example>",
        "Subject: x\nAuto-Submitted: auto-generated",
        "Subject: x\nX-Autoreply: no",
        "Subject: Read: Your order\nAuto-Submitted: auto-replied\n"
        "Content-Type: multipart/report; report-type=disposition-notification; boundary=b",
    ],
)
def test_other_mail_is_no_automatic_reply(header: str) -> None:
    assert isinstance(reading(plain_mail(PERSON + header)), OrdinaryMail)


@pytest.mark.parametrize(
    "words",
    [
        "Your message was received and is held. To deliver it, click the link below to verify your address.",
        "I am protected by a filter. Reply to this message to confirm that you are one.\nYour message waits.",
        "Your message attached below is being held because your address was not verified.\n"
        "To release your message for delivery, please send an empty message to the following address.",
        "I am protecting myself from junk mail. Please click the link to complete the verification.",
        "To control spam I allow messages only from senders I have approved beforehand. To be added to\n"
        "my list of approved senders, please fill out the short request form.",
    ],
)
def test_a_challenge_is_known_by_what_it_wants(words: str) -> None:
    assert isinstance(reading(plain_mail(PERSON + "Subject: Re: Your order", words)), Challenge)


def test_a_challenge_may_be_dressed_as_a_bounce() -> None:
    status = (
        "Reporting-MTA: dns; guard.example\n\nFinal-Recipient: rfc822; ann@there.example\nAction: failed\n"
        "Diagnostic-Code: X-Guard; Sender not pre-approved.\nStatus: 4.7.0\n"
    )
    content = dsn(
        status, words="Your message has been waitlisted. Click the link below to be added to my guest list."
    )
    content = content.replace(b"Mail Delivery System <mailer-daemon@relay.example>", b"noreply@guard.example")

    found = reading(content)

    assert isinstance(found, Challenge)
    assert found.recipients == ("ann@there.example",)


def test_a_confirmation_of_a_subscription_is_no_challenge() -> None:
    words = "Welcome! Click the link below to confirm your subscription to our newsletter."

    assert isinstance(reading(plain_mail(PERSON + "Subject: Please confirm", words)), OrdinaryMail)


@pytest.mark.parametrize(
    "subject", ["unsubscribe", " UNSUBSCRIBE ", "unsubscribe abcdef234567", "unsubscribe:abc"]
)
def test_a_mail_that_says_unsubscribe_is_one(subject: str) -> None:
    """RFC 2369 §3.2."""
    assert isinstance(reading(plain_mail(f"{PERSON}Subject: {subject}")), Unsubscription)


def test_nothing_automatic_unsubscribes() -> None:
    assert not isinstance(
        reading(plain_mail(f"{PERSON}Subject: unsubscribe\nAuto-Submitted: auto-replied")), Unsubscription
    )


@pytest.mark.parametrize("content", [b"", b"\r\n \r\n", b"x" * (CONTENT_OCTETS + 1)])
def test_what_is_no_mail_says_why(content: bytes) -> None:
    found = reading(content)

    assert isinstance(found, Unparsable)
    assert found.why
