"""Wording that is data (data/wording.toml): lists of expressions by what they show."""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Mapping
from importlib import resources
from typing import Any


def wording(name: str) -> re.Pattern[str]:
    """Finds any of the expressions of a section, in any case of letters."""
    section = _sections()[name]
    return re.compile(section.get("begin", "") + alternatives(name), re.IGNORECASE)


def alternatives(name: str) -> str:
    """The expressions of a section as one group."""
    return f"(?:{'|'.join(_sections()[name]['patterns'])})"


@functools.cache
def _sections() -> Mapping[str, Mapping[str, Any]]:
    text = (resources.files(__package__) / "data" / "wording.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)
