"""mailer/protocol/rfc.toml tells the truth about the RFCs the code cites."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import mailer

_CODE = Path(mailer.__file__).parent
_LIST = _CODE / "protocol" / "rfc.toml"
_SOURCES = ("*.py", "*.toml", "*.html", "*.js", "*.css")
# "RFC 5321 §4.2", and the numbers that follow in "RFC 3463 §2, 7505" or "RFC 6376, 8463".
_CITATION = re.compile(r"\bRFC (\d+)(?: §[0-9A-Z.]+)?((?:, \d{3,4}\b)*)")
_LISTED = tomllib.loads(_LIST.read_text("utf-8"))


def _citations(text: str) -> set[str]:
    found = _CITATION.findall(text)
    return {first for first, _ in found} | {n for _, rest in found for n in re.findall(r"\d+", rest)}


def _cited() -> dict[str, str]:
    """RFC number: a file that cites it."""
    files = [f for pattern in _SOURCES for f in _CODE.rglob(pattern) if f != _LIST]
    return {n: str(f.relative_to(_CODE)) for f in files for n in _citations(f.read_text("utf-8"))}


def test_a_citation_is_found_in_every_form() -> None:
    text = "(RFC 5321 §4.2, RFC 3463, 7505; RFC 8058 §3.1, §4)"

    assert _citations(text) == {"5321", "3463", "7505", "8058"}


def test_every_rfc_the_code_cites_is_listed() -> None:
    missing = {number: file for number, file in _cited().items() if number not in _LISTED}

    assert missing == {}


def test_nothing_is_claimed_that_the_code_does_not_cite() -> None:
    claimed = {number for number, rfc in _LISTED.items() if rfc["support"] != "no"}

    assert claimed - _cited().keys() == set()


@pytest.mark.parametrize("number", _LISTED)
def test_an_entry_says_how_far_it_goes(number: str) -> None:
    entry = _LISTED[number]

    assert set(entry) <= {"title", "support", "note"}
    assert entry["title"]
    assert entry["support"] in {"yes", "partial", "no"}
    assert entry.get("note") or entry["support"] != "partial"


def test_the_list_is_in_order() -> None:
    assert list(_LISTED) == sorted(_LISTED, key=int)
