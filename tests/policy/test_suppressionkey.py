"""By what an entry is found."""

from __future__ import annotations

import pytest

from mailer.policy.suppressionkey import Keys, What, canonical

KEYS = Keys(b"k" * 32)


@pytest.mark.parametrize(
    ("one", "other"),
    [("Ada@Example.ORG", "ada@example.org"), ("Ärger@example.org", "ÄRGER@example.org".replace("Ä", "ä"))],
)
def test_case_makes_no_difference(one: str, other: str) -> None:
    assert KEYS.address(one) == KEYS.address(other)


@pytest.mark.parametrize("other", ["ada+shop@example.org", "a.da@example.org", "ada@mail.example.org"])
def test_tags_dots_and_subdomains_do(other: str) -> None:
    assert KEYS.address("ada@example.org").key_hash != KEYS.address(other).key_hash


def test_an_address_is_covered_by_entries_of_its_own_domain_and_of_those_above() -> None:
    covering = KEYS.covering("Ada@a.b.example")

    assert KEYS.address("ada@a.b.example").key_hash in covering
    assert KEYS.domain("a.b.example").key_hash in covering
    assert KEYS.domain("a.b.example", subdomains=True).key_hash in covering
    assert KEYS.domain("b.example", subdomains=True).key_hash in covering
    assert KEYS.domain("b.example").key_hash not in covering


def test_a_hash_is_of_one_installation() -> None:
    assert Keys(b"o" * 32).address("ada@example.org").key_hash != KEYS.address("ada@example.org").key_hash


def test_a_target_bears_what_it_was_made_of() -> None:
    target = KEYS.domain("Example.org", subdomains=True)

    assert (target.what, target.address, target.domain) == (What.SUBDOMAINS, None, "example.org")
    assert canonical('"Ada L"@example.org') == '"ada l"@example.org'
