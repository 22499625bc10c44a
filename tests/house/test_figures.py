"""The figures count what they say they count."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from tests.house.figures import CODE, ROOT, faults, report
from tests.house.measure import modules, parse, percentile


def module(path: str, text: str = "") -> tuple[str, ...]:
    return tuple(faults((parse(Path(path), dedent(text)),)))


@pytest.mark.parametrize(
    ("text", "citations"),
    [
        ("# RFC 5321 §4.5.3.2.6", 1),
        ("# RFC 2045 §2.1, §2.2 and §6", 3),
        ("# RFC 2046 §4-§5, RFC 2047 §8", 3),
        ("# RFC 7208 §A.1", 1),
        ("# RFC 5321, RFC 5322", 0),
        ("# ours §3", 0),
    ],
)
def test_a_citation_names_a_section_of_an_rfc(text: str, citations: int) -> None:
    assert parse(Path("mailer/relay/x.py"), text).citations == citations


def test_a_function_counts_from_its_decorator_to_its_last_line() -> None:
    text = """\
        @cached
        async def outer():
            def inner():
                return 1
            return inner
        """
    functions = parse(Path("x.py"), dedent(text)).functions

    assert [(f.name, f.lines) for f in functions] == [("outer", 5), ("inner", 2)]


@pytest.mark.parametrize(
    ("values", "fraction", "found"),
    [([], 0.5, 0), ([7], 0.95, 7), ([3, 1, 2], 0.5, 2), ([*range(100)], 0.95, 95)],
)
def test_percentiles_of_few_values(values: list[int], fraction: float, found: int) -> None:
    assert percentile(values, fraction) == found


@pytest.mark.parametrize(
    "statement",
    [
        "import time",
        "from os import path",
        "import asyncio.events",
        "from mailer import clock",
        "import mailer.clock",
    ],
)
def test_a_decision_that_reaches_for_the_world_is_a_fault(statement: str) -> None:
    assert module("mailer/policy/retry.py", statement)
    assert not module("mailer/relay/worker.py", statement)


@pytest.mark.parametrize(
    "line", ["email = 1", '"""Sends an e-mail."""', "# the E-Mail of a user", "def f(email): ..."]
)
def test_the_word_that_says_nothing_is_a_fault(line: str) -> None:
    assert module("mailer/web/page.py", line)


@pytest.mark.parametrize(
    "line",
    ["from email.policy import SMTP", "import email", "# e.g. `email.message`", "# the mail is emailed"],
)
def test_the_standard_librarys_package_may_be_named(line: str) -> None:
    assert not module("mailer/web/page.py", line)


def test_a_module_has_a_name_that_says_something() -> None:
    assert module("mailer/queue/utils.py")


def test_what_is_too_long_is_named_and_missed() -> None:
    text = "def long():\n" + "    pass\n" * 60 + "#\n" * 400
    figures, found = report((parse(Path("mailer/queue/claim.py"), text),))

    assert found == ["mailer/queue/claim.py: 461 lines", "mailer/queue/claim.py:1: long has 61 lines"]
    assert {figure.name for figure in figures if not figure.met} >= {"file longest", "function longest"}


def test_a_stage_that_cites_nothing_is_missed() -> None:
    figures, _ = report((parse(Path("mailer/relay/pool.py"), "x = 1\n" * 100),))

    assert "RFC sections / 1,000 lines: relay" in {figure.name for figure in figures if not figure.met}


def test_the_code_keeps_its_figures() -> None:
    figures, found = report(modules(ROOT, *CODE))

    assert [figure for figure in figures if not figure.met] == []
    assert found == []
