"""Every mailbox that From or Sender could be taken to name (RFC 5322 §3.4)."""

from __future__ import annotations

from email import policy
from email.utils import getaddresses

import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from mailer.compose import authors
from mailer.compose.malformed import AuthorError


def mailboxes(value: str) -> list[str]:
    return [m.addr_spec for m in authors.mailboxes("From", value.encode())]


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("a@b.example", ["a@b.example"]),
        ("<a@b.example>", ["a@b.example"]),
        ("Ada <a@B.EXAMPLE>", ["a@b.example"]),
        ('"Lovelace, Ada" <a@b.example>', ["a@b.example"]),
        (r'"a\"b <x@y.example>" <a@b.example>', ["a@b.example"]),
        ('"<x@y.example>," <a@b.example>', ["a@b.example"]),
        ("=?utf-8?q?Zo=C3=AB=2C?= <a@b.example>", ["a@b.example"]),
        ("John Q. Public <a@b.example>", ["a@b.example"]),
        ("[Tickets] Ada <a@b.example>", ["a@b.example"]),
        ("Zoë <zoë@grüße.example>", ["zoë@xn--gre-6ka8l.example"]),
        ("a@b.example, c@d.example", ["a@b.example", "c@d.example"]),
        ("a@b.example, Ada <a@b.example>,, <c@d.example>,", ["a@b.example", "c@d.example"]),
        ("Team: a@b.example, C <c@d.example>;", ["a@b.example", "c@d.example"]),
        ("x@y.example, Team: a@b.example;", ["x@y.example", "a@b.example"]),
        ("a@b.example (Ada (x@y.example) \\) Lovelace)", ["a@b.example"]),
        ("(,) a (x) @ (y) b.example", ["a@b.example"]),
        ("Ada <a (x) @ b . example>", ["a@b.example"]),
        ('"(" <a@b.example> (")', ["a@b.example"]),
        ('"a b"@b.example', ['"a b"@b.example']),
        (r'"a\@b"@b.example', ['"a@b"@b.example']),
        ('"x@y.example"@b.example', ['"x@y.example"@b.example']),
        ("c@d.example <a@b.example>", ["a@b.example", "c@d.example"]),
        ("\tAda\t<a@b.example>\t", ["a@b.example"]),
    ],
)
def test_every_author_is_found(value: str, found: list[str]) -> None:
    """RFC 5322 §3.4, §4.4, RFC 6854 §2; the last but one is what a lax reader may take for two."""
    assert mailboxes(value) == found


@pytest.mark.parametrize(
    "value",
    [
        "", ",", "Ada", "root", "a@b", "a@", "@b.example", "Ada <>", "Ada <a@b.example", "a@b.example>",
        "<<a@b.example>>", "<a@b.example> x", "<a@b.example> <c@d.example>", "Team:;", "hidden:;",
        "Team: a@b.example", "a@b.example;", "x@y.example: a@b.example;", "T: x: a@b.example;;",
        r'\"q, <x@y.example>" <a@b.example>', "[ <a@b.example>",
        "=?utf-8?q?x=40y.example=2C?=@b.example", "[x] =?utf-8?q?x?= <a@b.example>",
        "=?utf-8?q?x?= c@d.example <a@b.example>", '"l"@y.example <a@b.example>', '"Ada <a@b.example>',
        "A) <a@b.example>",
        "(Ada <a@b.example>", "a@b.example c@d.example", "a@[192.0.2.1]", "<@x.example:a@b.example>",
        "a@b.example\x7f", "a@ü\udc80.example", "\udcfc@b.example", "c@d <a@b.example>", "a..b@c.example",
        "=?utf-8?q?Love,_Ada?= <a@b.example>", "x" * 9000,
    ],
)  # fmt: skip
def test_an_author_that_cannot_be_told_is_refused(value: str) -> None:
    with pytest.raises(AuthorError) as refused:
        authors.mailboxes("From", value.encode("utf-8", "surrogateescape"))

    assert refused.value.field == "From"
    assert value == "" or value not in str(refused.value)


_PIECES = st.lists(
    st.sampled_from(
        [
            "a@b.example", "<c@d.example>", '"l"@e.example', "Ada", "Team:", "(f@g.example)", '"', "(", ")",
            "\\", "=?utf-8?q?x=40y.example?=", " ", ",", ";", ":", "<", ">", "@", ".", "[", "]",
            '"q, <h@i.example>"', "=?utf-8?q?x=40y.example=2C?=",
        ]
    ),
    min_size=1,
    max_size=9,
)  # fmt: skip


@given(_PIECES.map("".join))
@settings(max_examples=500, suppress_health_check=[HealthCheck.filter_too_much])
def test_no_author_that_the_stdlib_reads_is_missed(value: str) -> None:
    try:
        found = {m.domain for m in authors.mailboxes("From", value.strip(" ").encode())}
    except AuthorError:
        reject()
    try:
        read = [address.domain.lower() for address in policy.default.header_factory("From", value).addresses]
    except (AttributeError, IndexError, TypeError):  # its own faults
        reject()

    assert set(filter(None, read)) <= found
    assert {spec.rpartition("@")[2].lower() for _, spec in getaddresses([value]) if "@" in spec} <= found


@given(st.text(st.sampled_from('ab@.,;:<>()[]"\\ \té\udcff=?'), max_size=40).map(lambda t: f"{t}a@b.example"))
def test_no_from_raises_but_author_error(value: str) -> None:
    try:
        found = authors.mailboxes("From", value.encode("utf-8", "surrogateescape"))
    except AuthorError:
        return

    assert found
