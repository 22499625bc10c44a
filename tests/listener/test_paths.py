"""Paths and parameters: the grammar, as tables and properties."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.listener.parameters import (
    Body,
    MailParameters,
    Notify,
    ParameterError,
    RcptParameters,
    Ret,
    mail_parameters,
    rcpt_parameters,
)
from mailer.listener.path import Path, PathError, forward_path, reverse_path


@pytest.mark.parametrize(
    ("text", "local", "domain", "rest"),
    [
        ("<>", "", "", ""),
        ("<> SIZE=1", "", "", " SIZE=1"),
        ("<a@b>", "a", "b", ""),
        ("<A.b+c=d/e@B.example> X", "A.b+c=d/e", "B.example", " X"),
        ("<a@b.example>X", "a", "b.example", "X"),
        ('<"a b"@c.example>', '"a b"', "c.example", ""),
        ('<"a\\"b@c>d"@e.example>', '"a\\"b@c>d"', "e.example", ""),
        ('<""@b.example>', '""', "b.example", ""),
        ("<a@[192.0.2.1]>", "a", "[192.0.2.1]", ""),
        ("<a@[IPv6:2001:db8::1]>", "a", "[IPv6:2001:db8::1]", ""),
        ("<@x.example,@y.example:a@b.example>", "a", "b.example", ""),
        ("<ü@bücher.example>", "ü", "bücher.example", ""),
        ("a@b.example SIZE=1", "a", "b.example", " SIZE=1"),
        (f"<{'a' * 64}@b.example>", "a" * 64, "b.example", ""),
        (f"<a@{'b' * 63}.example>", "a", f"{'b' * 63}.example", ""),
    ],
)
def test_a_path_is_read(text: str, local: str, domain: str, rest: str) -> None:
    """RFC 5321 §4.1.2, §4.1.3; RFC 6531 §3.3."""
    assert reverse_path(text) == (Path(local, domain), rest)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<",
        ">",
        "<a>",
        "<a@>",
        "<@b>",
        "<a@b",
        "a@b>",
        "<a@b.>",
        "<a@.b>",
        "<a@b..c>",
        "<.a@b>",
        "<a.@b>",
        "<a..b@c>",
        "<a b@c>",
        "<a@b@c>",
        "<a@-b.example>",
        "<a@b-.example>",
        "<a@b_c.example>",
        "< a@b>",
        "<a@b >",
        '<"a@b>',
        '<"a"b@c>',
        "<a\\b@c>",
        "<a@[192.0.2.256]>",
        "<a@[192.0.2]>",
        "<a@[IPv6:1::2::3]>",
        "<a@[x:y]>",
        "<a@b\x00>",
        "<a\x7f@b>",
        "<a@b>\x00"[:4] + "\n>",
        f"<{'a' * 65}@b.example>",
        f"<{'ü' * 33}@b.example>",
        f"<a@{'b' * 64}.example>",
        f"<a@{'b.' * 127}bb>",
        f"<{'a' * 60}@{'b.' * 97}b>",
        "<a\u2063b@c.example>",
        "<a\u2028@c>",
        "<a\x85@c>",
    ],
)
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(PathError):
        reverse_path(text)


def test_postmaster_needs_no_domain_and_only_as_a_recipient() -> None:
    """RFC 5321 §4.1.1.3."""
    assert forward_path("<PostMaster> X") == (Path("PostMaster", ""), " X")
    with pytest.raises(PathError):
        reverse_path("<postmaster>")
    with pytest.raises(PathError):
        forward_path("<>")


@given(
    text=st.text(alphabet=st.sampled_from('<>@.:,"\\[]abIPv6: -ü\x00\u2063') | st.characters(), max_size=80)
)
def test_a_path_that_is_read_reads_the_same_again(text: str) -> None:
    """And nothing but PathError is raised."""
    try:
        path, _ = forward_path(text)
    except PathError:
        return
    assert forward_path(f"<{path.text}>") == (path, "")
    assert "\n" not in path.text


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("", MailParameters()),
        (" SIZE=0", MailParameters(size=0)),
        (" size=12  body=8bitmime", MailParameters(size=12, body=Body.EIGHT_BIT)),
        (" BODY=7bit SMTPUTF8", MailParameters(body=Body.SEVEN_BIT, smtputf8=True)),
        (" RET=HDRS ENVID=a+2Bb+3Dc", MailParameters(ret=Ret.HEADERS, envid="a+b=c")),
        (" AUTH=e+3Dmc2@example.com", MailParameters(auth="e=mc2@example.com")),
        (" AUTH=<>", MailParameters(auth="<>")),
    ],
)
def test_mail_parameters_are_read(text: str, parameters: MailParameters) -> None:
    """RFC 1870 §5, RFC 6152 §2, RFC 6531 §3.4, RFC 3461 §4, RFC 4954 §5."""
    assert mail_parameters(text, takes_auth=True) == parameters


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("SIZE=1", 501),
        (" SIZE", 501),
        (" SIZE=", 501),
        (" SIZE=x", 501),
        (" SIZE=-1", 501),
        (" SIZE=" + "1" * 21, 501),
        (" SIZE=1 size=2", 501),
        (" BODY", 501),
        (" BODY=9BIT", 501),
        (" SMTPUTF8=1", 501),
        (" RET=ALL", 501),
        (" ENVID=", 501),
        (" ENVID=" + "a" * 101, 501),
        (" ENVID=a+2b", 501),
        (" ENVID=a+", 501),
        (" ENVID=+0A", 501),
        (" ENVID=a=b", 501),
        (" AUTH", 501),
        (" =", 501),
        (" -X=1", 501),
        (" X", 555),
        (" X=1", 555),
        (" NOTIFY=NEVER", 555),
        (" ENVID=ü", 501),
        (" REQUIRETLS", 555),
        (" HOLDFOR=1", 555),
    ],
)
def test_bad_mail_parameters_are_refused(text: str, code: int) -> None:
    with pytest.raises(ParameterError) as refusal:
        mail_parameters(text, takes_auth=True)

    assert (refusal.value.reply.code, str(refusal.value.reply.status)) == (code, "5.5.4")


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        (" NOTIFY=NEVER", RcptParameters(notify=frozenset({Notify.NEVER}))),
        (" notify=success,Delay", RcptParameters(notify=frozenset({Notify.SUCCESS, Notify.DELAY}))),
        (" ORCPT=RFC822;a+2Bb@c.example", RcptParameters(orcpt=("rfc822", "a+b@c.example"))),
        (" ORCPT=utf-8;\\x{FC}@c.example", RcptParameters(orcpt=("utf-8", "ü@c.example"))),
        (" ORCPT=utf-8;ü@c.example", RcptParameters(orcpt=("utf-8", "ü@c.example"))),
    ],
)
def test_rcpt_parameters_are_read(text: str, parameters: RcptParameters) -> None:
    """RFC 3461 §4.1, §4.2; RFC 6533 §3."""
    assert rcpt_parameters(text, is_utf8=True) == parameters


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (" NOTIFY", 501),
        (" NOTIFY=", 501),
        (" NOTIFY=,", 501),
        (" NOTIFY=NEVER,SUCCESS", 501),
        (" NOTIFY=x", 501),
        (" ORCPT", 501),
        (" ORCPT=a@b", 501),
        (" ORCPT=rfc822;", 501),
        (" ORCPT=;a@b", 501),
        (" ORCPT=rfc822;a+0Db", 501),
        (" ORCPT=rfc822;" + "a" * 500, 501),
        (" ORCPT=utf-8;ü", 501),
        (" ORCPT=utf-8;\\x{110000}", 501),
        (" ORCPT=utf-8;\\x{0A}", 501),
        (" ORCPT=utf-8;\\x{D800}", 501),
        (" ORCPT=rfc 822;x", 501),
        (" SIZE=1", 555),
    ],
)
def test_bad_rcpt_parameters_are_refused(text: str, code: int) -> None:
    with pytest.raises(ParameterError) as refusal:
        rcpt_parameters(text, is_utf8=False)

    assert refusal.value.reply.code == code


@given(text=st.text(max_size=60))
def test_parameters_raise_nothing_else(text: str) -> None:
    for start in (" ", " ENVID=", " ORCPT=utf-8;", " NOTIFY=", " SIZE="):
        try:
            mail_parameters(start + text, takes_auth=False)
        except ParameterError as error:
            assert error.reply.encode().startswith(b"5")
        try:
            rcpt_parameters(start + text, is_utf8=True)
        except ParameterError as error:
            assert error.reply.encode().endswith(b"\r\n")
