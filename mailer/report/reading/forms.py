"""The forms of bounces that are text: where the recipients begin (data/forms.toml)."""

from __future__ import annotations

import functools
import re
import tomllib
from dataclasses import dataclass
from importlib import resources

from mailer.report.reading.wording import loosened

_GAP = r"[\s>|*_]+"
_COUNTED = {"address": "es", "recipient": "s", "destination": "s", "user": "s"}
_SOME_WORDS = r"[^\n]{1,80}?"


@dataclass(frozen=True, slots=True)
class Form:
    """A host's own template. pattern: finds its phrase. is_delay: the host goes on trying.

    is_general  its phrase is one that other hosts write too, in the middle of theirs
    """

    name: str
    pattern: re.Pattern[str]
    is_delay: bool
    is_general: bool
    source: str


@dataclass(frozen=True, slots=True)
class Found:
    """A form that a text has. start and end: of its phrase."""

    form: Form
    start: int
    end: int


@functools.cache
def shipped_forms() -> tuple[Form, ...]:
    """In the order of the file."""
    text = (resources.files(__package__) / "data" / "forms.toml").read_text(encoding="utf-8")
    forms = tomllib.loads(text)["form"]
    return tuple(
        Form(
            name,
            _pattern(values["phrases"]),
            bool(values.get("delayed")),
            bool(values.get("general")),
            values["source"],
        )
        for name, values in forms.items()
    )


def _pattern(phrases: list[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(_expression, phrases)), re.IGNORECASE)


def _expression(phrase: str) -> str:
    """One or several addresses or recipients, in words or as "(es)", are the same to it."""
    words = (
        _SOME_WORDS if word == "*" else _of_any_number(word) for word in _without_contractions(phrase).split()
    )
    return loosened(_GAP.join(words), _GAP)


def _of_any_number(word: str) -> str:
    for one, ending in _COUNTED.items():
        if word in {one, f"{one}{ending}", f"{one}({ending})"}:
            return rf"{one}(?:\(?{ending}\)?)?"
    return re.escape(word).replace("'", "['\u2019]").replace(r"\-", "-")


def _without_contractions(phrase: str) -> str:
    return re.sub(r"(\w)n't\b", r"\1 not", phrase)


def forms_in(text: str) -> list[Found]:
    """Those whose phrase stands in `text`, by place, the general ones last; each once."""
    found = []
    for form in shipped_forms():
        match = form.pattern.search(text)
        if match is not None:
            found.append(Found(form, match.start(), match.end()))
    return sorted(found, key=lambda each: (each.form.is_general, each.start))
