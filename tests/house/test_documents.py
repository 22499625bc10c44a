"""The documents say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mailer.config import Settings, describe

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def test_the_table_of_settings_is_that_of_the_code() -> None:
    assert (
        (ROOT / "docs/settings.md").read_text().endswith(describe.markdown(Settings).rstrip("\n") + "\n")
    ), "run: make docs"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_within_the_project_leads_somewhere(document: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text())

    assert [link for link in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_make_target_that_is_named_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = re.findall(r"(?:`|^ +)make ([a-z-]+)", document.read_text(), re.MULTILINE)

    assert set(named) <= targets


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_setting_that_is_named_exists(document: Path) -> None:
    known = set(re.findall(r"MAILER_[A-Z_0-9]+", describe.markdown(Settings)))

    assert set(re.findall(r"\bMAILER_[A-Z_0-9]*[A-Z0-9]\b", document.read_text())) <= known
