"""What submitters ask of this mailer in header fields that are never sent."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mailer.compose.control import Control
from mailer.compose.malformed import ControlFieldError
from tests.compose.submissions import WHOLE, sent, taken


def test_a_message_without_control_fields_asks_for_nothing() -> None:
    assert taken(WHOLE + b"X-Mailer: PHP\r\n").control == Control()


def test_control_fields_are_read_and_go() -> None:
    header = (
        b"X-Mailer-Stream: broadcast\r\nX-Mailer-Tags: invoice,\r\n 2026-q1,,\r\nx-mailer-tags: c\r\n"
        b"X-Mailer-Metadata: order = 4711=a\r\nX-Mailer-Metadata: city=K\xc3\xb6ln\r\n"
        b"X-Mailer-Metadata: e=\r\n"
        b"X-Mailer-Metadata: =?utf-8?q?land=3D=C3=96sterreich?=\r\n"
        b"X-Mailer-Idempotency-Key : k-1\r\nX-Mailer-Send-At: 2026-01-31T08:00:00.1234567+01:00\r\n"
        b"X-Mailer-Expires-At: 2026-02-01t08:00:00z\r\nX-Mailer-TLS: Required \r\nX-Mailer-Ref: forged\r\n"
    )

    assert sent(WHOLE + header) == WHOLE
    assert taken(WHOLE + header).control == Control(
        stream="broadcast",
        tags=("invoice", "2026-q1", "c"),
        metadata={"order": "4711=a", "city": "Köln", "e": "", "land": "Österreich"},
        idempotency_key="k-1",
        send_at=datetime(2026, 1, 31, 7, 0, 0, 123456, tzinfo=UTC),
        expires_at=datetime(2026, 2, 1, 8, tzinfo=UTC),
        tls="required",
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("X-Mailer-Tag", "a"),
        ("X-Mailer-", "a"),
        ("X-Mailer-Stream", ""),
        ("X-Mailer-Stream", "x" * 101),
        ("X-Mailer-Stream", "a\r\nX-Mailer-Stream: a"),
        ("X-Mailer-Tags", ", ".join("abcdefghijk")),
        ("X-Mailer-Tags", "two words"),
        ("X-Mailer-TLS", "optional"),
        ("X-Mailer-TLS", "encrypted\r\nX-Mailer-TLS: encrypted"),
        ("X-Mailer-Tags", "x" * 65),
        ("X-Mailer-Tags", "Grüße"),
        ("X-Mailer-Metadata", "order"),
        ("X-Mailer-Metadata", "=4711"),
        ("X-Mailer-Metadata", '{"order": "4711"}'),
        ("X-Mailer-Metadata", "k" * 65 + "=v"),
        ("X-Mailer-Metadata", "k=" + "v" * 501),
        ("X-Mailer-Metadata", "k=1\r\nX-Mailer-Metadata: k=2"),
        ("X-Mailer-Metadata", "\r\nX-Mailer-Metadata: ".join(f"k{n}=v" for n in range(51))),
        ("X-Mailer-Metadata", "k=\udcfc"),
        ("X-Mailer-Metadata", "k==?unknown?q?x?="),
        ("X-Mailer-Metadata", "=?utf-8?b?x?="),
        ("X-Mailer-Idempotency-Key", ""),
        ("X-Mailer-Idempotency-Key", "a b"),
        ("X-Mailer-Idempotency-Key", "x" * 256),
        ("X-Mailer-Send-At", "tomorrow"),
        ("X-Mailer-Send-At", "2026-01-31T08:00:00"),
        ("X-Mailer-Send-At", "2026-02-30T08:00:00Z"),
        ("X-Mailer-Send-At", "2026-W05-6T08:00:00Z"),
        ("X-Mailer-Expires-At", "0001-01-01T00:00:00+01:00"),
        ("X-Mailer-Expires-At", "2026-01-31T08:00:00+24:00"),
    ],
)
def test_a_control_field_that_does_not_say_what_is_wanted_is_refused_by_name(field: str, value: str) -> None:
    header = f"{field}: {value}\r\n".encode("utf-8", "surrogateescape")
    with pytest.raises(ControlFieldError, match=field) as refused:
        taken(WHOLE + header)

    assert refused.value.field == field
