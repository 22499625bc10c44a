"""What becomes of a message that a submitter wrote (RFC 6409 §8)."""

from __future__ import annotations

import email
import email.policy
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.compose.address import Mailbox
from mailer.compose.malformed import (
    AuthorError,
    HeaderBlockError,
    LineError,
    MalformedMessage,
)
from mailer.compose.submitted import receive
from tests.compose.submissions import (
    ARRIVAL,
    DATE,
    FROM,
    ID,
    ODD_MESSAGES,
    RECEIVED,
    WHOLE,
    read_message,
    sent,
    taken,
)


@pytest.mark.parametrize(
    ("header", "headers"),
    [
        (WHOLE, WHOLE),
        (FROM + ID, FROM + ID + b"Date: Sat, 31 Jan 2026 09:05:03 +0000\r\n"),
        (FROM + DATE, FROM + DATE + b"Message-ID: <msg_0123456789abc@b.example>\r\n"),
        (FROM + b"Date: \r\n" + ID, FROM + ID + b"Date: Sat, 31 Jan 2026 09:05:03 +0000\r\n"),
        (WHOLE + b"Bcc: c@d.example,\r\n e@f.example\r\nTo: x\r\n", WHOLE + b"To: x\r\n"),
        (WHOLE + b"BCC:\r\nresent-bcc: x@y.example\r\n", WHOLE),
        (b"Return-Path: <x@y.example>\r\n" + WHOLE, WHOLE),
        (WHOLE + b"X-Mailer-Ref: abc\r\nX-Mailer: PHP\r\n", WHOLE + b"X-Mailer: PHP\r\n"),
        (WHOLE + b"Subject : x\r\nTo\t :y@z.example\r\n", WHOLE + b"Subject: x\r\nTo:y@z.example\r\n"),
        (b"From a@b.example Fri Jan 30 09:05:03 2026\r\n" + WHOLE, WHOLE),
        (b">From a@b.example Fri Jan 30 09:05:03 2026\r\n" + WHOLE, WHOLE),
        (b"From : a@b.example\r\n" + DATE + ID, WHOLE),
        (WHOLE + b"Subject: 1\r\nSubject: 2\r\n" + DATE, WHOLE + b"Subject: 1\r\nSubject: 2\r\n" + DATE),
        (WHOLE + b"X:\r\n\t a\t\r\n  b \r\nY:\r\n", WHOLE + b"X:\r\n\t a\t\r\n  b \r\nY:\r\n"),
    ],
)  # fmt: skip
def test_only_these_header_fields_change(header: bytes, headers: bytes) -> None:
    """RFC 6409 §8.2, §8.3; RFC 5322 §3.6.3, §4.5."""
    assert sent(header) == headers


def test_what_was_taken_out_is_told() -> None:
    removed = taken(
        b"From x\r\nReturn-Path: <>\r\n" + WHOLE + b"Bcc: c@d.example,\r\n e@f.example\r\n"
    ).removed

    assert [field.name for field in removed] == ["", "return-path", "bcc"]
    assert removed[2].value == b"c@d.example, e@f.example"


@pytest.mark.parametrize(
    ("header", "message_id"),
    [
        (WHOLE, "<1@b.example>"),
        (FROM, "<msg_0123456789abc@b.example>"),
        (FROM + b"Message-ID:\r\n <a@b>\r\nmessage-id: <2@b>\r\n", "<a@b>"),
    ],
)
def test_the_message_id_is_known(header: bytes, message_id: str) -> None:
    assert taken(header).message_id == message_id


@pytest.mark.parametrize(
    ("message", "body"),
    [
        (WHOLE + b"\r\nHi", b"Hi"),
        (WHOLE + b"\r\n", b""),
        (WHOLE, b""),
        (WHOLE.removesuffix(b"\r\n"), b""),
        (WHOLE + b"\r\n\r\n \r\n.\r\nFrom me\r\n", b"\r\n \r\n.\r\nFrom me\r\n"),
    ],
)
def test_the_body_is_everything_after_the_first_empty_line(message: bytes, body: bytes) -> None:
    found = receive(message, ARRIVAL, is_utf8=False)

    assert found.body == body
    assert found.headers == RECEIVED + WHOLE


@pytest.mark.parametrize(
    "message",
    [
        b"Hello\r\n\r\n",
        WHOLE + b"no field\r\n\r\nHi\r\n",
        WHOLE + b"no field: x\r\n\r\nHi\r\n",
        WHOLE + b": x\r\n\r\n",
        WHOLE + b"Gr\xc3\xbc\xc3\x9fe: x\r\n\r\n",
        b" folded: first\r\n" + WHOLE + b"\r\n",
        WHOLE + b"Subject: x\r\n \t\r\n folded\r\n\r\n",
        WHOLE + b" \r\nHi\r\n",
        WHOLE + b"From me\r\n\r\nHi\r\n",
        b"From x\r\nFrom y\r\n" + WHOLE + b"\r\n",
        b"\xef\xbb\xbf" + WHOLE + b"\r\n",
        WHOLE + b"X: y\r\n" * 50_000 + b"\r\n",
        WHOLE + b"X: y\r\n" * 50_000,
        WHOLE + b"Subject: a\x0bb\r\n\r\n",
        WHOLE + b"Subject: a\x0c\r\n\r\n",
        WHOLE + b"To: " + b",\r\n ".join([b"y" * 70] * 1000) + b"\r\n\r\n",
        WHOLE + b"To: y\r\n" * 21 + b"\r\n",
    ],
)
def test_a_header_that_readers_could_take_differently_is_refused(message: bytes) -> None:
    with pytest.raises(HeaderBlockError) as refused:
        receive(message, ARRIVAL, is_utf8=False)

    assert refused.value.status == "5.6.0"


@pytest.mark.parametrize(
    "message",
    [
        WHOLE + b"\r\na\nb\r\n",
        WHOLE + b"\r\na\rb\r\n",
        WHOLE + b"\n\nHi",
        WHOLE + b"\r\r\n",
        WHOLE + b"\r\nHi\r",
        WHOLE + b"\r\na\0b\r\n",
        WHOLE + b"\r\n" + b"x" * 999,
        WHOLE + b"\r\n" + b"x" * 999 + b"\r\n",
        WHOLE + b"\r\n" + b"Hi\r\n" * 300 + b"x" * 999 + b"\r\nHi\r\n",
        WHOLE + b"Subject: " + b"x" * 990 + b"\r\n\r\n",
    ],
)
def test_a_line_no_host_must_take_is_refused(message: bytes) -> None:
    """RFC 5321 §2.3.8, §4.5.3.1.6."""
    with pytest.raises(LineError):
        receive(message, ARRIVAL, is_utf8=False)


@pytest.mark.parametrize("end", [b"", b"\r\n"])
def test_a_line_of_998_octets_is_taken(end: bytes) -> None:
    body = (b"x" * 998 + b"\r\n") * 3 + b"y" * 998 + end

    assert taken(WHOLE, body).body == body


@pytest.mark.parametrize(
    ("header", "field"),
    [
        (DATE, "From"),
        (b"", "From"),
        (FROM + b"FROM : c@d.example\r\n", "From"),
        (b"From: nobody\r\n", "From"),
        (FROM + b"Sender: nobody\r\n", "Sender"),
        (FROM + b"Sender:\r\n", "Sender"),
    ],
)
def test_from_stands_once_and_whoever_sends_is_readable(header: bytes, field: str) -> None:
    """RFC 7489 §6.6.1: receivers refuse what has no author or more than one From."""
    with pytest.raises(AuthorError) as refused:
        taken(header)

    assert refused.value.field == field


def test_authors_and_senders_are_told_apart() -> None:
    found = taken(
        b"From: Z\xf6e <a@b.example>,\r\n c@d.example\r\nSender: S <s@e.example>\r\nSender: t@e.example\r\n"
    )

    assert found.authors == (Mailbox("", "a", "b.example"), Mailbox("", "c", "d.example"))
    assert found.senders == (Mailbox("", "s", "e.example"), Mailbox("", "t", "e.example"))


@pytest.mark.parametrize(
    ("header", "body", "is_utf8", "is_8bit", "needs_utf8"),
    [
        (b"", b"Hi\r\n", False, False, False),
        (b"", b"Hi\r\n", True, False, False),
        (b"", b"Gr\xc3\xbc\xc3\x9fe\r\n", False, True, False),
        (b"", b"Gr\xfc\xdfe\r\n", True, True, False),
        (b"Subject: Gr\xc3\xbc\xc3\x9fe\r\n", b"", False, True, False),
        (b"Subject: Gr\xc3\xbc\xc3\x9fe\r\n", b"", True, True, True),
        (b"Subject: Gr\xfc\xdfe\r\n", b"", True, True, False),
        (b"To: Zo\xc3\xab <z@c.example>\r\n", b"", False, True, True),
        (b"Reply-To: zo\xc3\xab@c.example\r\n", b"", False, True, True),
        (b"To: Zo\xeb <z@c.example>\r\n", b"", False, True, False),
        (b"Bcc: zo\xc3\xab@c.example\r\n", b"", True, False, False),
    ],
)  # fmt: skip
def test_what_a_peer_must_offer_is_seen_from_the_octets(
    header: bytes, body: bytes, is_utf8: bool, is_8bit: bool, needs_utf8: bool
) -> None:
    """RFC 6152 §2, RFC 6532 §3.2, whatever BODY= the client declared."""
    found = taken(WHOLE + header, body, is_utf8=is_utf8)

    assert (found.is_8bit, found.needs_utf8) == (is_8bit, needs_utf8)


_NAMES = st.sampled_from(
    ["Subject", "To", "Bcc", "Date", "Message-ID", "Return-Path", "Received", "X-Mailer", "Content-Type",
     "X-Mailer-Ref", "X-Mailer-Tags", "Sender", "Comments", "DKIM-Signature"]
)  # fmt: skip
_VALUES = st.lists(
    st.sampled_from([b"a@b.example", b"word", b" ", b"\r\n ", b"\r\n\t", b":", b"\xc3\xa9", b"\xff", b","]),
    max_size=8,
).map(lambda pieces: b"".join((*pieces, b"x")))
_FIELDS = st.tuples(_NAMES, _VALUES).map(lambda pair: pair[0].encode() + b":" + pair[1] + b"\r\n")
_BODIES = st.lists(st.sampled_from([b"\r\n", b".", b"From x", b"\xff", b" ", b"a: b"]), max_size=20).map(
    b"".join
)


def _fields(block: bytes) -> list[bytes]:
    """Each field with its continuations."""
    lines = block.replace(b"\r\n ", b"\0 ").replace(b"\r\n\t", b"\0\t").split(b"\r\n")
    return [line.replace(b"\0", b"\r\n") for line in lines if line]


def _stays(field: bytes) -> bool:
    name = field.partition(b":")[0].lower()
    return name not in {b"bcc", b"return-path"} and not name.startswith(b"x-mailer-")


@given(st.lists(_FIELDS, max_size=8), st.lists(_FIELDS, max_size=8), _BODIES)
def test_what_is_not_named_above_keeps_its_octets(
    before: list[bytes], after: list[bytes], body: bytes
) -> None:
    header = b"".join((*before, FROM, *after))
    try:
        found = taken(header, body)
    except MalformedMessage:
        return

    fields = _fields(found.headers)
    kept = [field for field in _fields(header) if _stays(field)]
    assert found.body == body
    assert fields[0] == RECEIVED.removesuffix(b"\r\n")
    assert fields[1 : 1 + len(kept)] == kept
    assert {f.partition(b":")[0] for f in fields[1 + len(kept) :]} <= {b"Date", b"Message-ID"}


@given(st.lists(_FIELDS, max_size=8), _BODIES)
def test_the_stdlib_reads_the_same_fields_as_before(others: list[bytes], body: bytes) -> None:
    header = b"".join((FROM, DATE, ID, *filter(_stays, others)))
    try:
        found = taken(header, body)
    except MalformedMessage:
        return

    theirs = email.message_from_bytes(header + b"\r\n" + body, policy=email.policy.compat32)
    ours = email.message_from_bytes(found.headers + b"\r\n" + found.body, policy=email.policy.compat32)
    assert ours.items()[1:] == theirs.items()
    assert ours.keys()[0] == "Received"
    assert ours.get_payload() == theirs.get_payload()


@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda octets: WHOLE + octets))
def test_no_octets_raise_but_malformed_message(octets: bytes) -> None:
    try:
        found = receive(octets, ARRIVAL, is_utf8=True)
    except MalformedMessage:
        return

    assert octets.endswith(found.body)


@pytest.mark.skipif(not ODD_MESSAGES, reason="the corpus of odd messages is not on this machine")
def test_every_odd_message_is_taken_or_refused_in_time() -> None:
    outcomes = [_outcome(path) for path in ODD_MESSAGES]

    assert max(seconds for _, seconds in outcomes) < timedelta(seconds=2)
    assert sum(outcome == "taken" for outcome, _ in outcomes) > len(outcomes) / 2


def _outcome(path: Path) -> tuple[str, timedelta]:
    begun = datetime.now(UTC)
    try:
        message = read_message(path)
        found = receive(message, ARRIVAL, is_utf8=False)
    except MalformedMessage as error:
        return type(error).__name__, datetime.now(UTC) - begun
    took = datetime.now(UTC) - begun
    assert message.endswith(found.body)
    before = b"\n" + message.partition(b"\r\n\r\n")[0].lower()
    assert (b"\n" + found.headers.lower()).count(b"\nreceived:") == before.count(b"\nreceived:") + 1
    return "taken", took
