"""Mailboxes as people and programs write them (RFC 5322 §3.4, RFC 5321 §4.1.2, RFC 6531 §3.3)."""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.compose.address import (
    AddressError,
    Mailbox,
    ordinary_addr_spec,
    parse_addr_spec,
    parse_mailbox,
)
from tests.compose.drafts import mailboxes

_VECTORS = Path(__file__).parents[2] / "../shared/corpora/mime/mail-parser-fields/address.json"


def _vectors() -> list[tuple[str, str, str]]:
    """Headers of one mailbox, without comments and obsolete spacing, which we do not take."""
    if not _VECTORS.exists():
        return []
    ordinary = re.compile(r'("([^"\\]|\\.)*"|[^<>",;:\\()=\n]*)<[a-z.0-9-]+@[a-z0-9.-]+\.[a-z]+>')
    found = []
    for vector in json.loads(_VECTORS.read_text("utf-8")):
        people = (vector["expected"] or {}).get("List", [])
        header = vector["header"].strip()
        if len(people) == 1 and ordinary.fullmatch(header):
            found.append((header, people[0]["address"], people[0]["name"] or ""))
    return found


@pytest.mark.parametrize(
    ("text", "mailbox"),
    [
        ("a@b.example", Mailbox("", "a", "b.example")),
        ("  a@b.example\t", Mailbox("", "a", "b.example")),
        ("<a@b.example>", Mailbox("", "a", "b.example")),
        ("Alice.Smith+tag@Example.COM", Mailbox("", "Alice.Smith+tag", "example.com")),
        ("!#$%&'*+/=?^_`{|}~-@b.example", Mailbox("", "!#$%&'*+/=?^_`{|}~-", "b.example")),
        ("Alice Smith <a@b.example>", Mailbox("Alice Smith", "a", "b.example")),
        ("José Ñandú <a@b.example>", Mailbox("José Ñandú", "a", "b.example")),
        ("ACME (Support) <a@b.example>", Mailbox("ACME (Support)", "a", "b.example")),
        ("a@b.example <a@b.example>", Mailbox("a@b.example", "a", "b.example")),
        ('"Smith, Alice" <a@b.example>', Mailbox("Smith, Alice", "a", "b.example")),
        (r'"Alice \"The\" \\Smith"<a@b.example>', Mailbox(r'Alice "The" \Smith', "a", "b.example")),
        ('"<not@this.example>" <a@b.example>', Mailbox("<not@this.example>", "a", "b.example")),
        ('"a b"@c.example', Mailbox("", "a b", "c.example")),
        (r'"a\"b@c"@d.example', Mailbox("", 'a"b@c', "d.example")),
        ('Odd <"a<b>"@c.example>', Mailbox("Odd", "a<b>", "c.example")),
        ("post@bücher.example", Mailbox("", "post", "xn--bcher-kva.example")),
        ("post@BÜCHER.example", Mailbox("", "post", "xn--bcher-kva.example")),
        ("post@straße.example", Mailbox("", "post", "xn--strae-oqa.example")),
        ("post@例え。テスト", Mailbox("", "post", "xn--r8jz45g.xn--zckzah")),
        ("post@XN--BCHER-KVA.example", Mailbox("", "post", "xn--bcher-kva.example")),
        ("grüße@b.example", Mailbox("", "grüße", "b.example")),
        ("gru\u0308ße@b.example", Mailbox("", "grüße", "b.example")),
        ("1@2.3a", Mailbox("", "1", "2.3a")),
        ("a" * 64 + "@b.example", Mailbox("", "a" * 64, "b.example")),
        ("a@" + "b" * 63 + ".example", Mailbox("", "a", "b" * 63 + ".example")),
    ],
)
def test_one_mailbox_is_read_whatever_its_dress(text: str, mailbox: Mailbox) -> None:
    assert parse_mailbox(text) == mailbox


def test_quotes_that_are_not_needed_make_no_other_mailbox() -> None:
    """RFC 5321 §4.1.2: quoted or not, it is the same local part, and the short form is the one to send."""
    quoted = parse_mailbox('"alice"@b.example')

    assert quoted == parse_mailbox("alice@b.example")
    assert quoted.addr_spec == "alice@b.example"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty"),
        ("alice", "'@' is missing"),
        ("@b.example", "source route"),
        ("a@", "after '@' is empty"),
        ("<>", "is empty"),
        ("a@b.example>", "do not match"),
        ('"Alice <a@b.example>', "do not match"),
        ("a@b.example, c@d.example", "needs quotes"),
        ("Smith, Alice <a@b.example>", "must stand in double quotes"),
        ("Team: a@b.example, c@d.example;", "group"),
        ("Team:;", "group"),
        ("(only a comment)", "comments"),
        ("a@b.example (Alice)", "comments"),
        ("<@relay.example:a@b.example>", "source route"),
        ("a@[192.0.2.1]", "address literal"),
        ("a@[IPv6:2001:db8::1]", "address literal"),
        ("a@192.0.2.1", "letters, digits and hyphens"),
        ("a@localhost", "one label only"),
        ("a@b.example.", "ends in a dot"),
        ("a@b..example", "letters, digits and hyphens"),
        ("a@-b.example", "letters, digits and hyphens"),
        ("a@b_c.example", "letters, digits and hyphens"),
        ("a@" + "b" * 64 + ".example", "letters, digits and hyphens"),
        ("a@" + "b." * 130 + "example", "longer than 253"),
        ("a@\U0001f4a9.example", "internationalised"),
        (".a@b.example", "dot at its start"),
        ("a.@b.example", "dot at its start"),
        ("a..b@c.example", "two in a row"),
        ("a b@c.example", "needs quotes"),
        ('""@b.example', "before '@' is empty"),
        ("a" * 65 + "@b.example", "longer than 64"),
        ("ü" * 33 + "@b.example", "longer than 64"),
        ("a" * 64 + "@" + ("b" * 60 + ".") * 4 + "example", "longer than 254"),
        ("a@b.example\r\nBcc: c@d.example", "needs quotes"),
        ("a@b.example\n", "letters, digits and hyphens"),
        ("a\r\n@b.example", "needs quotes"),
        ('"a\x00"@b.example', "control character"),
        ('"a\tb"@b.example', "control character"),
        ("Alice\r\nBcc: <a@b.example>", "must stand in double quotes"),
        ("Alice\nBob <a@b.example>", "control character"),
        ('"Alice\x00" <a@b.example>', "control character"),
        ("Alice\u2028Bob <a@b.example>", "control character"),
        ("a\u202eb@c.example", "cannot be seen"),
        ("a\u00a0b@c.example", "cannot be seen"),
        ("a\ud800@b.example", "cannot be seen"),
        ("a@\ud800.example", "internationalised"),
        ("N" * 999 + " <a@b.example>", "display name is longer"),
        ("a" * 9000 + "@b.example", "at most 8192"),
    ],
)
def test_what_is_not_one_mailbox_is_refused_by_name(text: str, sentence: str) -> None:
    with pytest.raises(AddressError, match=sentence):
        parse_mailbox(text)


@pytest.mark.parametrize(
    ("name", "local", "domain"),
    [
        ("", "a", "B.example"),
        ("", "a", "localhost"),
        ("", "a", "bücher.example"),
        ("", "", "b.example"),
        ("", "a\r\nb", "c.example"),
        ("", "gru\u0308n", "c.example"),
        ("x\r\ny", "a", "b.example"),
        ("", "a" * 65, "b.example"),
        ("", "a", "b." * 130 + "example"),
    ],
)
def test_a_mailbox_that_is_none_cannot_be_made(name: str, local: str, domain: str) -> None:
    with pytest.raises(AddressError):
        Mailbox(name, local, domain)


def test_a_bare_address_takes_no_display_name_and_no_space() -> None:
    with pytest.raises(AddressError):
        parse_addr_spec("Alice <a@b.example>")
    with pytest.raises(AddressError):
        parse_addr_spec(" a@b.example")


def test_only_a_local_part_needs_smtputf8() -> None:
    """RFC 6531 §3.3: a domain has A-labels, a local part has nothing else."""
    assert not parse_mailbox("Grüße <post@bücher.example>").needs_utf8
    assert parse_mailbox("grüße@b.example").needs_utf8


def test_a_refusal_repeats_nothing_of_the_address() -> None:
    with pytest.raises(AddressError) as refused:
        parse_mailbox("secret..name@hidden.example")

    assert "secret" not in str(refused.value)
    assert "hidden" not in str(refused.value)


@given(mailboxes())
def test_an_address_reads_back_as_itself(mailbox: Mailbox) -> None:
    assert parse_addr_spec(mailbox.addr_spec).named(mailbox.display_name) == mailbox


@given(mailboxes())
def test_an_address_is_short_enough_for_any_peer(mailbox: Mailbox) -> None:
    """RFC 5321 §4.5.3.1: 64 for the local part, 256 for the path with its brackets."""
    local = mailbox.addr_spec.rpartition("@")[0]

    assert len(local.encode()) <= 64
    assert len(mailbox.addr_spec.encode()) <= 254


@given(st.text() | st.text(alphabet='ab@.<>" \\,;:()[]é\r\n\x00\u0308\u202e'))
def test_reading_never_raises_anything_but_address_error(text: str) -> None:
    try:
        mailbox = parse_mailbox(text)
    except AddressError:
        return

    assert mailbox.domain.isascii()
    assert mailbox.domain == mailbox.domain.lower()
    assert unicodedata.is_normalized("NFC", mailbox.local)
    assert not set(mailbox.addr_spec + mailbox.display_name) & set("\r\n\x00")


@given(
    mailboxes().map(lambda mailbox: mailbox.addr_spec)
    | st.from_regex(r"[a-zA-Z.]{1,70}@[A-Z-a-z.0-9]{1,260}")
)
def test_the_short_way_of_an_ordinary_address_ends_where_the_long_one_does(text: str) -> None:
    short = ordinary_addr_spec(text)

    assert short is None or short == parse_mailbox(text).addr_spec


def test_nearly_every_address_goes_the_short_way() -> None:
    texts = ["ada@example.org", "Ada.L+tag@Mail.Example.ORG", "o'brien@xn--bcher-kva.example"]

    assert [ordinary_addr_spec(text) for text in texts] == [parse_mailbox(text).addr_spec for text in texts]


@given(st.text(min_size=1, max_size=40))
def test_a_domain_of_any_letters_is_an_a_label_or_refused(label: str) -> None:
    try:
        mailbox = parse_mailbox(f"a@{label}.example")
    except AddressError:
        return

    assert parse_mailbox(f"a@{mailbox.domain}") == mailbox


@pytest.mark.parametrize(("header", "address", "name"), _vectors())
def test_a_mailbox_of_another_parsers_tests_reads_the_same(header: str, address: str, name: str) -> None:
    """Vectors of stalwart's mail-parser, where the corpora stand beside this checkout."""
    mailbox = parse_mailbox(header)

    assert (mailbox.addr_spec, mailbox.display_name) == (address, name)
