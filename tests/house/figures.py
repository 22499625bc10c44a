"""Prints the figures that CONTRIBUTING.md promises and fails when one is missed: `make check` runs it.

Sizes keep a module readable in one sitting; citations let a reader check us against the RFC; a decision
without clock, dice and input can be printed, tested and replayed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.house.measure import Module, modules, percentile

ROOT = Path(__file__).parents[2]
CODE = ("mailer", "webhooks", "dns_templates")

# A migration is a record of what was done, frozen once released: nobody reads it to change it.
FROZEN = "migrations"

FILE_MEDIAN = 150
FILE_MOST = 400
FUNCTION_MEDIAN = 10
FUNCTION_P95 = 40
FUNCTION_MOST = 60
CITATIONS_PER_1000 = 10.0

CITING = ("compose", "protocol", "relay", "report")
PURE = ("compose", "policy", "protocol")
IMPURE = {
    "alembic", "asyncio", "celery", "concurrent", "http", "httpx", "kombu", "os", "psycopg", "random",
    "redis", "secrets", "select", "selectors", "socket", "sqlalchemy", "sqlite3", "ssl", "structlog",
    "subprocess", "tempfile", "threading", "time", "urllib.request",
}  # fmt: skip

# "message", "address" or "mailbox" say which of the three is meant. The standard library's package and the
# names that a registry or another vendor's interface dictates are not ours to choose.
_BANNED = re.compile(r"\be-?mails?\b", re.IGNORECASE)
_NOT_OURS = re.compile(r"(?:from|import) email\b|\bemail\.\w|mail address\b|emailAddress|# not our word\b")
BANNED_MODULE_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "base", "misc"}


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the report. met: whether it keeps what we promise."""

    name: str
    value: str
    promise: str
    met: bool


def sizes(code: tuple[Module, ...]) -> Iterator[Figure]:
    files = [module.lines for module in code if FROZEN not in module.path.parts]
    functions = [function.lines for module in code for function in module.functions]
    for name, value, most in [
        ("file median, lines", percentile(files, 0.5), FILE_MEDIAN - 1),
        ("file longest", max(files, default=0), FILE_MOST),
        ("function median, lines", percentile(functions, 0.5), FUNCTION_MEDIAN),
        ("function p95", percentile(functions, 0.95), FUNCTION_P95),
        ("function longest", max(functions, default=0), FUNCTION_MOST),
    ]:
        yield Figure(name, str(value), f"<= {most}", value <= most)


def citations(code: tuple[Module, ...]) -> Iterator[Figure]:
    for stage in CITING:
        found = [module for module in code if module.stage == stage]
        lines = sum(module.lines for module in found)
        density = 1000 * sum(module.citations for module in found) / lines if lines else 0.0
        enough = density >= CITATIONS_PER_1000 or not found
        yield Figure(
            f"RFC sections / 1,000 lines: {stage}", f"{density:.1f}", f">= {CITATIONS_PER_1000:g}", enough
        )


def faults(code: tuple[Module, ...]) -> list[str]:
    """Each place that breaks a rule, as file:line."""
    return [fault for module in code for fault in (*_too_long(module), *_impure(module), *_words(module))]


def report(code: tuple[Module, ...]) -> tuple[list[Figure], list[str]]:
    found = faults(code)
    impure = sum("reaches for" in fault for fault in found)
    words = sum("the word" in fault or "module name" in fault for fault in found)
    figures = [
        Figure("modules / lines", f"{len(code)} / {sum(m.lines for m in code)}", "", True),
        *sizes(code),
        *citations(code),
        Figure("impure imports in compose, policy, protocol", str(impure), "0", impure == 0),
        Figure("words that we do not use", str(words), "0", words == 0),
    ]
    return figures, found


def main() -> int:
    figures, found = report(modules(ROOT, *CODE))
    for figure in figures:
        verdict = "ok" if figure.met else "MISSED"
        print(f"{figure.name:<46}{figure.value:>14}  {figure.promise:<8}{verdict:>8}")
    print(*found, sep="\n", end="\n" if found else "")
    return int(bool(found) or not all(figure.met for figure in figures))


def _too_long(module: Module) -> Iterator[str]:
    if module.lines > FILE_MOST and FROZEN not in module.path.parts:
        yield f"{module.path}: {module.lines} lines"
    for function in module.functions:
        if function.lines > FUNCTION_MOST:
            yield f"{module.path}:{function.line}: {function.name} has {function.lines} lines"


def _impure(module: Module) -> Iterator[str]:
    if module.path.parts[0] != "mailer" or module.stage not in PURE:
        return
    for name in sorted(module.imports):
        if name in IMPURE or name.partition(".")[0] in IMPURE or name == "mailer.clock":
            yield f"{module.path}: a pure stage reaches for {name}"


def _words(module: Module) -> Iterator[str]:
    if module.path.stem in BANNED_MODULE_NAMES:
        yield f"{module.path}: says nothing as a module name"
    for number, line in enumerate(module.text.splitlines(), 1):
        if (word := _BANNED.search(line)) and not _NOT_OURS.search(line):
            yield f"{module.path}:{number}: the word {word.group()!r}"


if __name__ == "__main__":
    sys.exit(main())
