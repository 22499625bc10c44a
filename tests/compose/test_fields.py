"""Single header fields: what a strict parser reads is what was written (RFC 5322 §2.2.3, RFC 2047)."""

from __future__ import annotations

import re
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.headerregistry import AddressHeader
from email.message import EmailMessage

from hypothesis import given
from hypothesis import strategies as st

from mailer.compose.address import Mailbox
from mailer.compose.fields import (
    address_field,
    encoded_words,
    is_plain,
    structured_field,
    text_field,
)
from tests.compose.drafts import FIELD_TEXT, mailboxes

_FIELD_NAMES = st.from_regex(r"X-[A-Za-z0-9-]{1,48}", fullmatch=True)
_ENCODED_WORD = re.compile(r"=\?utf-8\?[bq]\?[^ ?]+\?=")


def _parsed(field: str) -> EmailMessage:
    message = message_from_bytes(field.encode() + b"\r\n", policy=policy.default)
    assert isinstance(message, EmailMessage)
    assert message.defects == []
    return message


@given(_FIELD_NAMES, FIELD_TEXT)
def test_any_text_reads_back_as_it_was(name: str, text: str) -> None:
    header = _parsed(text_field(name, text))[name]

    assert str(header) == text
    assert header.defects == ()


@given(_FIELD_NAMES, FIELD_TEXT)
def test_no_line_passes_its_limit(name: str, text: str) -> None:
    """RFC 5322 §2.1.1: 998 at most; RFC 2047 §2: 76 where an encoded-word stands in it."""
    lines = text_field(name, text).split("\r\n")

    assert lines.pop() == ""
    assert max(map(len, lines)) <= 998
    assert max((len(line) for line in lines if "=?" in line), default=0) <= 76
    assert all(line.strip(" ") for line in lines[1:])


def test_a_word_too_long_for_a_line_becomes_encoded_words() -> None:
    field = text_field("Subject", "x" * 2000)

    assert max(map(len, field.split("\r\n"))) <= 76
    assert _parsed(field)["Subject"] == "x" * 2000


def test_plain_text_is_folded_at_its_own_spaces() -> None:
    text = "word  " * 40 + "end"

    field = text_field("Subject", text)

    assert max(map(len, field.split("\r\n"))) <= 76
    assert field.replace("\r\n", "") == f"Subject: {text}"


def test_text_that_looks_encoded_is_protected_from_being_decoded() -> None:
    field = text_field("Subject", "=?utf-8?q?not_mine?=")

    assert _parsed(field)["Subject"] == "=?utf-8?q?not_mine?="


def test_mostly_ascii_text_stays_readable_in_the_source() -> None:
    assert (
        text_field("Subject", "Your invoice for Zoë") == "Subject: =?utf-8?q?Your_invoice_for_Zo=C3=AB?=\r\n"
    )


def test_other_scripts_take_base64() -> None:
    assert text_field("Subject", "Привет") == "Subject: =?utf-8?b?0J/RgNC40LLQtdGC?=\r\n"


@given(st.text(min_size=1), st.integers(24, 80))
def test_each_encoded_word_decodes_by_itself(text: str, room: int) -> None:
    """RFC 2047 §5 (3): a multi-octet character may not be split between two words."""
    words = encoded_words(text, room)

    assert all(_ENCODED_WORD.fullmatch(word) and len(word) <= min(room, 75) for word in words)
    assert "".join(str(_parsed(f"X: {word}\r\n")["X"]) for word in words) == text


@given(st.lists(mailboxes(ascii_only=True), min_size=1, max_size=6))
def test_an_address_list_reads_back_as_it_was(mailboxes: list[Mailbox]) -> None:
    header = _parsed(address_field("To", mailboxes))["To"]

    assert isinstance(header, AddressHeader)
    # In display names Python 3.11 keeps the space between encoded-words, which is to be ignored (RFC 2047
    # §6.2), and makes one space of a run: spaces are compared by the next test, with another decoder.
    read = [(re.sub(r"\s", "", a.display_name), a.username, a.domain) for a in header.addresses]
    assert read == [(re.sub(r"\s", "", m.display_name), m.local, m.domain) for m in mailboxes]
    assert header.defects == ()


@given(st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=200))
def test_an_encoded_display_name_keeps_its_spaces(name: str) -> None:
    field = address_field("To", [Mailbox(name + "é", "a", "b.example")])

    phrase = field.removeprefix("To: ").partition(" <a@b.example>")[0]
    assert str(make_header(decode_header(phrase))) == name + "é"


def test_a_long_address_list_is_folded_between_addresses() -> None:
    people = [Mailbox(f"Person {n}", f"person{n}", "example.com") for n in range(200)]

    field = address_field("To", people)

    assert max(map(len, field.split("\r\n"))) <= 76
    assert len(_parsed(field)["To"].addresses) == 200


@given(mailboxes())
def test_an_address_field_is_utf8_only_where_a_local_part_is(mailbox: Mailbox) -> None:
    """RFC 6532 §3.2: display names have encoded-words, so they never need it."""
    field = address_field("From", [mailbox])

    assert field.isascii() is not mailbox.needs_utf8
    assert mailbox.addr_spec in field
    assert max(len(line.encode()) for line in field.split("\r\n")) <= 998


def test_a_structured_value_is_folded_and_never_encoded() -> None:
    references = " ".join(f"<{n}@example.com>" for n in range(40))

    field = structured_field("References", references)

    assert max(map(len, field.split("\r\n"))) <= 76
    assert field.replace("\r\n", "") == f"References: {references}"


def test_text_with_spaces_at_its_ends_cannot_stand_as_it_is() -> None:
    assert is_plain("Hello, world")
    assert not is_plain(" Hello")
    assert not is_plain("Hello ")
    assert not is_plain("Héllo")
    assert not is_plain("a\tb")
