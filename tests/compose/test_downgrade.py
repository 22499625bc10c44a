"""8-bit mail for 7-bit peers decodes to what its submitter wrote (RFC 6152 §3, RFC 2045 §6)."""

from __future__ import annotations

import email
import email.policy
import zlib
from email.message import Message
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.compose.downgrade import DEPTH, CannotDowngrade, to_7bit
from mailer.compose.malformed import MalformedMessage
from mailer.compose.submitted import receive
from tests.compose.submissions import ARRIVAL, ODD_MESSAGES, WHOLE, read_message

MIME = WHOLE + b"MIME-Version: 1.0\r\n"
TEXT = b"Content-Type: text/plain; charset=utf-8\r\n"
EIGHT = b"Content-Transfer-Encoding: 8bit\r\n"
QUOTED = b"Content-Transfer-Encoding: quoted-printable\r\n"
BASE64 = b"Content-Transfer-Encoding: base64\r\n"
MIXED = b'Content-Type: multipart/mixed; boundary="b 1"\r\n'
GREETING = b"Viele sch\xc3\xb6ne Gr\xc3\xbc\xc3\x9fe aus Oberammergau"
QUOTED_GREETING = b"Viele sch=C3=B6ne Gr=C3=BC=C3=9Fe aus Oberammergau"


def parts(*bodies: bytes, boundary: bytes = b"b 1") -> bytes:
    return b"".join(b"--%b\r\n%b\r\n" % (boundary, body) for body in bodies) + b"--%b--\r\n" % boundary


def contents(headers: bytes, body: bytes) -> list[tuple[str, str | None, object]]:
    """Type, charset and decoded content of each leaf, as the stdlib's parser reads them."""
    message = email.message_from_bytes(headers + b"\r\n" + body, policy=email.policy.compat32)
    return [
        (part.get_content_type(), str(part.get_param("charset")), _content(part))
        for part in message.walk()
        if not part.is_multipart()
    ]


def _content(part: Message) -> bytes:
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    return content


@pytest.mark.parametrize(
    ("headers", "body", "in_7bit"),
    [
        (MIME + TEXT, b"Hello\r\n", (MIME + TEXT, b"Hello\r\n")),
        (MIME + TEXT + EIGHT, b"Hello\r\n", (MIME + TEXT + EIGHT, b"Hello\r\n")),
        (
            MIME + EIGHT + TEXT,
            GREETING + b"\r\n. \r\n",
            (MIME + QUOTED + TEXT, QUOTED_GREETING + b"\r\n.=20\r\n"),
        ),
        (MIME + TEXT, GREETING, (MIME + TEXT + QUOTED, QUOTED_GREETING)),
        (
            MIME + TEXT + b"content-transfer-encoding:\r\n 8BIT (x)\r\n",
            GREETING,
            (MIME + TEXT + QUOTED, QUOTED_GREETING),
        ),
        (MIME + TEXT, b"\xc3\xbc\r\n", (MIME + TEXT + BASE64, b"w7wNCg==\r\n")),
        (
            MIME + b"Content-Type: application/x\r\n" + EIGHT,
            GREETING,
            (
                MIME + b"Content-Type: application/x\r\n" + BASE64,
                b"VmllbGUgc2Now7ZuZSBHcsO8w59lIGF1cyBPYmVyYW1tZXJnYXU=\r\n",
            ),
        ),
        (
            WHOLE,
            GREETING,
            (MIME + b"Content-Type: text/plain; charset=utf-8\r\n" + QUOTED, QUOTED_GREETING),
        ),
        (
            WHOLE,
            b"viele Gr\xfc\xdfe aus\r\n",
            (
                MIME + b"Content-Type: text/plain; charset=unknown-8bit\r\n" + QUOTED,
                b"viele Gr=FC=DFe aus\r\n",
            ),
        ),
        (WHOLE + TEXT, GREETING, (WHOLE + TEXT + b"MIME-Version: 1.0\r\n" + QUOTED, QUOTED_GREETING)),
        (
            MIME + MIXED + EIGHT,
            b"pre\r\n"
            + parts(b"\r\nascii  ", TEXT + EIGHT + b"\r\n" + GREETING, b"X: y\r\n\r\n" + GREETING)
            + b"post",
            (
                MIME + MIXED + b"Content-Transfer-Encoding: 7bit\r\n",
                b"pre\r\n"
                + parts(
                    b"\r\nascii  ",
                    TEXT + QUOTED + b"\r\n" + QUOTED_GREETING,
                    b"X: y\r\n" + QUOTED + b"\r\n" + QUOTED_GREETING,
                )
                + b"post",
            ),
        ),
        (
            MIME + MIXED,
            parts(b"\r\n" + GREETING, b"Content-Type: multipart/signed; boundary=s\r\n\r\n--s\r\n"),
            (
                MIME + MIXED,
                parts(
                    QUOTED + b"\r\n" + QUOTED_GREETING,
                    b"Content-Type: multipart/signed; boundary=s\r\n\r\n--s\r\n",
                ),
            ),
        ),
    ],
)
def test_only_what_is_8bit_is_encoded(headers: bytes, body: bytes, in_7bit: tuple[bytes, bytes]) -> None:
    """The second but last: RFC 1428 §3."""
    assert to_7bit(headers, body) == in_7bit


def test_a_soft_line_break_makes_no_delimiter() -> None:
    body = parts(b"\r\n\xc3\xbc" + b"x" * 69 + b"--b 1 " + b"y" * 80)
    headers, encoded = to_7bit(MIME + MIXED, body)

    assert contents(headers, encoded) == contents(MIME + MIXED, body)
    assert BASE64 in encoded


@pytest.mark.parametrize(
    ("headers", "body", "why"),
    [
        (MIME + b"Subject: Gr\xc3\xbc\xc3\x9fe\r\n", b"Hi\r\n", "header field"),
        (b"DKIM-Signature: v=1\r\n" + MIME, GREETING, "signature"),
        (b"ARC-Message-Signature: i=1\r\n" + MIME, GREETING, "signature"),
        (MIME + b"Content-Type: multipart/signed; boundary=s\r\n", GREETING, "signed or encrypted"),
        (MIME + b"Content-Type: Multipart/Encrypted; boundary=s\r\n", GREETING, "signed or encrypted"),
        (MIME + b"Content-Type: message/rfc822\r\n", b"\r\n" + GREETING, "enclosed"),
        (MIME + b"Content-Type: message/partial\r\n", b"\r\n" + GREETING, "enclosed"),
        (MIME + MIXED.replace(b"mixed", b"digest"), parts(b"\r\n\r\n" + GREETING), "enclosed"),
        (MIME + BASE64, GREETING, "encoded"),
        (MIME + QUOTED, GREETING, "encoded"),
        (MIME + b"Content-Transfer-Encoding: 8bit 8bit\r\n", GREETING, "encoded"),
        (MIME + MIXED + BASE64, parts(b"\r\n" + GREETING), "encoded"),
        (MIME + EIGHT + EIGHT, GREETING, "twice"),
        (MIME + TEXT + TEXT, GREETING, "twice"),
        (MIME + b"Content-Type: text\r\n", GREETING, "what it is"),
        (MIME + b"Content-Type: multipart/mixed\r\n", GREETING, "parts begin"),
        (MIME + b"Content-Type: multipart/mixed; boundary=\r\n", GREETING, "parts begin"),
        (MIME + b"Content-Type: multipart/mixed; boundary=a; boundary=b\r\n", GREETING, "parts begin"),
        (MIME + MIXED, GREETING, "no end"),
        (MIME + MIXED, b"--b 1\r\n\r\n" + GREETING + b"\r\n--b 12--\r\n", "no end"),
        (MIME + MIXED, parts(*[b"\r\n\xff"] * 10_001), "parts"),
        (MIME + MIXED, GREETING + b"\r\n" + parts(b"\r\n"), "outside"),
        (MIME + MIXED, parts(b"\r\n") + GREETING, "outside"),
        (MIME + MIXED, parts(GREETING), "header field"),
        (MIME + MIXED, parts(b"no field\r\n\r\n" + GREETING), "damaged header"),
    ],
)
def test_what_must_not_or_cannot_be_encoded_is_refused(headers: bytes, body: bytes, why: str) -> None:
    with pytest.raises(CannotDowngrade, match=why) as refused:
        to_7bit(headers, body)

    assert refused.value.status == "5.6.3"


@pytest.mark.parametrize(("depth", "is_taken"), [(DEPTH, True), (DEPTH + 1, False), (1000, False)])
def test_a_nest_of_multiparts_is_entered_so_far(depth: int, is_taken: bool) -> None:
    body = b"\r\n" + GREETING
    for level in range(depth):
        body = b"Content-Type: multipart/mixed; boundary=%d\r\n\r\n" % level + parts(
            body, boundary=b"%d" % level
        )
    head, _, body = (MIME + body).partition(b"\r\n\r\n")

    assert _is_taken(head + b"\r\n", body) == is_taken


def _is_taken(headers: bytes, body: bytes) -> bool:
    try:
        to_7bit(headers, body)
    except CannotDowngrade:
        return False
    return True


def _multipart(*made: bytes) -> bytes:
    """Under a boundary of its own."""
    boundary = b"n%d" % zlib.crc32(b"".join(made))
    return b'Content-Type: multipart/mixed;\r\n\tboundary="%b"\r\n\r\n' % boundary + parts(
        *made, boundary=boundary
    )


_LINES = st.lists(
    st.sampled_from([b"\r\n", b" ", b"\t", b".", b"From x", b"=3D", b"--b", b"\xc3\xbc", b"\xff", b"x" * 70]),
    max_size=30,
).map(b"".join)
_TYPES = st.sampled_from(
    [b"", TEXT, b"Content-Type: text/html\r\n", b"Content-Type: image/png\r\n", TEXT + EIGHT, EIGHT]
)
_LEAVES = st.tuples(_TYPES, _LINES).map(b"\r\n".join)
_ENTITIES = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, min_size=1, max_size=3).map(lambda made: _multipart(*made)),
    max_leaves=6,
)


@given(_ENTITIES)
def test_the_stdlib_decodes_the_same_content(entity: bytes) -> None:
    head, _, body = (MIME + entity).partition(b"\r\n\r\n")
    head += b"\r\n"

    headers, encoded = to_7bit(head, body)

    assert (headers + encoded).isascii()
    assert max(map(len, encoded.split(b"\r\n"))) <= 998
    assert contents(headers, encoded) == contents(head, body)


@given(
    st.binary(max_size=200), st.lists(st.sampled_from([b"--b\r\n", b"\r\n", b"\r\n--b--", b"\xff", b"A: b"]))
)
def test_nothing_raises_but_cannot_downgrade(octets: bytes, lines: list[bytes]) -> None:
    body = octets + b"".join(lines)
    try:
        headers, encoded = to_7bit(MIME + b"Content-Type: multipart/mixed; boundary=b\r\n", body)
    except CannotDowngrade:
        return

    assert (headers + encoded).isascii()


@pytest.mark.parametrize("path", ODD_MESSAGES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_an_odd_message_keeps_its_content_or_is_refused(path: Path) -> None:
    try:
        found = receive(read_message(path), ARRIVAL, is_utf8=False)
        headers, body = to_7bit(found.headers, found.body)
    except (MalformedMessage, CannotDowngrade):
        return

    assert (headers + body).isascii()
    assert contents(headers, body) == contents(found.headers, found.body)
