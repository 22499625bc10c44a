"""What hosts say, line by line, and what it may be taken for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mailer.policy.classifier import Said, shipped

_FILE = Path(__file__).with_name("refusals.txt")
LINES = [line.rpartition(" | ") for line in _FILE.read_text().splitlines() if not line.startswith("#")]


@pytest.mark.parametrize(("line", "accepted"), [(line, classes) for line, _, classes in LINES])
def test_a_line_is_understood(line: str, accepted: str) -> None:
    assert shipped().classify(Said(line)).bounce_class in accepted.split()


_IN_OTHER_WORDS: dict[str, Callable[[str], str]] = {
    "shouted": str.upper,
    "by Postfix": "host mx.example.net[192.0.2.7] said: {} (in reply to end of DATA command)".format,
    "by qmail": "Remote host said: {}".format,
    "as a diagnostic": "smtp; {}".format,
    "with spaces": lambda line: line.replace(" ", "  "),
}


@pytest.mark.parametrize("told", _IN_OTHER_WORDS)
@pytest.mark.parametrize("line", [line for line, _, _ in LINES if line[:1] in "45"])
def test_who_hands_a_line_on_does_not_change_its_meaning(line: str, told: str) -> None:
    plain, handed_on = (shipped().classify(Said(each)) for each in (line, _IN_OTHER_WORDS[told](line)))

    assert handed_on.bounce_class is plain.bounce_class
