"""The brake's thresholds as data: from which rates a stream is warned of or held, and what is too little.

    [complaints]                        # of what was delivered
    warn = 0.001                        # parts, from which on
    pause = 0.003
    least = 3                           # fewer complaints are no rate

    [window.day]
    hours = 24                          # the running hour and those before it
    answers = 200                       # fewer delivered and hard bounced are not judged for bounces
    delivered = 1000                    # fewer are not judged for complaints

    [newcomer]                          # the daily cap of a new tenant
    growth = 2.0                        # times as much after a clean day
    used = 0.5                          # part of the cap that a day must use to count
    free_at = 64                        # times the first cap: then there is none

A file of the operator's says only what it wants otherwise.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

MOST_HOURS = 24 * 14
KINDS = frozenset({"transactional", "broadcast"})


class BrakePlanError(ValueError):
    """The data cannot be used; one sentence."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """warn, pause: parts, 0.0 to 1.0, from which on. least: fewer are no rate."""

    warn: float
    pause: float
    least: int


@dataclass(frozen=True, slots=True)
class Window:
    """hours: the running one and those before it. answers, delivered: fewer are not judged."""

    name: str
    hours: int
    answers: int
    delivered: int


@dataclass(frozen=True, slots=True)
class Newcomer:
    """growth: factor after a clean day. used: part of the cap. free_at: times the first cap."""

    growth: float
    used: float
    free_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BrakeRules:
    """pauses: kinds of streams that are held; others are warned of. windows: the shortest first."""

    pauses: frozenset[str]
    complaints: Threshold
    hard_bounces: Threshold
    windows: tuple[Window, ...]
    newcomer: Newcomer

    def off(self) -> BrakeRules:
        """The same, by which nothing is judged, so that every stream is clear."""
        return replace(self, windows=())

    @property
    def hours(self) -> int:
        """Of the longest window."""
        return max(window.hours for window in self.windows)


def parse(shipped: str, own: str = "") -> BrakeRules:
    """own: the operator's file, over the shipped one. Raises BrakePlanError."""
    try:
        base, over = tomllib.loads(shipped), tomllib.loads(own)
        _check_known(base, over)
        return _rules(_over(base, over))
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, BrakePlanError):
            raise
        raise BrakePlanError(f"the brake's thresholds cannot be read: {error!r}") from None


def _check_known(base: Mapping[str, Any], over: Mapping[str, Any], at: str = "") -> None:
    for name, value in over.items():
        path = f"{at}.{name}" if at else name
        if at == "window":
            _check_known(base[min(base)], value, path)
        elif name not in base:
            raise BrakePlanError(f"{path} is no key of the brake")
        elif isinstance(base[name], Mapping) != isinstance(value, Mapping):
            raise BrakePlanError(
                f"{path} must be {'a table' if isinstance(base[name], Mapping) else 'a value'}"
            )
        elif isinstance(value, Mapping):
            _check_known(base[name], value, path)


def _over(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    both = {name: value for name, value in base.items() if isinstance(value, Mapping)}
    deep = {name: _over(both[name], value) if name in both else value for name, value in over.items()}
    return {**base, **deep}


def _rules(document: Mapping[str, Any]) -> BrakeRules:
    pauses = frozenset(document["pause"]["kinds"])
    if not pauses <= KINDS:
        raise BrakePlanError(f"pause.kinds are among {', '.join(sorted(KINDS))}")
    windows = [_window(name, values) for name, values in document["window"].items()]
    return BrakeRules(
        pauses=pauses,
        complaints=_threshold("complaints", document["complaints"]),
        hard_bounces=_threshold("hard_bounces", document["hard_bounces"]),
        windows=tuple(sorted(windows, key=lambda window: window.hours)),
        newcomer=_newcomer(document["newcomer"]),
    )


def _threshold(name: str, values: Mapping[str, Any]) -> Threshold:
    made = Threshold(float(values["warn"]), float(values["pause"]), int(values["least"]))
    if not 0.0 < made.warn <= made.pause <= 1.0:
        raise BrakePlanError(f"{name}: 0 < warn <= pause <= 1 must hold")
    if made.least < 1:
        raise BrakePlanError(f"{name}.least must be at least 1")
    return made


def _window(name: str, values: Mapping[str, Any]) -> Window:
    made = Window(name, int(values["hours"]), int(values["answers"]), int(values["delivered"]))
    if not 1 <= made.hours <= MOST_HOURS:
        raise BrakePlanError(f"window.{name}.hours must lie in 1..{MOST_HOURS}")
    if made.answers < 1 or made.delivered < 1:
        raise BrakePlanError(f"window.{name}: answers and delivered must be at least 1")
    return made


def _newcomer(values: Mapping[str, Any]) -> Newcomer:
    made = Newcomer(float(values["growth"]), float(values["used"]), float(values["free_at"]))
    if made.growth <= 1.0 or not 0.0 < made.used <= 1.0 or made.free_at < 1.0:
        raise BrakePlanError("newcomer: growth > 1, 0 < used <= 1 and free_at >= 1 must hold")
    return made
