"""MTA-STS records, policies and MX matching (RFC 8461 §3.1, §3.2, §4.1)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.policy.tls_sts import StsError, StsMode, StsPolicy, parse_policy, parse_record, record_id

CORPORA = Path(os.environ.get("AUTH_CORPORA", Path(__file__).parents[2] / "../shared/corpora/auth"))
VECTORS = CORPORA / "mta-sts-mox/vectors.json"
ENFORCE = (
    "version: STSv1\r\nmode: enforce\r\nmx: mx1.example.org\r\nmx: *.mail.example.net\r\nmax_age: 604800\r\n"
)


def is_valid(parse: Callable[[str], object], text: str) -> bool:
    try:
        parse(text)
    except StsError:
        return False
    return True


def _vectors() -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(VECTORS.read_text()) if VECTORS.exists() else []
    return found


@pytest.mark.parametrize("case", _vectors(), ids=lambda case: f"{case['kind']} {case['input'][:40]!r}")
def test_records_and_policies_are_read_as_mox_reads_them(case: dict[str, str]) -> None:
    if case["kind"] == "mx-match":
        mx = tuple(part.strip() for part in case["policy"].removeprefix("mx:").split(","))
        matches = StsPolicy(mode=StsMode.ENFORCE, mx=mx, max_age=1).names(case["input"])
        assert matches == (case["expect"] == "match")
    else:
        parse = parse_policy if case["kind"] == "policy-file" else parse_record
        assert is_valid(parse, case["input"]) == (case["expect"] == "valid")


def test_a_policy_as_its_owner_wrote_it() -> None:
    policy = parse_policy(ENFORCE)

    assert policy == StsPolicy(
        mode=StsMode.ENFORCE,
        mx=("mx1.example.org", "*.mail.example.net"),
        max_age=604800,
        lines=tuple(ENFORCE.splitlines()),
    )


@pytest.mark.parametrize(
    ("host", "named"),
    [
        ("mx1.example.org", True),
        ("MX1.example.org.", True),
        ("mx2.example.org", False),
        ("a.mail.example.net", True),
        ("mail.example.net", False),
        ("a.b.mail.example.net", False),  # "*" is one label (RFC 6125 §6.4.3)
        ("x.mx1.example.org", False),
        ("", False),
    ],
)
def test_hosts_are_named_whole_or_by_their_first_label(host: str, named: bool) -> None:
    assert parse_policy(ENFORCE).names(host) is named


@pytest.mark.parametrize(
    ("policy", "valid"),
    [
        ("garbage", False),
        ("version: STSv1\nmode: enforce\nmax_age: 86400", False),
        ("version: STSv1\nmode: enforce\nmx: mail.loc\nmax_age: xxx", False),
        ("version: STSv1\nmode: enforce\nmx: mail.loc\nmax_age: 31557601", False),
        ("version: STSv1\nmode: enforce\nmx: mail.loc\nmax_age: 31557600", True),
        ("version: STSv1\nmode: none\nmax_age: 0", True),
        ("version: STSv1\n\nmode: none\nmax_age: 0", False),
        ("version: STSv2\nmode: none\nmax_age: 0", False),
        ("mode: none\nversion: STSv1\nmax_age: 0", True),
        ("version: STSv1\nmode: enforce\nmx: -a.example\nmax_age: 1", False),
    ],
)
def test_what_is_a_policy(policy: str, valid: bool) -> None:
    assert is_valid(parse_policy, policy) is valid


def test_the_first_of_a_field_that_is_given_twice_holds() -> None:
    """RFC 8461 §3.2."""
    policy = parse_policy(
        "version: STSv1\nmode: testing\nmode: enforce\nmx: a.example\nmax_age: 1\nmax_age: 2"
    )

    assert (policy.mode, policy.max_age) == (StsMode.TESTING, 1)


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        ([], None),
        (["v=STSv1; id=20180907T090909;"], "20180907T090909"),
        (["v=STSv1;id=1"], "1"),
        (["v=spf1 -all", "v=STSv1; id=1"], "1"),
        (["v=STSv1; id=1", "v=STSv1; id=2"], None),
        (["id=20180907T090909; v=STSv1;"], None),
        (["v=STSv12;id=20180907T090909;"], None),
        (["v=STSv1"], None),
    ],
)
def test_one_record_of_our_version_makes_a_policy(texts: list[str], found: str | None) -> None:
    """RFC 8461 §3.1."""
    assert record_id(texts) == found


@given(st.text())
def test_no_text_does_more_than_be_refused(text: str) -> None:
    is_valid(parse_policy, text)
    is_valid(parse_record, text)

    assert record_id([text]) is None or text.startswith("v=STSv1")
