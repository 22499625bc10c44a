"""The parsers that are fuzzed: each that reads what a stranger sent."""

from __future__ import annotations

from mailer.policy.classifier import shipped
from mailer.report.reading import Unparsable, read
from mailer.report.reading.addresses import addresses_in, listed, typed_address
from mailer.report.reading.decoding import plain
from mailer.report.reading.fields import media_type_of
from mailer.report.reading.mime import read_message
from mailer.report.reading.prose import divided, without_tags
from mailer.report.reading.statusfields import read_status_fields
from tests.fuzz.harness import Target
from tests.report.reading.mails import ORIGINAL, STATUS, dsn, plain_mail, text_bounce
from tests.report.reading.test_automatic_mail import PERSON
from tests.report.reading.test_feedback_reports import arf, notification, xarf
from tests.report.reading.test_mime_reader import MIXED
from tests.report.reading.test_text_bounces import EXIM, POSTFIX, QMAIL, SENDMAIL

MAIL_WORDS = (
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"--=_b", b"--b", b"--b--", b"--", b"\0", b"\xff", b"\xc3", b": ",
    b"; ", b"=", b'"', b"<", b">", b"(", b")", b"@", b"a@b.example", b"<a@b.example>:", b"550 5.1.1 ",
    b"said: ", b"> ", b" ", b"\t", b"Content-Type: multipart/mixed; boundary=b\r\n\r\n",
    b"Content-Type: message/rfc822\r\n\r\n", b"Content-Transfer-Encoding: base64\r\n",
    b"Content-Type: text/html; charset=utf-16\r\n", b"boundary=", b"charset=", b"=?utf-8?b?", b"?=", b"%E4",
    b"*0*=", b"Final-Recipient: rfc822; ", b"Action: ", b"Feedback-Type: abuse\r\n", b"X-Mailer-Ref: ",
    b"Return-Path: <>\r\n", b"Auto-Submitted: auto-replied\r\n", b"<p>", b"<!--", b"-->", b"&#1;",
    b"did not reach the following recipient(s):\r\n", b"----- Original message -----\r\n",
    b"Received: by x\r\n",
)  # fmt: skip


def _mail(content: bytes) -> None:
    """A fault of ours is no exception there, but a reading that says so."""
    found = read(content, classifier=shipped())
    assert not isinstance(found, Unparsable) or "failed" not in found.why, found


def _pure_text(content: bytes) -> None:
    """The readers of fields and words, without a mail around."""
    text = content.decode("utf-8", "surrogateescape")
    plain(text)
    media_type_of(text)
    typed_address(text)
    listed([text])
    list(addresses_in(text))
    divided(text)
    without_tags(text)
    read_status_fields(text)


def _parts(content: bytes) -> None:
    for part in read_message(content).walk():
        part.text(1 << 20)


MAILS = (
    dsn(), arf(), xarf(), MIXED,
    *(text_bounce(words + ORIGINAL) for words in (EXIM, POSTFIX, QMAIL, SENDMAIL)),
    plain_mail(PERSON + "Subject: away\nAuto-Submitted: auto-replied"),
    notification("Bounce", bounce={"bouncedRecipients": [{"emailAddress": "a@b.example"}]}),
)  # fmt: skip

TARGETS = (
    Target("mail", _mail, MAILS, MAIL_WORDS),
    Target("mime", _parts, MAILS, MAIL_WORDS),
    Target("text", _pure_text, (STATUS.encode(), QMAIL.encode(), MIXED), MAIL_WORDS),
)
