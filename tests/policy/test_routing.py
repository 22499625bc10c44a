"""Smart-host routes: how they are written, and which one is taken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.policy.routing import Route, RouteError, RouteTable, TlsMode

TABLE = RouteTable.parse(
    "*=relay.example.net:2525, example.org=one.example, .example.org=sub.example, .a.example.org=deep.example"
)


@pytest.mark.parametrize(
    ("domain", "host"),
    [
        ("example.org", "one.example"),
        ("mail.example.org", "sub.example"),
        ("x.mail.example.org", "sub.example"),
        ("a.example.org", "sub.example"),
        ("x.a.example.org", "deep.example"),
        ("notexample.org", "relay.example.net"),
        ("org", "relay.example.net"),
    ],
)
def test_the_most_specific_route_wins(domain: str, host: str) -> None:
    route = TABLE.match(domain)

    assert route is not None
    assert route.host == host


def test_without_a_route_the_mx_is_looked_up() -> None:
    assert RouteTable.parse("example.org=h").match("example.net") is None
    assert RouteTable.parse(" ").match("example.net") is None


@pytest.mark.parametrize(
    ("text", "route"),
    [
        ("*=127.0.0.1:2525;tls=none", Route(pattern="*", host="127.0.0.1", port=2525, tls=TlsMode.NONE)),
        ("*=[::1]:2525", Route(pattern="*", host="::1", port=2525)),
        ("*=[::1]", Route(pattern="*", host="::1", port=25)),
        (
            "EXAMPLE.org.=Smtp.X;TLS=Required",
            Route(pattern="example.org", host="smtp.x", port=587, tls=TlsMode.REQUIRED),
        ),
        ("*=h;tls=implicit", Route(pattern="*", host="h", port=465, tls=TlsMode.IMPLICIT)),
        (
            "*=h:587;tls=required;user=ann;password=a%2Cb%3Bc%25=",
            Route(pattern="*", host="h", port=587, tls=TlsMode.REQUIRED, username="ann", password="a,b;c%="),
        ),
        (
            "*=localhost:25;tls=none;user=a;password=b",
            Route(pattern="*", host="localhost", port=25, tls=TlsMode.NONE, username="a", password="b"),
        ),
    ],
)
def test_a_route_is_read_as_written(text: str, route: Route) -> None:
    assert RouteTable.parse(text).routes == (route,)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("127.0.0.1:25", "must read domain=host:port"),
        ("*=", "must read domain=host:port"),
        ("exa mple=h", "must be '*', a domain, or '.domain'"),
        ("*=h:0", "from 1 to 65535"),
        ("*=h:65536", "from 1 to 65535"),
        ("*=h:smtp", "from 1 to 65535"),
        ("*=::1", "in brackets"),
        ("*=[127.0.0.1]:25", "no IPv6 address"),
        ("*=[::1]25", "[address]:port"),
        ("*=h h:25", "no host name or address"),
        ("*=h : 587", "no host name or address"),
        ("*=h;tls=maybe", "none, opportunistic, required or implicit"),
        ("*=h;colour=red", "unknown option 'colour'"),
        ("*=h;tls", "unknown option 'tls'"),
        ("*=h;tls=none;tls=none", "given twice"),
        ("*=h;tls=required;user=a", "belong together"),
        ("*=h:587;tls=opportunistic;user=a;password=b", "in clear"),
        ("*=h,*=i", "two routes for '*'"),
    ],
)
def test_a_route_that_cannot_be_meant_is_refused_in_one_sentence(text: str, says: str) -> None:
    with pytest.raises(RouteError) as refused:
        RouteTable.parse(text)

    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


@given(st.text(max_size=80))
def test_any_text_is_a_table_or_a_route_error(text: str) -> None:
    try:
        RouteTable.parse(text)
    except RouteError as error:
        assert str(error)


@given(st.text(alphabet="=;:*.[]abc125tls, %", max_size=40))
def test_any_text_close_to_a_route_is_a_table_or_a_route_error(text: str) -> None:
    try:
        RouteTable.parse(text)
    except RouteError as error:
        assert str(error)


def test_a_password_is_not_shown() -> None:
    [route] = RouteTable.parse("*=h;tls=required;user=ann;password=s3cret").routes

    assert "s3cret" not in repr(route)


def test_sites_of_routes_are_named_after_their_place() -> None:
    assert [r.site for r in RouteTable.parse("a.b=h:2,c.d=[::1]:3").routes] == ["route:h:2", "route:[::1]:3"]
