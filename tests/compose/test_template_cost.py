"""Hostile templates: each is refused, or done, within its budget; none hangs, and none fills the memory."""

from __future__ import annotations

import resource
import time
from typing import Any

import pytest

from mailer.compose import finishing, templating
from mailer.compose.finishing import FinishingFault
from mailer.compose.templating import Part, TemplateFault, compile_template

# On a busy machine; alone it is a fifth of that.
MOST_CPU_SECONDS = 6.0
MOST_BYTES = 400 << 20
BIG = 10**30
NESTED: Any = []
for _ in range(60):
    NESTED = [NESTED]


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


HOSTILE: dict[str, tuple[str, dict[str, Any]]] = {
    "a string doubled a hundred times": (
        "{% assign s = 'ab' %}" + "{% assign s = s | append: s %}" * 100,
        {},
    ),
    "a list doubled a hundred times": (
        "{% assign s = a %}" + "{% assign s = s | concat: s %}" * 99,
        {"a": [1]},
    ),
    "a string put in place of each of its characters": (
        "{% assign s = s | replace: 'a', s %}" * 9,
        {"s": "a" * 1000},
    ),
    "a separator longer than what it separates": (
        "{{ a | join: s }}",
        {"a": ["x"] * 9999, "s": "y" * 200_000},
    ),
    "a number squared without end": (
        "{% assign x = 9 %}{% for i in (1..9999) %}{% assign x = x | times: x %}{% endfor %}",
        {},
    ),
    "a loop without end": ("{% for i in (1..99999999999) %}x{% endfor %}", {}),
    "a loop without end, backwards": ("{% for i in (1..n) reversed %}x{% endfor %}", {"n": BIG}),
    "a range without end, joined": ("{{ (0..n) | join: ',' }}", {"n": "99999999999"}),
    "loops in loops": ("{% for i in (1..9999) %}" * 5 + "{% endfor %}" * 5, {}),
    "loops after loops": ("{% for i in (1..9999) %}{% endfor %}" * 6500, {}),
    "empty conditions in a loop": (
        "{% for i in (1..9999) %}" + "{% if 1 %}{% endif %}" * 9000 + "{% endfor %}",
        {},
    ),
    "long conditions in a loop": (
        "{% for i in (1..9999) %}"
        + ("{% if " + " and ".join("1" * 24) + " %}{% endif %}") * 900
        + "{% endfor %}",
        {},
    ),
    "a condition too long": ("{% if " + " and ".join("1" * 400) + " %}{% endif %}", {}),
    "large values compared in a loop": (
        "{% for i in (1..9999) %}{% if a == b %}{% endif %}{% endfor %}",
        {"a": [[1] * 50_000], "b": [[1] * 50_000]},
    ),
    "large values searched in a loop": (
        "{% for i in (1..9999) %}{% if a contains 'b' %}{% endif %}{% endfor %}",
        {"a": "a" * 200_000},
    ),
    "a large list sorted in a loop": (
        "{% for i in (1..9999) %}{% assign b = a | sort %}{% endfor %}",
        {"a": [str(i) for i in range(30_000)]},
    ),
    "more output than a message may have": ("{% for i in (1..9999) %}{{ a }}{% endfor %}", {"a": "x" * 5000}),
    "captures of captures": ("{% capture a %}{{ a }}{{ a }}{% endcapture %}" * 99, {"a": "x"}),
    "a filter ten thousand times": ("{{ 'a'" + " | base64_encode" * 600 + " }}", {}),
    "many missing variables": ("{% for i in (1..9999) %}{{ x }}{{ i.y }}{% endfor %}" + " " * 200_000, {}),
    "data nested too deep": ("{{ a }}", {"a": NESTED}),
    "too much data": ("{{ a }}", {"a": ["x" * 100] * 9000}),
    "blocks nested too deep": ("{% if a %}" * 22_000, {}),
    "tags nested too deep": ("{% liquid " + "liquid " * 1300 + "%}", {}),
    "brackets nested too deep": ("{{ a" + "[a" * 3000 + "]" * 3000 + "}}", {}),
    "a path too long": ("{{ a" + ".a" * 4900 + "}}", {"a": 1}),
    "braces never closed": ("{{" * 100_000, {}),
    "tags never closed": ("{%" * 100_000, {}),
    "tags never named": ("{%%}" * 60_000, {}),
    "raw never ended": ("{% comment %}" + "{% raw %}" * 25_000, {}),
    "comments never ended": ("{% comment %}" * 18_000, {}),
    "strings never ended": ("{{ " + "'" * 9001 + " }}", {}),
    "parentheses never closed": ("{{ " + "(" * 9000 + " }}", {}),
    "white space in an output": ("{{" + " " * 200_000 + "}}", {}),
    "white space in a tag": ("{% if" + " " * 200_000 + "%}", {}),
    "white space in many tags": (("{% if" + " " * 38 + "%}{% endif %}") * 4300, {}),
    "a number too long": ("{{ " + "9" * 9000 + " }}", {}),
    "nothing but braces": ("{" * 249_999, {}),
    "as many tags as there is room for": ("{% if a %}x{% endif %}\n" * 10_800, {"a": 1}),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_template_is_over_soon(name: str) -> None:
    source, data = HOSTILE[name]
    before, began = peak_bytes(), time.thread_time()
    outcome = "done"
    try:
        compile_template(source, Part.HTML).render(data)
    except TemplateFault as fault:
        outcome = str(fault)

    assert time.thread_time() - began < MOST_CPU_SECONDS, outcome
    assert peak_bytes() - before < MOST_BYTES, outcome
    assert len(outcome) < 400


@pytest.mark.parametrize(
    "name",
    [
        "a string doubled a hundred times",
        "a loop without end, backwards",
        "a condition too long",
        "a number squared without end",
        "long conditions in a loop",
        "loops in loops",
        "braces never closed",
        "data nested too deep",
        "more output than a message may have",
        "too much data",
        "brackets nested too deep",
    ],
)
def test_what_costs_too_much_is_refused(name: str) -> None:
    source, data = HOSTILE[name]

    with pytest.raises(TemplateFault):
        compile_template(source, Part.HTML).render(data)


def test_a_template_that_is_too_long_is_refused_unread() -> None:
    with pytest.raises(TemplateFault, match="250000 characters"):
        compile_template("{{" * templating.SOURCE_CHARS, Part.TEXT)


def test_a_large_order_confirmation_is_far_from_the_limits() -> None:
    row = "<tr><td>{{ l.name }}</td><td>{{ l.n }}</td><td>{{ l.price | times: l.n | round: 2 }}</td></tr>\n"
    lines = [{"name": f"Item {n}", "n": n, "price": 9.95} for n in range(500)]

    made = compile_template(f"<table>{{% for l in lines %}}{row}{{% endfor %}}</table>", Part.HTML)

    assert made.render({"lines": lines}).text.count("<tr>") == 500


PAGES = {
    "elements nested too deep": "<div>" * 29_000,
    "tables in tables": "<table><tr><td>" * 9000,
    "one cell as wide as a thousand rows": (
        "<table>" + "<tr><td>x</td><td>y</td></tr>" * 4000 + "<tr><td>" + "z" * 90_000
    ),
    "one row of many cells": "<table><tr>" + "<td>y</td>" * 14_000,
    "lists in lists": "<ul><li>" * 14_000,
    "links in links": '<a href="http://x.example/">' * 29_000,
    "line breaks": "<br>" * 29_000,
    "braces": "<" * 900_000,
    "entities": "&" * 900_000,
    "blank lines": "<pre>" + "\n" * 900_000,
}


@pytest.mark.parametrize("name", PAGES)
def test_a_hostile_page_becomes_a_text_soon_or_is_refused(name: str) -> None:
    before, began = peak_bytes(), time.thread_time()
    length = 0
    try:
        length = len(finishing.text_of(PAGES[name]))
    except FinishingFault:
        length = -1

    assert time.thread_time() - began < MOST_CPU_SECONDS
    assert peak_bytes() - before < MOST_BYTES
    assert length < finishing.MOST_CHARS


STYLES = {
    "many rules, many elements": "".join(f".a{n}{{color:red}}" for n in range(5000))
    + "</style>"
    + "<p>x" * 20_000,
    "a long value everywhere": "*{background:" + "x" * 100_000 + "}</style>" + "<p>x" * 20_000,
    "a long value in many places": "*{background:" + "x" * 9000 + "}</style>" + "<p>x" * 4000,
    "descendants of descendants": "* * * * * *{margin:0}" * 1000 + "</style>" + "<i>" * 500 + "<p>x" * 2000,
    "siblings counted": (
        "".join(f"p:nth-last-child({n}n){{margin:0}}" for n in range(500)) + "</style>" + "<p>x" * 4000
    ),
    "blocks never closed": "@media x{" * 40_000,
    "brackets never closed": "p{a:" + "(" * 200_000,
    "style in style": "<style>" * 40_000,
}


@pytest.mark.parametrize("name", STYLES)
def test_hostile_styles_are_written_soon_or_refused(name: str) -> None:
    before, began = peak_bytes(), time.thread_time()
    length = 0
    try:
        length = len(finishing.inline_css("<style>" + STYLES[name]))
    except FinishingFault:
        length = -1

    assert time.thread_time() - began < MOST_CPU_SECONDS
    assert peak_bytes() - before < MOST_BYTES
    assert length < finishing.MOST_CHARS
