"""Wording that is data (data/wording.toml): lists of expressions by what they show."""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any

_VERBS = "do|does|did|is|are|was|were|has|have|had|could|would"
_APOSTROPHE = "['\u2019]?"


def wording(name: str) -> re.Pattern[str]:
    """Finds any of the expressions of a section, in any case of letters."""
    section = _sections()[name]
    return re.compile(section.get("begin", "") + alternatives(name), re.IGNORECASE)


def alternatives(name: str) -> str:
    """The expressions of a section as one group."""
    return f"(?:{'|'.join(map(loosened, _sections()[name]['patterns']))})"


def loosened(expression: str, gap: str = " ") -> str:
    """With every spelling of "could not", and a hyphen or none. gap: what stands between words in it."""
    expression = re.sub(rf"\b({_VERBS}){re.escape(gap)}not\b", _negated(gap), expression)
    expression = re.sub(
        rf"\bcan(?:{re.escape(gap)})?not\b", lambda _: f"can(?:(?:{gap})?not|{_APOSTROPHE}t)", expression
    )
    return re.sub(r"\be-?\??mail", "e-?mail", expression)


def _negated(gap: str) -> Callable[[re.Match[str]], str]:
    return lambda verb: f"{verb[1]}(?:{gap}not|n{_APOSTROPHE}t)"


@functools.cache
def _sections() -> Mapping[str, Mapping[str, Any]]:
    text = (resources.files(__package__) / "data" / "wording.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)
