"""A template is compiled once and rendered often: text with gaps becomes a subject, a text or an HTML part.

What is missing is not left blank: a message that greets nobody is worse than none. Every variable that was
wanted and not there is named, with the line that wants it; one that may be missing says so in the template:
`{{ name | default: "friend" }}`. null and false are values like others, for `{% if %}`.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

from liquid.builtin.expressions import FilteredExpression, Path
from liquid.context import RenderContext
from liquid.exceptions import (
    LiquidError,
    LiquidSyntaxError,
    LiquidTypeError,
    ResourceLimitError,
    UnknownFilterError,
)
from liquid.template import BoundTemplate

from mailer.compose import template_language, template_source
from mailer.compose.template_budget import Paper, Reading, Refusal, line_of
from mailer.compose.template_language import nodes_of
from mailer.compose.template_source import SourceFault

SOURCE_CHARS = 250_000  # readers cut off HTML far shorter than that
_SHOWN_CHARS = 200
# Whose words quote the template and nothing of the data.
_TELLING = (Refusal, LiquidSyntaxError, LiquidTypeError, UnknownFilterError, ResourceLimitError)
# What the library raises beside its own when it is given what it did not expect.
_TRIPPED = (ValueError, TypeError, ArithmeticError, LookupError, AttributeError, RecursionError)


class Part(enum.StrEnum):
    """What a template makes of a message."""

    SUBJECT = "subject"
    TEXT = "text"
    HTML = "html"


class TemplateFault(Exception):
    """The template is wrong, or cannot be rendered with this data. line: None where no line is at fault."""

    def __init__(self, what: str, part: Part, line: int | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.part = part
        self.line = line

    def __str__(self) -> str:
        where = self.part if self.line is None else f"{self.part}, line {self.line}"
        return f"{self.what} ({where})"


@dataclass(frozen=True, slots=True)
class Missing:
    """A variable that the data lacks: its path, such as ("order", "number"), and where it is first wanted."""

    path: tuple[str | int, ...]
    part: Part
    line: int

    @property
    def name(self) -> str:
        return shown(self.path)


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of the data that a template speaks of. is_required: it is an error if it is missing."""

    name: str
    is_required: bool


@dataclass(frozen=True, slots=True)
class Rendered:
    """missing: empty, or `text` has gaps and must not be sent."""

    text: str
    missing: tuple[Missing, ...]


@dataclass(frozen=True, slots=True)
class Template:
    """One part, ready to be rendered. Safe to share between threads."""

    part: Part
    variables: tuple[Variable, ...]
    _bound: BoundTemplate
    _optional: Set[int]

    def render(self, data: Mapping[str, object]) -> Rendered:
        """The same for the same data. Raises TemplateFault, and nothing else for data that JSON can say."""
        try:
            reading = Reading(self._bound, data, self._optional)
            paper = Paper(reading)
            try:
                self._bound.render_with_context(reading, paper)
            except (LiquidError, *_TRIPPED):
                # With a gap in its data anything may fail later; the gap is what its author must know.
                if not reading.missing:
                    raise
        except LiquidError as error:
            raise _fault(error, self.part) from error
        except _TRIPPED as error:
            raise TemplateFault("the template cannot work with this data", self.part) from error
        found = tuple(Missing(path, self.part, line) for path, line in reading.missing.items())
        return Rendered(paper.getvalue(), found)


def compile_template(source: str, part: Part) -> Template:
    """Raises TemplateFault, and nothing else, whatever the source."""
    if len(source) > SOURCE_CHARS:
        raise TemplateFault(f"a template may have {SOURCE_CHARS} characters", part)
    if "\0" in source:
        raise TemplateFault("a template holds no NUL", part, 1 + source.count("\n", 0, source.index("\0")))
    try:
        template_source.check(source)
        made = template_language.parse(source, escapes=part is Part.HTML)
        optional = frozenset(_optional(made))
        variables = tuple(_variables(made, optional))
    except SourceFault as error:
        raise TemplateFault(error.what, part, error.line) from None
    except LiquidError as error:
        raise _fault(error, part) from error
    except _TRIPPED as error:
        raise TemplateFault("the template is nested too deep, or is no template", part) from error
    return Template(part, variables, made, optional)


def shown(path: Iterable[str | int]) -> str:
    """As it is written in a template: order.lines[0].name"""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif step.replace("-", "_").isidentifier():
            text += f".{step}" if text else step
        else:
            text += f"[{step!r}]"
    return text


def _optional(template: BoundTemplate) -> Iterable[int]:
    """Where variables stand that the filter `default` is first applied to."""
    for node in nodes_of(template.nodes, RenderContext(template)):
        for expression in node.expressions():
            if (
                isinstance(expression, FilteredExpression)
                and isinstance(expression.left, Path)
                and expression.filters
                and expression.filters[0].name == "default"
            ):
                yield expression.left.token.start_index


def _variables(template: BoundTemplate, optional: Set[int]) -> Iterable[Variable]:
    """By name; required if it is so anywhere."""
    required: dict[str, bool] = {}
    for wanted in template.analyze(include_partials=False).globals.values():
        for variable in wanted:
            name = str(variable)
            required[name] = required.get(name, False) or variable.span.index not in optional
    return (Variable(name, required[name]) for name in sorted(required))


def _fault(error: LiquidError, part: Part) -> TemplateFault:
    line = None if error.token is None else line_of(error.token)
    what = str(error.message) if isinstance(error, _TELLING) else "the template cannot work with this data"
    what = what.replace("end of expression", "its end")
    return TemplateFault(what if len(what) <= _SHOWN_CHARS else what[:_SHOWN_CHARS] + "...", part, line)
