"""The record that asks for TLS reports (RFC 8460 §3)."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.policy.tls_report_record import RecordError, Wanted, parse_record, wanted_by

CORPORA = Path(os.environ.get("AUTH_CORPORA", Path(__file__).parents[2] / "../shared/corpora/auth"))
VECTORS = CORPORA / "tlsrpt-record-mox/vectors.json"


def is_valid(text: str) -> bool:
    try:
        parse_record(text)
    except RecordError:
        return False
    return True


def _vectors() -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(VECTORS.read_text()) if VECTORS.exists() else []
    return found


@pytest.mark.parametrize("case", _vectors(), ids=lambda case: case["input"][:60])
def test_records_are_read_as_mox_reads_them(case: dict[str, str]) -> None:
    assert is_valid(case["input"]) == (case["expect"] == "valid")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("v=TLSRPTv1; rua=mailto:a@x.example", Wanted(("a@x.example",))),
        ("v=TLSRPTv1;rua=mailto:a@x.example,https://x.example/tls;", Wanted(("a@x.example",), ("https://x.example/tls",))),
        ("v=TLSRPTv1; rua=mailto:a@x.example , mailto:a@x.example", Wanted(("a@x.example",))),
        ("v=TLSRPTv1; rua=mailto:a%2Cb@x.example?subject=hi", Wanted(("a,b@x.example",))),
        ("v=TLSRPTv1; x.y=1; rua=MAILTO:a@x.example", Wanted(("a@x.example",))),
        ("v=TLSRPTv1; rua=ftp://x.example/, http://x.example/, https://u@x.example/", Wanted()),
        ("v=TLSRPTv1; rua=mailto:nobody, mailto:a@b@x.example", Wanted()),
    ],
)  # fmt: skip
def test_where_reports_are_wanted(text: str, wanted: Wanted) -> None:
    assert parse_record(text) == wanted
    assert wanted_by([text]) == wanted


@pytest.mark.parametrize(
    "texts",
    [
        [], ["v=spf1 -all"], ["v=TLSRPTv1; rua=mailto:a@x.example"] * 2,
        ["v=TLSRPTv10; rua=mailto:a@x.example"],
        ["v=TLSRPTv1; rua=x"], ["v=TLSRPTv1; rua=mailto:a@x.example; a b"],
    ],
)  # fmt: skip
def test_what_asks_for_none(texts: list[str]) -> None:
    assert not wanted_by(texts)


def test_many_places_are_not_all_served() -> None:
    rua = ",".join(f"mailto:a{n}@x.example" for n in range(100))

    assert len(wanted_by([f"v=TLSRPTv1; rua={rua}"]).mailboxes) == 5


@given(text=st.text(max_size=60))
def test_whatever_a_domain_publishes_few_places_are_served(text: str) -> None:
    for record in (
        f"v=TLSRPTv1; rua=mailto:{text}",
        text,
        f"v=TLSRPTv1;{text}",
        f"v=TLSRPTv1; rua=https://{text}",
    ):
        assert len(wanted_by([record]).mailboxes) <= 5
