"""Which URLs an endpoint may have, in live mode and in a sandbox."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.outward import Guard
from mailer.outward.guard import LOOPBACK
from webhooks.urls import UrlRules

LIVE = UrlRules(is_live=True)
SANDBOX = UrlRules(is_live=False, guard=Guard(networks=LOOPBACK))
INSIDE = UrlRules(is_live=True, guard=Guard(networks=[ip_network("10.20.0.0/16")]))


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org",
        "https://example.org/hooks/mail?token=x&a=b",
        "https://example.org:443/",
        "https://example.org:8443/",
        "https://xn--bcher-kva.example/",
        "https://a_b.example/",
        "https://9.9.9.9/hook",
        "https://[2620:fe::fe]/hook",
        "HTTPS://Example.ORG/",
    ],
)
def test_a_public_https_url_is_taken_everywhere(url: str) -> None:
    assert [rules.fault(url) for rules in (LIVE, SANDBOX, INSIDE)] == [None, None, None]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.org",
        "//example.org/",
        "ftp://example.org/",
        "file:///etc/passwd",
        "https://",
        "https:///path",
        "https://user:secret@example.org/",
        "https://user@example.org/",
        "https://:@example.org/",
        "https://example.org/#top",
        "https://example.org:25/",
        "https://example.org:22/",
        "https://example.org:0/",
        "https://example.org:70000/",
        "https://example.org:x/",
        "https://exa mple.org/",
        "https://example.org/a b",
        "https://bücher.example/",
        "https://example.org/\n",
        "https://example.org/\x00",
        "https://-a.example/",
        "https://a..example/",
        "https://example.org./",
        "https://2130706433/",
        "https://127.1/",
        "https://10.0.0.1/",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::ffff:9.9.9.9]/",
        "https://[fe80::1]/",
        "https://[::1",
        "https://example.org/" + "x" * 2000,
    ],
)
def test_what_cannot_or_must_not_be_called_is_refused_everywhere(url: str) -> None:
    assert LIVE.fault(url)
    assert SANDBOX.fault(url)


@pytest.mark.parametrize(
    "url",
    ["http://example.org/", "http://127.0.0.1:9000/hook", "http://[::1]:9000/", "http://localhost:9000/"],
)
def test_in_a_sandbox_http_and_this_machine_are_allowed(url: str) -> None:
    assert SANDBOX.fault(url) is None
    assert LIVE.fault(url)


def test_what_the_operator_allows_may_be_called_in_clear() -> None:
    assert INSIDE.fault("http://10.20.1.2:9000/hook") is None
    assert INSIDE.fault("http://10.21.1.2:9000/hook")
    assert INSIDE.fault("http://9.9.9.9/")
    assert INSIDE.fault("http://inside.example/")


@given(st.text() | st.text(st.characters(max_codepoint=127)).map(lambda text: f"https://{text}"))
def test_no_text_raises(url: str) -> None:
    fault = LIVE.fault(url)

    assert fault is None or fault
