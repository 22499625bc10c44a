"""`{{unsubscribe_url}}` in bodies: found in whatever encoding they have, and nothing else is changed."""

from __future__ import annotations

import base64
import quopri
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.compose.address import parse_mailbox
from mailer.compose.bodyurl import (
    STAND_IN,
    LineTooLong,
    fill_body,
    fill_draft,
    has_place,
    is_stood_in,
    stand_in,
)
from mailer.compose.mime import Draft

URL = "https://mail.acme.example/u/" + "aZ09-_" * 15
PLACE = "{{unsubscribe_url}}"
TEXT = b"Content-Type: text/plain; charset=utf-8\r\n"


def draft(text: str | None = None, html: str | None = None) -> Draft:
    return Draft(parse_mailbox("a@b.example"), (parse_mailbox("c@d.example"),), (), (), "s", text, html)


@pytest.mark.parametrize(
    "place", [PLACE, "{{ unsubscribe_url }}", "{{\tunsubscribe_url}}", "{{- unsubscribe_url -}}", STAND_IN]
)
def test_a_draft_has_its_url_where_the_place_was(place: str) -> None:
    given = draft(f"Leave: {place}.", f'<a href="{place}">leave</a>')

    made = fill_draft(given, URL)

    assert has_place(given)
    assert (made.text, made.html) == (f"Leave: {URL}.", f'<a href="{URL}">leave</a>')


def test_a_draft_without_a_place_stays() -> None:
    given = draft("{{ unsubscribe }} unsubscribe_url {unsubscribe_url}", None)

    assert not has_place(given)
    assert fill_draft(given, URL) == given


def test_a_stand_in_is_told_from_a_place_that_may_be_meant_as_it_is() -> None:
    assert is_stood_in(draft(None, STAND_IN))
    assert not is_stood_in(draft(PLACE, None))
    assert stand_in(f"x {PLACE}") == f"x {STAND_IN}"


@pytest.mark.parametrize(
    ("encoding", "encode"),
    [
        ("7bit", lambda text: text),
        ("8bit", lambda text: text),
        ("quoted-printable", quopri.encodestring),
        ("base64", lambda text: base64.encodebytes(text).replace(b"\n", b"\r\n")),
    ],
)
@pytest.mark.parametrize("before", [0, 30, 50, 60, 70])
def test_a_part_has_its_url_in_every_encoding(encoding: str, encode: object, before: int) -> None:
    """Quoted-printable breaks a line wherever it is full, also within the place."""
    assert callable(encode)
    text = f"{'x' * before} {{{{ unsubscribe_url }}}} after\r\nlast\r\n"
    raw = encode(text.encode()).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    headers = TEXT + f"Content-Transfer-Encoding: {encoding}\r\n".encode()

    made = fill_body(headers, raw, URL)

    read = message_from_bytes(headers + b"\r\n" + made, policy=policy.default)
    assert read.get_content().splitlines() == text.replace("{{ unsubscribe_url }}", URL).splitlines()
    if encoding in ("quoted-printable", "base64"):
        assert max(map(len, made.split(b"\r\n"))) <= 76


def test_braces_that_a_mail_program_encoded_are_found() -> None:
    headers = TEXT + b"Content-Transfer-Encoding: quoted-printable\r\n"

    made = fill_body(headers, b"=7B=7Bunsubscribe=5Furl=7d=7D\r\n", URL)

    assert quopri.decodestring(made) == URL.encode() + b"\r\n"


def test_all_parts_of_text_and_html_are_filled_and_no_other() -> None:
    whole = EmailMessage()
    whole["From"] = "a@b.example"
    whole.set_content(f"leave: {PLACE}\n")
    whole.add_alternative(f"<a href='{PLACE}'>\u00e4</a>\n", subtype="html")
    whole.add_attachment(f"{PLACE}\n", filename="readme.txt")
    head, _, body = whole.as_bytes(policy=policy.SMTP).partition(b"\r\n\r\n")

    made = fill_body(head + b"\r\n", body, URL)

    read = message_from_bytes(head + b"\r\n\r\n" + made, policy=policy.default)
    text, html = read.get_body(("plain",)), read.get_body(("html",))
    assert text is not None
    assert html is not None
    assert URL in text.get_content()
    assert URL in html.get_content()
    [attachment] = read.iter_attachments()
    assert attachment.get_content().strip() == PLACE


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Type: text/plain; charset=utf-16\r\n",
        b"Content-Type: application/octet-stream\r\n",
        b"Content-Type: text/plain\r\nContent-Disposition: attachment; filename=a\r\n",
        b"Content-Type: text/plain\r\nContent-Transfer-Encoding: x-uuencode\r\n",
        b"Content-Type: multipart/mixed\r\n",
        b"Content-Type: message/rfc822\r\n",
        b'Content-Type: multipart/signed; boundary="b"\r\n',
    ],
)
def test_what_is_not_ours_to_read_stays(headers: bytes) -> None:
    body = b"--b\r\n\r\n{{unsubscribe_url}}\r\n--b--\r\n"

    assert fill_body(headers, body, URL) == body


def test_what_follows_the_end_of_the_parts_stays() -> None:
    headers = b'Content-Type: multipart/mixed; boundary="b"\r\n'
    body = b"{{unsubscribe_url}}\r\n--b\r\n\r\n%b\r\n--b--\r\n{{unsubscribe_url}}\r\n--b\r\n\r\n%b\r\n"
    place = PLACE.encode()

    assert fill_body(headers, body % (place, place), URL) == body % (URL.encode(), place)


def test_a_line_that_would_be_too_long_is_refused() -> None:
    """RFC 5322 §2.1.1; another encoding has no such limit."""
    body = b"x" * 900 + PLACE.encode() + b"\r\n"

    with pytest.raises(LineTooLong):
        fill_body(TEXT, body, URL)


def test_text_beyond_what_anybody_reads_is_not_searched() -> None:
    """An authenticated sender must not hold up the others with it."""
    text = b"x" * 60 + b"\r\n"

    body = text * 70_000 + PLACE.encode() + b"\r\n"

    assert fill_body(TEXT, body, URL) == body
    assert fill_body(TEXT, body[4_000_000:], URL) != body[4_000_000:]


_PIECES = st.lists(
    st.sampled_from(
        [
            b"--b\r\n", b"--b--\r\n", b"\r\n", b"{{", b"unsubscribe_url", b"}}", b"=\r\n", b"=", b"\xff",
            b"x" * 70,
            b"Content-Type: text/html\r\n", b"Content-Transfer-Encoding: base64\r\n", b"e3t1bnN1YnNj\r\n",
            b"Content-Type: multipart/alternative; boundary=b\r\n",
            b"Content-Transfer-Encoding: quoted-printable\r\n", b"=7B", b" ",
        ]
    ),
    max_size=40,
)  # fmt: skip


@given(_PIECES, _PIECES)
def test_whatever_the_octets_nothing_else_raises(headers: list[bytes], body: list[bytes]) -> None:
    whole = b"Content-Type: multipart/mixed; boundary=b\r\n" + b"".join(headers)
    try:
        made = fill_body(whole, b"".join(body), URL)
    except LineTooLong:
        return

    assert len(made) >= len(b"".join(body)) - 3 * 40
