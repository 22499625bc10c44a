"""The language of templates: Liquid by python-liquid, less what reads files or the clock, and bounded.

Whoever may write a template writes a program that we run. It reaches nothing but its data: no file, no
clock, no attribute of a Python object. And it costs what we allow: every node rendered, variable read,
filter applied and character written takes steps of one budget, so that what it costs at most is known before
it runs, and the same template with the same data ends the same way on every machine.

Left out of the standard set, because they need a file: `include`, `render`; because what they cost grows
with the square of what they are given: `uniq`, `strip_html`. `now`, `today` and `date: "now"` are no names
here: two messages of one batch would differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache

from liquid import Environment, RenderContext
from liquid.ast import Node
from liquid.builtin.expressions.primitive import RangeLiteral
from liquid.exceptions import LiquidError
from liquid.expression import Expression
from liquid.parser import get_parser
from liquid.stream import TokenStream
from liquid.template import BoundTemplate

from mailer.compose import template_filters
from mailer.compose.template_budget import Refusal, refuse

_TERMS = 50  # in one tag; `a and b and c` has five
_RANGE_ITEMS = 10_000
_NO_TAGS = ("include", "render")
_NO_FILTERS = ("uniq", "strip_html")


class _BoundedEnd(Expression):
    """The end of a range that is not too far from its start."""

    __slots__ = ("end", "start")

    def __init__(self, start: Expression, end: Expression) -> None:
        super().__init__(end.token)
        self.start, self.end = start, end

    def evaluate(self, context: RenderContext) -> object:
        end = self.end.evaluate(context)
        if _whole(end) - _whole(self.start.evaluate(context)) >= _RANGE_ITEMS:
            refuse(f"a range may have {_RANGE_ITEMS} items", self.end.token)
        return end

    def children(self) -> Iterable[Expression]:
        return [self.end]


def _whole(value: object) -> int:
    """As the library reads the ends of a range: what is no number is 0. Floats are cut."""
    try:
        return int(value) if isinstance(value, (int, float, str)) else 0
    except (ValueError, OverflowError):
        return 0


@cache
def environment(*, escapes: bool) -> Environment:
    """The one that parses; escapes: values are written as text of an HTML document."""
    made = Environment(autoescape=escapes)
    for tag in _NO_TAGS:
        del made.tags[tag]
    for name in _NO_FILTERS:
        del made.filters[name]
    for name, function in template_filters.OWN.items():
        made.add_filter(name, function)
    return made


def parse(source: str, *, escapes: bool) -> BoundTemplate:
    """Raises LiquidError with the token at fault, or what the library trips over."""
    language = environment(escapes=escapes)
    stream = TokenStream(language.tokenizer()(source))
    try:
        nodes = get_parser(language).parse(stream)
    except LiquidError as error:
        # The end of an expression, or of everything, has no place of its own: it is where reading stopped.
        if (error.token is None or error.token.source is not source) and stream.tokens:
            error.token = stream.tokens[min(stream.pos, len(stream.tokens)) - 1]
        raise
    template = BoundTemplate(language, nodes)
    _bound(template)
    return template


def _bound(template: BoundTemplate) -> None:
    """Checks and bounds what only the parsed template shows. Raises LiquidError."""
    asked = RenderContext(template)
    for node in nodes_of(template.nodes, asked):
        expressions = [e for expression in node.expressions() for e in _all(expression)]
        if len(expressions) > _TERMS:
            raise Refusal(f"a tag may have {_TERMS} terms", token=node.token)
        for expression in expressions:
            for used in getattr(expression, "filters", None) or ():
                used.validate_filter_arguments(template.env)
            if isinstance(expression, RangeLiteral):
                expression.stop = _BoundedEnd(expression.start, expression.stop)


def nodes_of(nodes: Iterable[Node], asked: RenderContext) -> Iterator[Node]:
    for node in nodes:
        yield node
        yield from nodes_of(node.children(asked, include_partials=False), asked)


def _all(expression: Expression) -> Iterator[Expression]:
    yield expression
    for child in expression.children():
        yield from _all(child)
