"""Composed messages as a strict parser reads them (RFC 5322, RFC 2045, RFC 2046)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest
from hypothesis import HealthCheck, given, settings
from msgspec.structs import replace

from mailer.compose.address import parse_mailbox
from mailer.compose.headers import HeaderError
from mailer.compose.mime import Composed, Draft, compose
from tests.compose.drafts import drafts

DATE = datetime(2026, 11, 22, 9, 5, 3, tzinfo=UTC)
MESSAGE_ID = "<msg_0123456789abc@b.example>"
BOUNDARY = "=_b"
NOTE = Draft(
    from_=parse_mailbox("Alice <alice@b.example>"),
    to=(parse_mailbox("bob@c.example"),),
    cc=(),
    reply_to=(),
    subject="Hello",
    text="Hello, Bob\n",
    html=None,
)
# A draft costs a millisecond to compose and ten to read back with Python's parser.
_MODERATE = settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow], deadline=None)


def _compose(draft: Draft, *, date: datetime = DATE, boundary: str = BOUNDARY) -> Composed:
    return compose(draft, message_id=MESSAGE_ID, date=date, boundary=boundary)


def _parsed(composed: Composed) -> EmailMessage:
    message = message_from_bytes(composed.headers + b"\r\n" + composed.body, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def _texts(message: EmailMessage) -> dict[str, str]:
    leaves = [part for part in message.walk() if not part.is_multipart()]
    return {part.get_content_type(): part.get_content().replace("\r\n", "\n") for part in leaves}


def _as_sent(text: str) -> str:
    """Lines of `text` as mail knows them: each ended, the last too."""
    lines = re.sub("\r\n?", "\n", text)
    return lines if not lines or lines.endswith("\n") else lines + "\n"


def _with(**changes: object) -> Draft:
    return replace(NOTE, **changes)  # type: ignore[arg-type]


def test_a_short_note_is_as_plain_as_mail_gets() -> None:
    composed = _compose(NOTE)

    assert composed.headers + b"\r\n" + composed.body == (
        b"From: Alice <alice@b.example>\r\n"
        b"To: bob@c.example\r\n"
        b"Subject: Hello\r\n"
        b"Date: Sun, 22 Nov 2026 09:05:03 +0000\r\n"
        b"Message-ID: <msg_0123456789abc@b.example>\r\n"
        b"MIME-Version: 1.0\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: 7bit\r\n"
        b"\r\n"
        b"Hello, Bob\r\n"
    )


@given(drafts(ascii_only=True))
@_MODERATE
def test_every_field_and_every_text_reads_back(draft: Draft) -> None:
    message = _parsed(_compose(draft))

    assert message["Subject"] == draft.subject
    assert message["Message-ID"] == MESSAGE_ID
    assert message["Date"].datetime == DATE
    assert [(a.username, a.domain) for a in message["From"].addresses] == [
        (draft.from_.local, draft.from_.domain)
    ]
    assert [(message[name]) for name, _ in draft.headers] == [value for _, value in draft.headers]
    wanted = {"text/plain": draft.text, "text/html": draft.html}
    given_texts = {kind: _as_sent(text) for kind, text in wanted.items() if text is not None}
    assert _texts(message) == (given_texts or {"text/plain": ""})


@given(drafts(ascii_only=True))
@_MODERATE
def test_a_strict_parser_finds_no_defect(draft: Draft) -> None:
    message = _parsed(_compose(draft))

    assert [part.defects for part in message.walk() if part.defects] == []
    assert [value.defects for value in message.values() if value.defects] == []


@given(drafts())
@_MODERATE
def test_the_bytes_are_seven_bit_lines_whatever_the_draft(draft: Draft) -> None:
    """RFC 5322 §2.1.1; only an address without ASCII form may need UTF-8 in the header (RFC 6532 §3.2)."""
    composed = _compose(draft)

    people = (draft.from_, *draft.to, *draft.cc, *draft.reply_to)
    assert composed.needs_utf8 is any(m.needs_utf8 for m in people)
    assert composed.headers.isascii() is not composed.needs_utf8
    assert composed.body.isascii()
    whole = composed.headers + b"\r\n" + composed.body
    assert whole.count(b"\r\n") == whole.count(b"\r") == whole.count(b"\n")
    assert b"\x00" not in whole
    assert max(map(len, whole.split(b"\r\n"))) <= 998
    assert max(map(len, composed.body.split(b"\r\n"))) <= 78
    assert whole.endswith(b"\r\n")


@given(drafts())
@_MODERATE
def test_no_line_of_a_body_invites_a_mail_store_to_change_it(draft: Draft) -> None:
    """RFC 4155: mbox puts ">" before "From ", and the signature is broken."""
    assert b"\nFrom " not in b"\n" + _compose(draft).body


def test_who_is_in_the_lists_is_in_the_fields() -> None:
    draft = _with(
        to=(parse_mailbox('"Smith, Bob" <bob@c.example>'), parse_mailbox("Zoë <zoe@bücher.example>")),
        cc=(parse_mailbox("carol@c.example"),),
        reply_to=(parse_mailbox("help@b.example"),),
    )

    message = _parsed(_compose(draft))

    assert [str(a) for a in message["To"].addresses] == [
        '"Smith, Bob" <bob@c.example>',
        "Zoë <zoe@xn--bcher-kva.example>",
    ]
    assert message["Cc"] == "carol@c.example"
    assert message["Reply-To"] == "help@b.example"
    assert "Bcc" not in message


def test_without_a_visible_recipient_to_is_an_empty_group() -> None:
    """RFC 5322 §3.4: Bcc recipients alone must not show, and a message without To looks like spam."""
    message = _parsed(_compose(_with(to=())))

    assert message["To"] == "undisclosed-recipients:;"
    assert message["To"].addresses == ()


def test_a_copy_recipient_alone_needs_no_to() -> None:
    message = _parsed(_compose(_with(to=(), cc=(parse_mailbox("carol@c.example"),))))

    assert "To" not in message


@pytest.mark.parametrize(
    ("text", "html", "content_type"),
    [
        ("a", None, "text/plain"),
        (None, "<p>a</p>", "text/html"),
        ("a", "<p>a</p>", "multipart/alternative"),
        (None, None, "text/plain"),
    ],
)
def test_the_structure_follows_what_was_given(text: str | None, html: str | None, content_type: str) -> None:
    message = _parsed(_compose(_with(text=text, html=html)))

    assert message.get_content_type() == content_type


def test_html_is_the_last_alternative() -> None:
    """RFC 2046 §5.1.4: the richest form stands last."""
    message = _parsed(_compose(_with(text="a", html="<p>a</p>")))

    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("plain\n", "7bit"),
        ("", "7bit"),
        ("x" * 78, "7bit"),
        ("x" * 79, "quoted-printable"),
        ("Grüße aus dem Büro, und bis bald\n", "quoted-printable"),
        ("nul \x00 and form feed \x0c", "quoted-printable"),
        ("From here\n", "quoted-printable"),
        ("Hello\nFrom here\n", "quoted-printable"),
        ("Привет из Москвы\n", "base64"),
        ("日本語のメール\n", "base64"),
    ],
)
def test_the_encoding_fits_the_text(text: str, encoding: str) -> None:
    message = _parsed(_compose(_with(text=text)))

    assert message["Content-Transfer-Encoding"] == encoding
    assert _texts(message)["text/plain"] == _as_sent(text)


@pytest.mark.parametrize(
    "text",
    [
        "--=_b\n",
        "--=_b--\n",
        "a\n--=_b\nb\n",
        "é\n--=_b--\n",
        "--plain\n",
        "--plain--\n" + "é" * 5,
        "x" * 80 + "\n--plain",
    ],
)
@pytest.mark.parametrize("boundary", ["=_b", "plain"])
def test_text_that_holds_the_boundary_does_not_end_its_part(text: str, boundary: str) -> None:
    composed = _compose(_with(text=text, html="<p>after</p>\n"), boundary=boundary)

    message = _parsed(composed)
    assert composed.body.count(b"--" + boundary.encode()) == 3
    assert _texts(message) == {"text/plain": _as_sent(text), "text/html": "<p>after</p>\n"}


def test_half_a_character_is_shown_as_unknown() -> None:
    message = _parsed(_compose(_with(text="a\ud800b")))

    assert _texts(message)["text/plain"] == "a?b\n"


def test_the_date_is_in_utc_and_english() -> None:
    """RFC 5322 §3.3; a zone of the server would tell where it stands."""
    date = datetime(2026, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=2)))

    message = _parsed(_compose(NOTE, date=date))

    assert message["Date"] == "Wed, 31 Dec 2025 22:30:00 +0000"


def test_a_naive_date_is_our_bug() -> None:
    with pytest.raises(ValueError, match="aware"):
        _compose(NOTE, date=datetime(2026, 1, 1))  # noqa: DTZ001


@pytest.mark.parametrize("boundary", ["", "a b", 'a"b', "a\r\nb", "x" * 61, "ü"])
def test_a_boundary_that_is_none_is_our_bug(boundary: str) -> None:
    with pytest.raises(ValueError, match="boundary"):
        _compose(NOTE, boundary=boundary)


@pytest.mark.parametrize(
    "draft",
    [
        _with(subject="Hello\r\nBcc: eve@c.example"),
        _with(subject="a\x00b"),
        _with(headers=(("X-A", "b\r\nBcc: eve@c.example"),)),
        _with(headers=(("X-A: b\r\nBcc", "eve@c.example"),)),
        _with(headers=(("Bcc", "eve@c.example"),)),
    ],
)
def test_a_field_cannot_smuggle_in_another(draft: Draft) -> None:
    """The last gate: doors check too, and name the place."""
    with pytest.raises(HeaderError):
        _compose(draft)


def test_the_same_draft_makes_the_same_bytes() -> None:
    assert _compose(NOTE) == _compose(NOTE)
