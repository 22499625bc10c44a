"""What means the same is read the same: returned mail and reply lines in other dress
(tests/support/mutating).

`EVERY_SEED=1` asks all samples of the corpora several times, which takes minutes;
`python -m tests.report.reading.survey --moved` says what moved.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import pytest

from tests.report.reading import survey
from tests.report.reading.mails import (
    DOMINO,
    EXCHANGE,
    EXCHANGE_ONLINE,
    EXIM,
    OPENSMTPD,
    ORIGINAL,
    POSTFIX,
    QMAIL,
    SENDMAIL,
    STATUS,
    crlf,
    dsn,
    plain_mail,
    text_bounce,
)  # fmt: skip
from tests.report.reading.survey import (
    Sample,
    Survey,
    chosen,
    read_line,
    read_mail,
    survey_lines,
    survey_mails,
)
from tests.support.mutating import LINES, mail_variant

EVERY = bool(os.environ.get("EVERY_SEED"))
SEEDS = range(5) if EVERY else range(1)
MAILS_MOST = 10**6 if EVERY else 100
LETTERS_MOST = 10**6 if EVERY else 40
OWN_SEEDS = range(12) if EVERY else range(3)
ENOUGH = 0.98
needs_corpora = pytest.mark.skipif(not survey.LABELS.exists(), reason="no corpora at hand")

STATUS_OF_TWO = STATUS + (
    "\nFinal-Recipient: rfc822; bob@there.example\nAction: failed\nStatus: 5.2.2\n"
    "Remote-MTA: dns; mx.there.example\nDiagnostic-Code: smtp; 552 5.2.2 Mailbox full\n"
)
TO_BOTH = ORIGINAL.replace("To: Ann <ann@there.example>", "To: Ann <ann@there.example>, bob@there.example")
COMPLAINT = crlf(
    "From: <abusedesk@provider.example>\nTo: <abuse@shop.example>\nSubject: FW: Your order\nMIME-Version: "
    "1.0\n"
    "Content-Type: multipart/report; report-type=feedback-report; boundary=fb-1\n\n"
    "--fb-1\nContent-Type: text/plain\n\nThis is an email abuse report for a message from 192.0.2.1.\n"
    "--fb-1\nContent-Type: message/feedback-report\n\nFeedback-Type: abuse\nUser-Agent: SomeGenerator/1.0\n"
    "Version: 1\nOriginal-Rcpt-To: <ann@there.example>\nSource-IP: 192.0.2.1\n\n"
    f"--fb-1\nContent-Type: message/rfc822\n\n{ORIGINAL}\n--fb-1--\n"
)
OWN_MAILS: Mapping[str, bytes] = {
    "report": dsn(),
    "report of two": dsn(STATUS_OF_TWO),
    "report of two in words": dsn(STATUS_OF_TWO, words=POSTFIX, original=TO_BOTH),
    "report with a header": dsn(original_kind="text/rfc822-headers", original=ORIGINAL.partition("\n\n")[0]),
    "report of a full mailbox": dsn(
        STATUS.replace("5.1.1", "5.2.2").replace("550", "552").replace("User unknown", "Mailbox full")
    ),
    "report of a policy": dsn(
        STATUS.replace("5.1.1", "5.7.1").replace("User unknown", "Message rejected due to local policy")
    ),
    "report of a delay": dsn(STATUS.replace("failed", "delayed").replace("5.1.1", "4.4.1").replace("550",
    "450")),
    "qmail": text_bounce(QMAIL + TO_BOTH),
    "exim": text_bounce(EXIM + TO_BOTH, subject="Mail delivery failed: returning message to sender"),
    "postfix": text_bounce(POSTFIX, subject="Undelivered Mail Returned to Sender"),
    "sendmail": text_bounce(SENDMAIL + TO_BOTH, subject="Returned mail: see transcript for details"),
    "domino": text_bounce(DOMINO, subject="DELIVERY FAILURE: User ann not listed in Domino Directory"),
    "exchange": text_bounce(EXCHANGE, subject="Undeliverable: Hello"),
    "exchange online": text_bounce(EXCHANGE_ONLINE, subject="Undeliverable: Hello"),
    "opensmtpd": text_bounce(OPENSMTPD + "\n" + ORIGINAL, subject="Delivery status notification: error"),
    "complaint": COMPLAINT,
    "automatic reply": plain_mail(
        "Return-Path: <>\nFrom: Ann <ann@there.example>\nTo: shop@shop.example\nSubject: Out of office: "
        "Your order\n"
        "Auto-Submitted: auto-replied",
        "I am on holiday until Monday.\n",
    ),
    "unsubscription": plain_mail("From: Ann <ann@there.example>\nTo: list@shop.example\nSubject: "
    "unsubscribe", "\n"),
    "letter": plain_mail(
        "Return-Path: <ann@there.example>\nFrom: Ann <ann@there.example>\nTo: shop@shop.example\nSubject: "
        "My order",
        "Where is it? Your last mail was not delivered to me.\n\nYours, Ann\n",
    ),
}  # fmt: skip
OWN_LINES = (
    "550 5.1.1 <ann@there.example>: Recipient address rejected: User unknown in virtual mailbox table",
    "550 5.1.1 The email account that you tried to reach doesn't exist. - gsmtp",
    "550 No such user here",
    "552 5.2.2 Mailbox is full",
    "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org",
    "550 5.7.1 Message rejected as spam by content filter",
    "550 5.7.26 This mail is unauthenticated: DMARC policy of the sender's domain",
    "554 5.7.1 <ann@there.example>: Relay access denied",
    "552 5.3.4 Message size exceeds fixed limit",
    "450 4.2.0 <ann@there.example>: Recipient address rejected: Greylisted, try again later",
    "421 4.7.0 Too many connections from your IP (192.0.2.1)",
    "550 5.2.1 The account has been disabled",
    "450 4.7.1 Client host rejected: cannot find your hostname, [192.0.2.1]",
    "553 5.1.8 <shop@shop.example>: Sender address rejected: Domain not found",
    "550 5.1.2 Host unknown",
)


def own(name: str) -> Sample:
    content = OWN_MAILS[name]
    first = read_mail(content)
    return Sample(name, content, first, may_suppress=survey.suppresses(first.bounce_class))


@pytest.mark.parametrize("change", survey.ALL_MAIL_CHANGES)
def test_our_own_mails_are_read_the_same(change: str) -> None:
    found = survey_mails(change, map(own, OWN_MAILS), OWN_SEEDS)

    assert (found.moved, found.false_suppressions) == ([], [])


@pytest.mark.parametrize("change", LINES)
def test_our_own_lines_are_read_the_same(change: str) -> None:
    samples = [Sample(line, line.encode(), read_line(line)) for line in OWN_LINES]
    found = survey_lines(change, samples, OWN_SEEDS)

    assert found.moved == []


@needs_corpora
@pytest.mark.parametrize("change", survey.ALL_MAIL_CHANGES)
def test_mails_of_others_are_read_the_same(change: str) -> None:
    samples = chosen(survey.mails(), MAILS_MOST, seed=survey.ALL_MAIL_CHANGES.index(change))
    passes(survey_mails(change, samples, SEEDS))


@needs_corpora
@pytest.mark.parametrize("change", survey.ALL_MAIL_CHANGES)
def test_mail_that_is_no_bounce_stays_that(change: str) -> None:
    samples = chosen(survey.letters(), LETTERS_MOST, seed=survey.ALL_MAIL_CHANGES.index(change))
    found = survey_mails(change, samples, SEEDS)

    assert (found.moved, found.false_suppressions) == ([], [])


@needs_corpora
@pytest.mark.parametrize("change", LINES)
def test_lines_of_others_are_read_the_same(change: str) -> None:
    passes(survey_lines(change, survey.lines(), SEEDS))


def passes(found: Survey) -> None:
    """Nearly all are read as before, and none is held against a recipient that is not to blame."""
    print(found, *found.moved, sep="\n    ")
    assert found.false_suppressions == []
    assert len(found.moved) <= max(1, found.tried * (1 - ENOUGH)), found.moved


def test_a_seed_gives_the_same_variant_again() -> None:
    first, second = (mail_variant(dsn(), "mixture", 7) for _ in range(2))

    assert first == second is not None
    assert first != mail_variant(dsn(), "mixture", 8)


def test_every_change_changes_something() -> None:
    idle = [
        change
        for change in survey.ALL_MAIL_CHANGES
        if not any(mail_variant(mail, change, seed) for mail in OWN_MAILS.values() for seed in range(3))
    ]

    # None of ours has a charset, an id of a queue, or more than one line to a field.
    assert set(idle) <= {"charset-changed", "queue-ids", "unfolded", "charset-named"}
