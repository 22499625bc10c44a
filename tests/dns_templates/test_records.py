"""The records of a sending domain as values and as text."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dns_templates import DkimKey, DomainFacts, Format, Purpose, TemplateError, records, render
from dns_templates.render import strings

RSA_KEY = "MIIB" + "a" * 388
FACTS = DomainFacts(
    domain="Shop.example",
    keys=(DkimKey("m1r", "rsa", RSA_KEY), DkimKey("m1e", "ed25519", "c" * 43 + "=")),
    return_path_domain="bounce.shop.example",
    return_path_mx="mx.sender.example",
    spf_include="_spf.sender.example",
    dmarc_reports_to="reports@shop.example",
)


def test_all_records_of_a_domain() -> None:
    assert [(r.purpose, r.name, r.type, r.value) for r in records(FACTS)] == [
        (Purpose.DKIM, "m1r._domainkey.shop.example", "TXT", f"v=DKIM1; k=rsa; p={RSA_KEY}"),
        (Purpose.DKIM, "m1e._domainkey.shop.example", "TXT", f"v=DKIM1; k=ed25519; p={'c' * 43}="),
        (Purpose.RETURN_PATH, "bounce.shop.example", "MX", "10 mx.sender.example."),
        (Purpose.RETURN_PATH, "bounce.shop.example", "TXT", "v=spf1 include:_spf.sender.example ~all"),
        (Purpose.DMARC, "_dmarc.shop.example", "TXT", "v=DMARC1; p=none; rua=mailto:reports@shop.example"),
    ]


def test_reports_are_asked_for_where_there_are_mailboxes() -> None:
    """RFC 7489 §6.3, RFC 8460 §3."""
    facts = replace(
        FACTS,
        dmarc_failures_to="ruf@bounce.shop.example",
        tls_reports_to="tls;reports@bounce.shop.example",
    )

    *_, dmarc, tls = records(facts)

    assert dmarc.value.endswith("; rua=mailto:reports@shop.example; ruf=mailto:ruf@bounce.shop.example")
    assert (tls.purpose, tls.name, tls.value) == (
        Purpose.TLS_REPORTS,
        "_smtp._tls.bounce.shop.example",
        "v=TLSRPTv1; rua=mailto:tls%3Breports@bounce.shop.example",
    )


def test_without_an_spf_domain_the_return_path_host_is_the_sender() -> None:
    """RFC 7208 §5.4; and still exactly one SPF record (§4.5)."""
    found = [r.value for r in records(replace(FACTS, spf_include=None)) if r.value.startswith("v=spf1")]

    assert found == ["v=spf1 mx ~all"]


def test_without_a_mailbox_no_reports_are_asked_for() -> None:
    assert records(replace(FACTS, dmarc_reports_to=None))[-1].value == "v=DMARC1; p=none"


def test_a_mailbox_cannot_end_its_uri() -> None:
    """RFC 7489 §6.2."""
    assert records(replace(FACTS, dmarc_reports_to="a,b!c@x.example"))[-1].value.endswith(
        "mailto:a%2Cb%21c@x.example"
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"domain": "shop example"},
        {"domain": "grüße.example"},
        {"domain": 'x".example'},
        {"domain": "other.example"},
        {"return_path_domain": "bounce.elsewhere.example"},
        {"return_path_mx": "mx.sender.example."},
        {"spf_include": "a b"},
        {"keys": (DkimKey("a..b", "rsa", "aaaa"),)},
        {"keys": (DkimKey("a", "dsa", "aaaa"),)},
        {"keys": (DkimKey("a", "rsa", 'a"; v=DKIM1'),)},
        {"dmarc_policy": "maybe"},
        {"ttl_seconds": -1},
    ],
)
def test_a_fact_that_cannot_stand_in_the_dns_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(TemplateError):
        replace(FACTS, **wrong)  # type: ignore[arg-type]


@given(text=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=2000))
def test_no_character_string_is_too_long_and_none_is_lost(text: str) -> None:
    """RFC 1035 §3.3."""
    cut = strings(text)

    assert "".join(cut) == text
    assert cut and max(map(len, cut)) <= 255


def test_json_has_the_text_whole_and_cut() -> None:
    found = json.loads(render(records(FACTS), Format.JSON))

    assert [entry["purpose"] for entry in found] == ["dkim", "dkim", "return-path", "return-path", "dmarc"]
    assert "".join(found[0]["strings"]) == found[0]["value"]
    assert found[2]["strings"] is None


def test_the_table_has_every_value_on_one_line_to_be_copied() -> None:
    table = render(records(FACTS), "table").splitlines()

    assert [line for line in table if line.startswith("  value  ")] == [
        f"  value  {r.value}" for r in records(FACTS)
    ]


@pytest.mark.parametrize("how", list(Format))
def test_every_format_ends_its_last_line(how: Format) -> None:
    assert render(records(FACTS), how).endswith("\n")


def test_an_unknown_format_is_an_error() -> None:
    with pytest.raises(ValueError, match="'bind'"):
        render(records(FACTS), "bind")
