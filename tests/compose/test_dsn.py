"""A DSN as the standard library reads it, field by field, and that nothing breaks out of its place."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage, Message
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.compose import dsn
from mailer.compose.address import Mailbox
from mailer.compose.deliverystatus import Reported, Status
from mailer.compose.dsn import Original
from mailer.compose.mime import Composed
from mailer.events import NoticeKind

NOON = datetime(2026, 3, 9, 12, tzinfo=UTC)
REFUSED = Reported(
    address="ann@example.net", orcpt="rfc822;Ann+Sales@example.org", status="5.1.1",
    remote_mta="mx.example.net", diagnostic="550 5.1.1 no such mailbox", is_reply=True,
    last_attempt_at=NOON + timedelta(minutes=5), retry_until=None,
)  # fmt: skip
UNHEARD = Reported(
    address="bob@example.com", orcpt=None, status="4.4.7", remote_mta=None,
    diagnostic="its sender's deadline passed before it could be sent", is_reply=False, last_attempt_at=None,
    retry_until=None,
)  # fmt: skip
STATUS = Status(
    kind=NoticeKind.FAILED, reporting_mta="mail.op.example", envid="QQ 314159", arrived_at=NOON,
    recipients=(REFUSED, UNHEARD),
)  # fmt: skip
HEADERS = (
    b"From: shop@acme.example\r\nTo: ann@example.net\r\nSubject: order\r\nMessage-ID: <1@acme.example>\r\n"
)
ORIGINAL = Original(
    headers=HEADERS, body=None, needs_utf8=False, subject="order", message_id="<1@acme.example>"
)
FROM = Mailbox("Mail Delivery System", "MAILER-DAEMON", "op.example")
TO = Mailbox("", "app", "acme.example")


def octets(made: Composed) -> bytes:
    return made.headers + b"\r\n" + made.body


def compose(status: Status = STATUS, original: Original = ORIGINAL, to: Mailbox = TO) -> Composed:
    return dsn.compose(
        status, original, from_=FROM, to=to, message_id="<9@op.example>", date=NOON, boundary="=_msg_9"
    )


def parts(made: Composed) -> tuple[EmailMessage, list[Any]]:
    """The whole, and its three parts."""
    whole = message_from_bytes(octets(made), policy=policy.default)
    assert isinstance(whole, EmailMessage)
    assert whole.defects == []
    return whole, list(whole.iter_parts())


def groups(part: Message) -> list[dict[str, str]]:
    """The groups of fields of a message/delivery-status, as the standard library splits them."""
    payload = part.get_payload()
    assert isinstance(payload, list)
    return [{name: str(value) for name, value in group.items()} for group in payload if group.items()]


def test_a_report_of_a_failure_field_by_field() -> None:
    """RFC 3464 §2, RFC 6522 §3."""
    whole, [human, machine, returned] = parts(compose())

    assert whole.get_content_type() == "multipart/report"
    assert whole.get_param("report-type") == "delivery-status"
    assert (whole["From"], whole["To"]) == (
        "Mail Delivery System <MAILER-DAEMON@op.example>",
        "app@acme.example",
    )
    assert (whole["Subject"], whole["Auto-Submitted"]) == ("Not delivered: order", "auto-replied")
    assert (whole["In-Reply-To"], whole["References"]) == ("<1@acme.example>", "<1@acme.example>")
    assert human.get_content_type() == "text/plain"
    assert "    mx.example.net said: 550 5.1.1 no such mailbox" in human.get_content().splitlines()
    assert machine.get_content_type() == "message/delivery-status"
    assert groups(machine) == [
        {
            "Original-Envelope-Id": "QQ 314159",
            "Reporting-MTA": "dns; mail.op.example",
            "Arrival-Date": "Mon, 09 Mar 2026 12:00:00 +0000",
        },
        {
            "Original-Recipient": "rfc822; Ann+Sales@example.org",
            "Final-Recipient": "rfc822; ann@example.net",
            "Action": "failed",
            "Status": "5.1.1",
            "Remote-MTA": "dns; mx.example.net",
            "Diagnostic-Code": "smtp; 550 5.1.1 no such mailbox",
            "Last-Attempt-Date": "Mon, 09 Mar 2026 12:05:00 +0000",
        },
        {
            "Final-Recipient": "rfc822; bob@example.com",
            "Action": "failed",
            "Status": "4.4.7",
            "Diagnostic-Code": "x-mailer; its sender's deadline passed before it could be sent",
        },
    ]  # fmt: skip
    assert returned.get_content_type() == "text/rfc822-headers"
    assert returned.get_payload(decode=True) == HEADERS


def test_a_delay_says_until_when_it_is_tried() -> None:
    waiting = replace(REFUSED, status="4.2.2", retry_until=NOON + timedelta(days=4))
    whole, [human, machine, _] = parts(
        compose(replace(STATUS, kind=NoticeKind.DELAYED, recipients=(waiting,)))
    )

    [_, group] = groups(machine)
    assert (group["Action"], group["Will-Retry-Until"]) == ("delayed", "Fri, 13 Mar 2026 12:00:00 +0000")
    assert whole["Subject"] == "Delayed: order"
    assert "You need not send it again" in human.get_content()


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("127.0.0.1", "dns; [127.0.0.1]"),
        ("2001:db8::1", "dns; [IPv6:2001:db8::1]"),
        ("mx\\010.x", "dns; mx?010.x"),
    ],
)
def test_a_host_is_a_name_or_an_address_in_brackets(host: str, shown: str) -> None:
    """RFC 3464 §2.1.2."""
    _, [_, machine, _] = parts(compose(replace(STATUS, recipients=(replace(REFUSED, remote_mta=host),))))

    assert groups(machine)[1]["Remote-MTA"] == shown


def test_the_whole_message_is_returned_where_it_is_asked_for() -> None:
    _, [_, _, returned] = parts(compose(original=replace(ORIGINAL, body=b"hello\r\n")))

    assert returned.get_content_type() == "message/rfc822"
    assert returned.get_content().get_content().splitlines() == ["hello"]


def test_of_a_large_message_the_header_is_returned() -> None:
    """RFC 3461 §6.2."""
    large = b"x" * 70 + b"\r\n"
    _, [_, _, returned] = parts(compose(original=replace(ORIGINAL, body=large * 2000)))

    assert returned.get_content_type() == "text/rfc822-headers"


def test_an_eight_bit_message_is_returned_in_seven_bits() -> None:
    headers = HEADERS + b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
    made = compose(original=replace(ORIGINAL, headers=headers, body="grüße\r\n".encode()))
    _, [_, _, returned] = parts(made)

    assert octets(made).isascii()
    assert returned.get_content_type() == "message/rfc822"
    assert returned.get_content().get_content().splitlines() == ["grüße"]


def test_of_an_eight_bit_message_that_somebody_signed_the_header_is_returned() -> None:
    headers = HEADERS + b"DKIM-Signature: v=1; b=x\r\nContent-Type: text/plain; charset=utf-8\r\n"
    made = compose(original=replace(ORIGINAL, headers=headers, body="grüße\r\n".encode()))

    assert octets(made).isascii()
    assert parts(made)[1][2].get_content_type() == "text/rfc822-headers"


def test_a_header_in_an_old_charset_is_returned_encoded() -> None:
    headers = HEADERS + "X-Note: grüße\r\n".encode("latin-1")
    made = compose(original=replace(ORIGINAL, headers=headers))
    returned = parts(made)[1][2]

    assert octets(made).isascii()
    assert returned.get_param("charset") == "unknown-8bit"
    assert returned.get_payload(decode=True) == headers


def test_utf8_that_has_no_other_form_makes_parts_of_type_global() -> None:
    """RFC 6533 §4, §6: in 7 bits all the same."""
    headers = "From: bücher@acme.example\r\nSubject: x\r\n".encode()
    given = replace(
        REFUSED, address="jörg@example.net", orcpt="utf-8;jörg@example.org", diagnostic="550 für jörg"
    )
    made = compose(
        replace(STATUS, recipients=(given,)),
        replace(ORIGINAL, headers=headers, body="grüße\r\n".encode(), needs_utf8=True),
    )
    _, [_, machine, returned] = parts(made)

    def decoded(part: Message) -> str:
        return base64.b64decode(part.as_bytes().partition(b"\n\n")[2]).decode()

    assert octets(made).isascii()
    assert machine.get_content_type() == "message/global-delivery-status"
    assert "Final-Recipient: utf-8; jörg@example.net\r\n" in decoded(machine)
    assert "Original-Recipient: utf-8; jörg@example.org\r\n" in decoded(machine)
    assert "Diagnostic-Code: smtp; 550 für jörg\r\n" in decoded(machine)
    assert returned.get_content_type() == "message/global"
    assert decoded(returned) == headers.decode() + "\r\ngrüße\r\n"


def test_a_submitter_with_a_utf8_address_gets_a_message_that_says_so() -> None:
    made = compose(to=Mailbox("", "jörg", "acme.example"))

    assert made.needs_utf8
    assert "To: jörg@acme.example\r\n".encode() in made.headers


def test_a_message_id_that_is_none_is_not_answered() -> None:
    """RFC 5322 §3.6.4: a reader would be led astray."""
    whole, _ = parts(compose(original=replace(ORIGINAL, message_id="1 of <many>")))

    assert whole["In-Reply-To"] is None


def test_a_delimiter_in_the_message_cannot_end_its_part() -> None:
    """The boundary is fresh; should somebody guess it all the same, nothing breaks."""
    _, made = parts(compose(original=replace(ORIGINAL, body=b"--=_msg_9--\r\nfree\r\n")))

    assert [part.get_content_type() for part in made][2] == "text/rfc822-headers"


_WORDS = st.text(st.characters(exclude_categories=("Cs",)), max_size=300)


@given(reply=_WORDS.map(lambda t: "".join(c if c.isprintable() else " " for c in t)), subject=_WORDS)
def test_whatever_a_peer_or_a_subject_says_stays_in_its_place(reply: str, subject: str) -> None:
    status = replace(STATUS, recipients=(replace(REFUSED, diagnostic=reply),))
    made = compose(status, replace(ORIGINAL, subject=subject))
    _, [_, machine, _] = parts(made)

    assert octets(made).isascii()
    assert max(map(len, octets(made).split(b"\r\n"))) <= 998
    assert [set(g) - {"Diagnostic-Code"} for g in groups(machine)][1] == {
        "Original-Recipient", "Final-Recipient", "Action", "Status", "Remote-MTA", "Last-Attempt-Date",
    }  # fmt: skip
    assert len(groups(machine)) == 2
