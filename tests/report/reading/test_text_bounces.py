"""Bounces of hosts that write text are read by their form, and by what is left where it has none."""

from __future__ import annotations

import pytest

from mailer.policy.classifier import shipped
from mailer.report.reading import DeliveryReport, OrdinaryMail, Reading, read
from mailer.report.reading.forms import shipped_forms
from tests.report.reading.mails import (
    DOMINO,
    EXCHANGE,
    EXCHANGE_ONLINE,
    EXIM,
    OPENSMTPD,
    ORIGINAL,
    POSTFIX,
    QMAIL,
    REF,
    SENDMAIL,
    X400,
    plain_mail,
    text_bounce,
)  # fmt: skip


def reading(content: bytes) -> Reading:
    return read(content, classifier=shipped())


def told(words: str) -> tuple[str, list[str], str]:
    """Form, recipients and class."""
    found = reading(text_bounce(words))
    assert isinstance(found, DeliveryReport)
    return found.form, [recipient.address for recipient in found.recipients], found.bounce_class


@pytest.mark.parametrize(
    ("form", "words"), [("qmail", QMAIL), ("exim", EXIM), ("postfix", POSTFIX), ("sendmail", SENDMAIL)]
)
def test_each_recipient_of_a_form_has_its_own_words(form: str, words: str) -> None:
    found = reading(text_bounce(words + ORIGINAL))

    assert isinstance(found, DeliveryReport)
    assert found.form == form
    assert [(r.address, str(r.judgement.bounce_class)) for r in found.recipients] == [
        ("ann@there.example", "invalid-mailbox"),
        ("bob@there.example", "mailbox-full"),
    ]
    assert found.original.mailer_ref == REF


@pytest.mark.parametrize("form", [QMAIL, EXIM, POSTFIX])
@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace("\n", "\n> "),
        lambda text: text.replace("\n", " \n"),
        lambda text: text.upper().replace("ANN@THERE.EXAMPLE", "ann@there.example"),
        lambda text: text.replace("following address", "following\naddress"),
        lambda text: "Dear sender,\n\nyour provider asks you to read this.\n\n" + text,
    ],
    ids=["quoted", "blanks", "capitals", "refolded", "preceded"],
)
def test_a_form_is_known_though_it_was_reformatted(form: str, damage: object) -> None:
    assert callable(damage)
    _, recipients, bounce_class = told(damage(form))

    assert recipients[0] == "ann@there.example"
    assert bounce_class == "invalid-mailbox"


@pytest.mark.parametrize(
    ("words", "bounce_class"),
    [
        (DOMINO, "invalid-mailbox"),
        (EXCHANGE, "invalid-mailbox"),
        (X400, "invalid-mailbox"),
        (EXCHANGE_ONLINE, "invalid-mailbox"),
        (OPENSMTPD, "invalid-mailbox"),
        ("Unable to deliver message to: <ann@there.example>\n550 5.1.1 User unknown\n", "invalid-mailbox"),
        (">>> RCPT TO:<ann@there.example>\n<<< 550 5.1.1 User unknown\n", "invalid-mailbox"),
        ("552 5.2.2 the mailbox of ann@there.example is full\n", "mailbox-full"),
    ],
)
def test_other_hosts_are_read(words: str, bounce_class: str) -> None:
    assert told(words)[1:] == (["ann@there.example"], bounce_class)


@pytest.mark.parametrize(
    "words",
    [
        EXIM.replace("This is a permanent error. The following address(es) failed:",
                     "The message has not yet been delivered to the following addresses:")
        + "No action is required on your part. Delivery attempts will continue for some time.\n",
        "THIS IS A WARNING MESSAGE ONLY.\n\nDelivery to the following recipient has been delayed:\n\n"
        "     ann@there.example\n",
    ],
)  # fmt: skip
def test_a_host_that_goes_on_trying_has_only_delayed_it(words: str) -> None:
    assert told(words)[2] == "delayed"


@pytest.mark.parametrize(
    ("words", "recipients"),
    [
        (
            "Your mail to ann is not accepted from shop@shop.example: 550 5.7.1 refused\n\n" + ORIGINAL,
            ["ann@there.example"],
        ),
        ("收件人（ann@there.example）不存在。550 Mailbox not found\n", ["ann@there.example"]),
        ("Recipient address: ann@there.example\nReason: 550 5.1.1 User unknown\n", ["ann@there.example"]),
        (
            "User unknown\nann@there.example\n\nMailbox full\nbob@there.example\n",
            ["ann@there.example", "bob@there.example"],
        ),
        ("Contact: help@relay.example\n550 5.1.1 ann@there.example: User unknown\n", ["ann@there.example"]),
    ],
)
def test_the_right_address_is_taken(words: str, recipients: list[str]) -> None:
    assert told(words)[1] == recipients


def test_a_list_for_administrators_says_more_than_that_for_people() -> None:
    found = reading(text_bounce(EXCHANGE_ONLINE))

    assert isinstance(found, DeliveryReport)
    assert "550 5.1.1" in found.recipients[0].diagnostic


def test_what_was_said_before_the_recipient_was_named_blames_no_recipient() -> None:
    words = QMAIL.partition("<ann@")[0] + (
        "<ann@there.example>:\nConnected to 192.0.2.1 but my name was rejected.\n"
        "Remote host said: 501 5.0.0 Invalid domain name\n"
    )

    assert told(words)[2] not in {"invalid-domain", "invalid-mailbox"}


@pytest.mark.parametrize(
    "words",
    [
        "I wasn\u2019t able to deliver your message to the following addresses.\n\n<ann@there.example>:\n"
        "Remote host said: \u201c550 5.1.1 User unknown\u201d\n",
        "Your message couldn't be delivered to the following recipient(s):\n\nann@there.example\n550 User "
        "unknown\n",
        "Your message can not be delivered to the following recipients:\n\n<ann@there.example>: 550 User "
        "isn't known\n",
        "Delivery to the following\u00a0recipients failed.\n\n  ann@there.example\n  550 5.1.1 User "
        "unknown\n",
    ],
)
def test_the_spelling_of_a_template_does_not_matter(words: str) -> None:
    assert told(words)[1:] == (["ann@there.example"], "invalid-mailbox")


@pytest.mark.parametrize(
    "notice",
    [
        "This e-mail is confidential and intended solely for the addressee. Unauthorized use is "
        "prohibited.\n",
        "If you received this message in error, please delete it and its attachments.\n",
        "This message was scanned for viruses and is believed to be clean.\n",
        "CAUTION: This email originated from outside. Do not click links or open attachments.\n",
    ],
)
def test_what_gateways_put_into_every_mail_says_nothing_of_a_delivery(notice: str) -> None:
    assert told(f"{DOMINO}\n--\n\n{notice}") == told(DOMINO)
    assert told(f"{notice}\n{DOMINO}") == told(DOMINO)


def test_a_sentence_that_ends_with_the_words_for_a_copy_begins_none() -> None:
    words = POSTFIX.replace(
        "                   The mail system\n\n",
        "You can delete your own text from the\nmessage returned below.\n\n",
    )

    assert told(words) == told(POSTFIX)


def test_an_address_that_goes_on_a_reply_is_no_further_recipient() -> None:
    words = POSTFIX.replace("\n    <", "\n<")

    assert told(words) == told(POSTFIX)


def test_html_is_read_though_a_gateway_adds_a_plain_footer() -> None:
    content = plain_mail(
        "From: MAILER-DAEMON@relay.example\nReturn-Path: <>\nSubject: Undelivered Mail Returned to Sender\n"
        "Content-Type: multipart/mixed; boundary=x",
        "--x\nContent-Type: text/html\n\n<p>This is the mail system at host relay.example.</p>"
        "<p>&lt;ann@there.example&gt;: host mx.there.example[192.0.2.1] said: 550 5.1.1<br>\n"
        "&nbsp;&nbsp;&lt;bob@there.example&gt;: User unknown</p>\n"
        "--x\nContent-Type: text/plain\n\n-- \nPassed on by edge.example\n--x--\n",
    )

    found = reading(content)
    assert isinstance(found, DeliveryReport)
    assert [(r.address, str(r.judgement.bounce_class)) for r in found.recipients] == [
        ("ann@there.example", "invalid-mailbox")
    ]


def test_a_forwarded_bounce_is_read() -> None:
    content = plain_mail(
        "From: postmaster@a.example\nReturn-Path: <>\nSubject: F\nContent-Type: multipart/mixed; boundary=x",
        "--x\n\nSee below.\n--x\nContent-Type: message/rfc822\n\n"
        + text_bounce(QMAIL).decode().replace("\r\n", "\n")
        + "\n--x--\n",
    )

    found = reading(content)
    assert isinstance(found, DeliveryReport)
    assert [r.address for r in found.recipients] == ["ann@there.example", "bob@there.example"]


def test_a_form_in_html_is_read() -> None:
    words = (
        "<html><style>p{}</style><p>Delivery has failed to these recipients or groups:<p>"
        "<a href='mailto:x@y.example'>ann@there.example</a><br>550 5.1.1 User unknown</html>"
    )

    assert told(words)[1:] == (["ann@there.example"], "invalid-mailbox")


def test_a_bounce_that_names_nobody_is_told_by_the_only_recipient_of_the_original() -> None:
    assert told("Your mail could not be delivered. 550 5.1.1 User unknown\n\n" + ORIGINAL)[1] == [
        "ann@there.example"
    ]


def test_a_bounce_without_anybody_still_says_why() -> None:
    found = reading(text_bounce("Sorry. 552 5.2.2 Mailbox full\n"))

    assert isinstance(found, DeliveryReport)
    assert found.recipients == ()
    assert found.bounce_class == "mailbox-full"


@pytest.mark.parametrize(
    "content",
    [
        plain_mail("From: Bob <bob@here.example>\nSubject: Hello", QMAIL),
        plain_mail(
            "From: Bob <bob@here.example>\nSubject: Hello", "I got this: 550 5.1.1 <x@y.example> unknown\n"
        ),
        plain_mail(
            "From: postmaster@here.example\nSubject: Our new office", "Write to us: office@here.example\n"
        ),
        plain_mail(
            "Resent-From: Bob <bob@here.example>\nFrom: MAILER-DAEMON@relay.example\nSubject: failure notice",
            QMAIL,
        ),
    ],
)
def test_a_mail_of_a_person_is_no_bounce(content: bytes) -> None:
    assert isinstance(reading(content), OrdinaryMail)


def test_every_form_has_a_source() -> None:
    assert all(form.source.strip() for form in shipped_forms())
