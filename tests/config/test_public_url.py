"""The URL that strangers reach us by, and what is said where there is none."""

from __future__ import annotations

import pytest

from mailer.config import Settings
from mailer.config.load import NO_PUBLIC_URL, ConfigError
from mailer.config.values import parse_public_url

LIVE = {"MAILER_MODE": "live", "MAILER_HOSTNAME": "mail.example.org"}


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://mail.example.org", "https://mail.example.org"),
        ("https://mail.example.org/", "https://mail.example.org"),
        ("https://mail.example.org:8443/mailer/", "https://mail.example.org:8443/mailer"),
        ("http://[::1]:8025", "http://[::1]:8025"),
        ("", None),
        (None, None),
    ],
)
def test_a_public_url_has_no_slash_at_its_end(text: str | None, url: str | None) -> None:
    assert parse_public_url(text) == url


@pytest.mark.parametrize(
    "text",
    [
        "mail.example.org", "ftp://mail.example.org", "https://", "https://u:p@mail.example.org", "https://a/?x=1",
        "https://a/#b", "https://a b", "https://\u00e4.example", "https://a.example:0", "https://a.example:99999",
        "https://a.example/<b>", "https://a.example/,b", "https://" + "a" * 200 + ".example", "https://[::1",
    ],
)  # fmt: skip
def test_what_cannot_stand_in_a_header_field_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be a URL"):
        parse_public_url(text)


def test_live_mode_takes_https_only_and_says_what_it_means_to_have_none() -> None:
    """RFC 8058 §3.1."""
    good = Settings.load({**LIVE, "MAILER_PUBLIC_URL": "https://mail.example.org"})

    assert good.warnings == ()
    assert Settings.load(LIVE).public_url is None
    assert Settings.load(LIVE).warnings == (NO_PUBLIC_URL,)
    with pytest.raises(ConfigError, match="must begin with https://"):
        Settings.load({**LIVE, "MAILER_PUBLIC_URL": "http://mail.example.org"})


def test_a_sandbox_has_one_that_looks_as_in_live_mode() -> None:
    assert Settings.load({}).public_url == "https://localhost:8025"
    assert Settings.load({"MAILER_HTTP_PORT": "0"}).public_url == "https://localhost"
    assert Settings.load({"MAILER_PUBLIC_URL": "http://localhost:8025"}).public_url == "http://localhost:8025"


def test_child_processes_have_the_same() -> None:
    settings = Settings.load(
        {**LIVE, "MAILER_PUBLIC_URL": "https://m.example", "MAILER_PROXIES": "10.0.0.0/8"}
    )

    again = Settings.load(settings.to_environ())

    assert (again.public_url, again.proxies, again.unsubscribe_by_mail) == (
        "https://m.example", settings.proxies, True,
    )  # fmt: skip
