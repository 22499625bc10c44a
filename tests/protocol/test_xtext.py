"""xtext and its UTF-8 form decode, by the reader of our own SMTP door, to what they were made of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.listener.parameters import mail_parameters, rcpt_parameters
from mailer.protocol.xtext import address_text, utf8_xtext, xtext

_PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=33)
_ANY = st.text(
    st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp", "Cf", "Co", "Cn", "Zs")),
    min_size=1,
    max_size=45,
)


@pytest.mark.parametrize(
    ("text", "written"),
    [("abc", "abc"), ("a+b=c", "a+2Bb+3Dc"), ("QQ 314", "QQ+20314"), ("back\\slash", "back\\slash")],
)
def test_what_is_not_allowed_is_written_in_hexadecimal(text: str, written: str) -> None:
    """RFC 3461 §4."""
    assert xtext(text) == written


@pytest.mark.parametrize(
    ("text", "written"),
    [("jörg@x", "j\\x{F6}rg@x"), ("a+b", "a\\x{2B}b"), ("a\\b", "a\\x{5C}b"), ("😀", "\\x{1F600}")],
)
def test_a_utf8_address_is_written_in_ascii(text: str, written: str) -> None:
    """RFC 6533 §3."""
    assert utf8_xtext(text) == written


@given(_PRINTABLE)
def test_xtext_comes_back(text: str) -> None:
    given_back = mail_parameters(f" ENVID={xtext(text)}", takes_auth=False)

    assert given_back.envid == text


@given(_ANY)
def test_utf8_xtext_comes_back(text: str) -> None:
    read = rcpt_parameters(f" ORCPT=utf-8;{address_text('UTF-8', text)}", is_utf8=False)

    assert read.orcpt == ("utf-8", text)


@given(_PRINTABLE)
def test_an_address_of_another_type_comes_back(text: str) -> None:
    read = rcpt_parameters(f" ORCPT=rfc822;{address_text('rfc822', text)}", is_utf8=False)

    assert read.orcpt == ("rfc822", text)
