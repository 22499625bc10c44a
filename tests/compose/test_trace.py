"""The Received field that we write, and those that others wrote (RFC 5321 §4.4)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mailer.compose import trace
from mailer.compose.address import parse_mailbox
from mailer.compose.malformed import LoopError
from mailer.compose.submitted import receive
from mailer.compose.trace import Arrival, received_field, smtp_protocol
from tests.compose.submissions import ARRIVAL, RECEIVED, WHOLE, taken


def test_a_message_that_passed_too_many_hosts_goes_round_in_circles() -> None:
    """RFC 5321 §6.3."""
    hop = b"Received: from x by y; Sat, 31 Jan 2026 09:05:03 +0000\r\n"

    assert taken(hop * 50 + WHOLE).headers == RECEIVED + hop * 50 + WHOLE
    with pytest.raises(LoopError) as refused:
        taken(hop * 51 + WHOLE)
    assert refused.value.status == "5.4.6"


@pytest.mark.parametrize(
    ("value", "is_ours"),
    [
        (b"from x\r\n\tby MX.mailer.example with ESMTPSA id msg_0am6j2hxg0800; date", True),
        (b"by mx.mailer.example with ESMTP id msg_0am6j2hxg0800\r\n\tfor <a@b.example>; date", True),
        (b"from x (y)by\tmx.mailer.example with SMTP id msg_1; date", True),
        (b"from x by mx.mailer.example with ESMTP id 4XyZ_1; date", False),
        (b"from x by mx.mailer.example (Postfix, from userid 33) id 4XyZ1; date", False),
        (b"by mx.mailer.example; date", False),
        (b"from x by other.example with ESMTP id msg_0am6j2hxg0800; date", False),
        (b"from mx.mailer.example by x; date", False),
        (b"from x by mx.mailer.example.net; date", False),
        (b"from x by y.mx.mailer.example; date", False),
    ],
)
def test_a_message_that_was_here_before_is_known(value: bytes, is_ours: bool) -> None:
    header = b"Received: " + value + b"\r\n" + WHOLE
    message = header + b"\r\n"

    assert receive(message, ARRIVAL, is_utf8=False, may_return=True).headers == RECEIVED + header
    assert _loops(message) == is_ours


def _loops(message: bytes) -> bool:
    try:
        receive(message, ARRIVAL, is_utf8=False)
    except LoopError:
        return True
    return False


@pytest.mark.parametrize(
    ("facts", "word"),
    [
        ((False, False, False, False), "SMTP"),
        ((True, False, False, False), "ESMTP"),
        ((True, False, True, False), "ESMTPA"),
        ((True, True, False, False), "ESMTPS"),
        ((True, True, True, False), "ESMTPSA"),
        ((True, True, True, True), "UTF8SMTPSA"),
        ((True, False, False, True), "UTF8SMTP"),
    ],
)
def test_the_protocol_has_its_registered_name(facts: tuple[bool, bool, bool, bool], word: str) -> None:
    """RFC 3848, RFC 6531 §4.3."""
    is_extended, is_tls, is_authenticated, is_utf8 = facts

    assert word == smtp_protocol(
        is_extended=is_extended, is_tls=is_tls, is_authenticated=is_authenticated, is_utf8=is_utf8
    )


@pytest.mark.parametrize(
    ("arrival", "field"),
    [
        (replace(ARRIVAL, client_address=None), "from app.lan\r\n\tBY; D"),
        (replace(ARRIVAL, client_name=None, client_address=None), "BY; D"),
        (
            replace(ARRIVAL, client_name="", client_address="2001:db8::7"),
            "from unknown ([IPv6:2001:db8::7])\r\n\tBY; D",
        ),
        (
            replace(ARRIVAL, client_name="a;b\r\nc(d", recipient=parse_mailbox("z@c.example")),
            "from a?b??c?d ([192.0.2.7])\r\n\tBY\r\n\tfor <z@c.example>; D",
        ),
        (
            replace(ARRIVAL, client_name=None, client_address=None, recipient=parse_mailbox("zoë@c.example")),
            "BY; D",
        ),
        (
            replace(ARRIVAL, client_name="x", client_address=None, recipient=parse_mailbox("zoë@c.example"),
                    protocol="UTF8SMTPSA"),
            "from x\r\n\tBY\r\n\tfor <zoë@c.example>; D",
        ),
    ],
)  # fmt: skip
def test_the_received_field_tells_no_more_than_it_may(arrival: Arrival, field: str) -> None:
    by = f"by {ARRIVAL.host} with {arrival.protocol} id {ARRIVAL.id}"
    wanted = field.replace("BY", by).replace("; D", "; Sat, 31 Jan 2026 09:05:03 +0000")

    assert received_field(arrival) == f"Received: {wanted}\r\n".encode()


@given(st.text(max_size=3000), st.none() | st.ip_addresses().map(str))
def test_no_client_breaks_out_of_the_received_field(name: str, address: str | None) -> None:
    field = received_field(replace(ARRIVAL, client_name=name, client_address=address))

    assert max(map(len, field.split(b"\r\n"))) <= 998
    assert field.count(b"\r\n") == field.count(b"\r\n\t") + 1 == field.count(b"\n") == field.count(b"\r")
    assert (
        trace.check_hops([field.replace(b"\r\n", b"")[10:]], replace(ARRIVAL, host="elsewhere.example"))
        is None
    )
