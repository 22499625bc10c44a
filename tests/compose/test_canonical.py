"""The relaxed form of any octets equals dkimpy's (RFC 6376 §3.4.2, §3.4.4)."""

from __future__ import annotations

import pytest
from dkim.canonicalization import Relaxed
from hypothesis import given
from hypothesis import strategies as st

from mailer.compose.canonical import relaxed_body, relaxed_field, relaxed_fields

_OCTETS = st.binary(max_size=200) | st.lists(
    st.sampled_from([b"\r\n", b" ", b"\t", b"a", b".", b"\xff", b"\r", b"\n", b":", b"\r\n\r\n"]), max_size=60
).map(b"".join)
_VALUES = st.lists(
    st.sampled_from([b"\r\n ", b"\r\n\t", b" ", b"\t", b"word", b":", b"\xc3\xa9", b"=", b";", b"\r\n  "]),
    max_size=20,
).map(b"".join)
_NAMES = st.from_regex(rb"[A-Za-z][A-Za-z0-9-]{0,20}", fullmatch=True)


@given(_OCTETS)
def test_a_relaxed_body_equals_dkimpys(octets: bytes) -> None:
    """Of what arrives: SMTP ends the last line of every body (RFC 5321 §4.1.1.4)."""
    arrives = octets if not octets or octets.endswith(b"\r\n") else octets + b"\r\n"

    assert relaxed_body(octets) == Relaxed.canonicalize_body(arrives)


@pytest.mark.parametrize(
    ("body", "relaxed"),
    [
        (b"", b""),
        (b"\r\n", b""),
        (b" \r\n\t\r\n", b""),
        (b" C \r\nD \t E\r\n\r\n\r\n", b" C\r\nD E\r\n"),
        (b"no end", b"no end\r\n"),
        (b"space at the end ", b"space at the end\r\n"),
        (b"a\r\n\r\nb\r\n", b"a\r\n\r\nb\r\n"),
    ],
)
def test_a_relaxed_body_is_the_example_of_the_rfc(body: bytes, relaxed: bytes) -> None:
    """RFC 6376 §3.4.5."""
    assert relaxed_body(body) == relaxed


@given(st.lists(st.tuples(_NAMES, _VALUES), max_size=8))
def test_relaxed_fields_equal_dkimpys(fields: list[tuple[bytes, bytes]]) -> None:
    block = b"".join(b"%b:%b\r\n" % field for field in fields)

    found = relaxed_fields(block)

    theirs = [b"%b:%b" % field for field in Relaxed.canonicalize_headers(fields)]
    assert sorted(field for group in found.values() for field in group) == sorted(theirs)


@given(_NAMES, _VALUES)
def test_one_relaxed_field_equals_dkimpys(name: bytes, value: bytes) -> None:
    [(their_name, their_value)] = Relaxed.canonicalize_headers([(name, value)])

    assert relaxed_field(b"%b:%b" % (name, value)) + b"\r\n" == b"%b:%b" % (their_name, their_value)


def test_fields_of_one_name_stay_in_order() -> None:
    found = relaxed_fields(b"X: 1\r\nY: 2\r\nx : 3\r\n")

    assert found == {b"x": [b"x:1\r\n", b"x:3\r\n"], b"y": [b"y:2\r\n"]}


@given(st.binary(max_size=300))
def test_no_octets_raise(octets: bytes) -> None:
    assert all(name == name.lower() for name in relaxed_fields(octets))
