"""No input makes a parser raise or stall (harness.py)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.format_targets import FORMAT_TARGETS
from tests.fuzz.harness import FINDINGS, SECONDS, Target, hammer, judge
from tests.fuzz.targets import TARGETS

EACH_SECONDS = SECONDS / len((*TARGETS, *FORMAT_TARGETS))


@pytest.mark.timeout(EACH_SECONDS + 120)
@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_no_input_makes_it_raise_or_stall(target: Target) -> None:
    assert hammer(target, EACH_SECONDS) > 0


def kept() -> list[tuple[Target, Path]]:
    return [(target, file) for target in TARGETS for file in sorted((FINDINGS / target.name).glob("*.bin"))]


@pytest.mark.parametrize(("target", "file"), kept(), ids=lambda each: getattr(each, "stem", str(each)))
def test_what_was_found_once_does_no_harm(target: Target, file: Path) -> None:
    judge(target, file.read_bytes())
