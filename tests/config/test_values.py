from __future__ import annotations

import base64
from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailer.config.values import (
    parse_duration,
    parse_folder,
    parse_resolvers,
    parse_secret,
    show_duration,
    without_password,
)

SECRET = bytes(range(32))


@given(st.integers(1, 3650 * 86_400_000))
def test_a_duration_is_read_back_as_it_was_shown(milliseconds: int) -> None:
    duration = timedelta(milliseconds=milliseconds)

    assert parse_duration(show_duration(duration)) == duration


@pytest.mark.parametrize("text", ["", "5", "m", "-5m", "0s", "5 minutes", "1e3s", "99999d", "٣m", "5m5s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        parse_duration(text)


@example("\0")
@given(st.text())
@example("~nobody-of-that-name/data")
def test_no_text_breaks_the_parsers(text: str) -> None:
    """They raise ValueError or nothing."""
    for parse in (parse_duration, parse_resolvers, parse_secret, parse_folder):
        try:
            parse(text)
        except ValueError as error:
            assert str(error).startswith("must")


@pytest.mark.parametrize(
    ("text", "resolvers"),
    [
        ("", ()),
        ("192.0.2.1", ("192.0.2.1:53",)),
        ("192.0.2.1:5353, 2001:db8::1", ("192.0.2.1:5353", "[2001:db8::1]:53")),
        ("[2001:DB8::1]:99", ("[2001:db8::1]:99",)),
    ],
)
def test_resolvers_are_addresses_with_ports(text: str, resolvers: tuple[str, ...]) -> None:
    assert parse_resolvers(text) == resolvers


@pytest.mark.parametrize(
    "text",
    [
        SECRET.hex(),
        SECRET.hex().upper(),
        base64.b64encode(SECRET).decode(),
        base64.urlsafe_b64encode(SECRET).decode(),
    ],
)
def test_a_secret_is_hexadecimal_or_base64(text: str) -> None:
    assert parse_secret(text) == SECRET


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql+psycopg://me:pw@db:5432/mailer", "postgresql+psycopg://me:***@db:5432/mailer"),
        ("redis://:pw@cache:6379/0", "redis://:***@cache:6379/0"),
        ("postgresql+psycopg://me@db/mailer", "postgresql+psycopg://me@db/mailer"),
        ("sqlite:////srv/mailer.sqlite3", "sqlite:////srv/mailer.sqlite3"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown
