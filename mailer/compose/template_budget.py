"""One rendering of a template, and what it may cost.

Every node rendered, value read, filter applied and character written takes steps of one budget, in
proportion to the work, so that no template takes long, however it is written and whatever it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from io import StringIO
from typing import Any, NoReturn, TextIO

from liquid import RenderContext
from liquid.exceptions import LiquidError
from liquid.template import BoundTemplate
from liquid.token import Token
from liquid.undefined import UNDEFINED, Undefined
from liquid.utils import ReadOnlyChainMap

STEPS = 100_000  # a large order confirmation takes 5,000
OUTPUT_CHARS = 1_000_000
_VALUE_CHARS = 1_000_000  # of one value that a filter makes
_DATA_DEPTH = 50
_DATA_CHARS = 250_000  # and items
_NUMBER_BITS = 512
_MISSING = 100  # named at once
_NOTHING = object()


class Refusal(LiquidError):
    """What a template may not do, in words that hold nothing of its data."""


class Reading(RenderContext):
    """One rendering: what it may still spend, and which variables it missed.

    optional  where in the source a variable stands that may be missing: left of the filter `default`
    missing   the others that were, as paths, each with the line that first wanted it
    """

    __slots__ = ("_weights", "missing", "optional", "steps_left", "written")

    def __init__(self, template: BoundTemplate, data: Mapping[str, object], optional: Set[int]) -> None:
        self.steps_left = STEPS
        super().__init__(template, globals=data)
        # Without the library's own `now` and `today`.
        self.scope = ReadOnlyChainMap(self.locals, self.globals, self.counters)
        self.optional = optional
        self.missing: dict[tuple[str | int, ...], int] = {}
        self.written = 0
        self._weights: dict[int, int] = {}
        if self._learn(data, _DATA_DEPTH) > _DATA_CHARS:
            raise Refusal(f"the data of one message may have {_DATA_CHARS} characters", token=None)

    def spend(self, steps: int = 1) -> None:
        self.steps_left -= steps
        if self.steps_left < 0:
            raise Refusal("the template takes too many steps with this data", token=None)

    @property
    def disabled_tags(self) -> list[str]:
        """Asked for by every node before it renders, which is where a node is paid for."""
        self.spend()
        return []

    @disabled_tags.setter
    def disabled_tags(self, tags: list[str]) -> None:
        """None is ever disabled while rendering."""

    def get(self, path: list[object], *, token: Token | None, default: object = UNDEFINED) -> object:
        found = super().get(path, token=token, default=_NOTHING)
        if found is _NOTHING:
            if token is None or token.start_index not in self.optional:
                self._miss(_steps_of(path), token)
            return Undefined(str(path[0]), token=token)
        self.spend(1 + self._weigh(found) // 100)
        return found

    def _miss(self, path: tuple[str | int, ...], token: Token | None) -> None:
        if path not in self.missing and len(self.missing) < _MISSING:
            self.missing[path] = 1 if token is None else line_of(token)

    def assign(self, key: str, val: Any) -> None:
        self.spend(1 + self._weigh(val) // 100)
        self.locals[key] = val

    def raise_for_loop_limit(self, length: int = 1) -> None:
        """Called as a loop begins. Its rounds are paid for one by one; it is refused before the first."""
        if length > self.steps_left:
            self.spend(length)

    def get_buffer(self, buf: TextIO | None = None) -> StringIO:
        return Paper(self)

    def filter(self, name: str, token: Token | None) -> Callable[..., object]:
        apply = super().filter(name, token)

        def bounded(value: object, *arguments: object, **named: object) -> object:
            given = (value, *arguments, *named.values())
            self.spend(1 + sum(map(self._weigh, given)) // 50)
            try:
                made = apply(value, *arguments, **named)
            except Refusal as error:
                error.token = token
                raise
            except (LiquidError, ValueError, TypeError, ArithmeticError, LookupError) as error:
                # The library's own words would quote the value.
                refuse(f"the filter `{name}` cannot work with what it is given", token, error)
            if self._weigh(made) > _VALUE_CHARS:
                refuse(f"the filter `{name}` makes too much of what it is given", token)
            if isinstance(made, int) and made.bit_length() > _NUMBER_BITS:
                refuse(f"the filter `{name}` makes too large a number", token)
            self.spend(self._weigh(made) // 50)
            return made

        return bounded

    def _learn(self, value: object, depth: int) -> int:
        """What is in the data is weighed once, however often it is read."""
        if depth < 0:
            raise Refusal("the data is nested too deep", token=None)
        if not isinstance(value, (dict, list)):
            return self._weigh(value)
        inside = value.values() if isinstance(value, dict) else value
        names = sum(map(len, value)) if isinstance(value, dict) else 0
        weight = 1 + len(value) + names + sum(self._learn(item, depth - 1) for item in inside)
        self._weights[id(value)] = weight
        return weight

    def _weigh(self, value: object) -> int:
        """Characters and items in it, all the way down."""
        if isinstance(value, str):
            return 1 + len(value)
        if isinstance(value, range):
            return 1 + len(value)
        if isinstance(value, (dict, list, tuple)):
            known = self._weights.get(id(value))
            if known is None:
                items = value.values() if isinstance(value, dict) else value
                known = 1 + len(value) + sum(map(self._weigh, items))
            return known
        return 1


class Paper(StringIO):
    """What a rendering writes on; all sheets of one rendering are counted together."""

    def __init__(self, reading: Reading) -> None:
        super().__init__()
        self._reading = reading

    def write(self, text: str) -> int:
        reading = self._reading
        reading.spend(1 + len(text) // 100)
        reading.written += len(text)
        if reading.written > OUTPUT_CHARS:
            raise Refusal(f"the template writes more than {OUTPUT_CHARS} characters", token=None)
        return super().write(text)


def line_of(token: Token) -> int:
    return 1 + token.source.count("\n", 0, max(token.start_index, 0))


def _steps_of(path: Iterable[object]) -> tuple[str | int, ...]:
    return tuple(step if isinstance(step, (str, int)) else str(step) for step in path)


def refuse(what: str, token: Token | None, cause: Exception | None = None) -> NoReturn:
    raise Refusal(what, token=token) from cause
