"""Filters of templates that are ours: the library's would read the clock, or make much out of little."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from liquid import Environment
from liquid.builtin.filters.array import join as library_join
from liquid.builtin.filters.string import replace as library_replace
from liquid.exceptions import FilterArgumentError
from liquid.filter import with_environment

_MOST_CHARS = 1_000_000
_FORMAT_CHARS = 200
_DIRECTIVE = re.compile(r"%(-?)(.)", re.DOTALL)
# Those of C's strftime that mean the same everywhere. The names of days and months are English.
_DIRECTIVES = frozenset("aAbBdHIjmMpSUwWyYzZ%")
_SHORT = {"D": "%m/%d/%y", "e": "%d", "F": "%Y-%m-%d", "h": "%b", "R": "%H:%M", "T": "%H:%M:%S"}


def replace(value: Any, old: Any, new: Any = "") -> str:
    """Each `old` in `value` becomes `new`."""
    times = str(value).count(str(old))
    if times * len(str(new)) > _MOST_CHARS:
        raise FilterArgumentError("makes too much", token=None)
    return str(library_replace(value, old, new))


@with_environment
def join(value: Any, separator: Any = " ", *, environment: Environment) -> str:
    """The items of `value` with `separator` between them."""
    items = len(value) if isinstance(value, (list, tuple, range)) else 1
    if items * len(str(separator)) > _MOST_CHARS:
        raise FilterArgumentError("makes too much", token=None)
    joined: str = library_join(value, separator, environment=environment)
    return joined


def date(value: Any, form: Any) -> str:
    """An instant as `form` says, in the terms of strftime.

    value  as RFC 3339 §5.6 writes it (or a date alone), or seconds since 1970 in UTC. The word "now" is
           refused: the same template and data make the same message, today and in a retry tomorrow.
    """
    if not isinstance(form, str) or len(form) > _FORMAT_CHARS:
        raise FilterArgumentError("the form of a date is a short text", token=None)
    at = _instant(value)
    return _DIRECTIVE.sub(lambda found: _written(at, *found.groups()), form)


def _instant(value: Any) -> datetime:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return datetime.fromtimestamp(value, UTC)
    if not isinstance(value, str):
        raise FilterArgumentError("a date is a text or a number", token=None)
    return datetime.fromisoformat(str(value))


def _written(at: datetime, flag: str, letter: str) -> str:
    if letter in _SHORT:
        text = at.strftime(_SHORT[letter])
        return _unpadded(text) if flag or letter == "e" else text
    if letter == "s":
        return str(int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()))
    if letter not in _DIRECTIVES:
        raise FilterArgumentError(f"%{letter} is no part of a date", token=None)
    text = at.strftime(f"%{letter}")
    return _unpadded(text) if flag else text


def _unpadded(text: str) -> str:
    return text.lstrip("0") or "0" if text.isdigit() else text


OWN: Mapping[str, Callable[..., object]] = {"date": date, "join": join, "replace": replace}
