"""What can be counted of the code: sizes, citations, imports, words."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# A section, not only an RFC: "RFC 5321 §4.5.3.2.6", "RFC 2045 §2.1, §2.2" counts twice.
_CITATION = re.compile(r"RFC \d{3,5} (§[\d.A-Z]*[\dA-Z](?:(?:, | and |-)§[\d.A-Z]*[\dA-Z])*)")
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True, slots=True)
class Function:
    """lines: from its first decorator to its last statement."""

    name: str
    line: int
    lines: int


@dataclass(frozen=True, slots=True)
class Module:
    """path: relative to the project's root. imports: dotted names, as written."""

    path: Path
    text: str
    functions: tuple[Function, ...]
    imports: frozenset[str]

    @property
    def lines(self) -> int:
        return self.text.count("\n")

    @property
    def citations(self) -> int:
        return sum(found.count("§") for found in _CITATION.findall(self.text))

    @property
    def stage(self) -> str:
        """The folder below its top-level package: "relay" for mailer/relay/smtp/plan.py."""
        return self.path.parts[1] if len(self.path.parts) > 2 else ""


def modules(root: Path, *folders: str) -> tuple[Module, ...]:
    """Every Python module of these folders, in order."""
    paths = sorted(path for folder in folders for path in (root / folder).rglob("*.py"))
    return tuple(parse(path.relative_to(root), path.read_text()) for path in paths)


def parse(path: Path, text: str) -> Module:
    tree = ast.parse(text)
    return Module(path, text, tuple(_functions(tree)), frozenset(_imports(tree)))


def percentile(values: list[int], fraction: float) -> int:
    """The smallest value that this fraction of all does not exceed; 0 of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * fraction))] if ordered else 0


def _functions(tree: ast.AST) -> Iterator[Function]:
    for node in ast.walk(tree):
        if isinstance(node, _FUNCTIONS):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            yield Function(node.name, node.lineno, (node.end_lineno or first) - first + 1)


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
