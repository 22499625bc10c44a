"""Templates: what they make, what they refuse, and in which words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.compose.templating import Part, Rendered, TemplateFault, Variable, compile_template


def render(source: str, data: dict[str, Any], part: Part = Part.TEXT) -> Rendered:
    return compile_template(source, part).render(data)


def text_of(source: str, part: Part = Part.TEXT, **data: Any) -> str:
    rendered = render(source, data, part)
    assert rendered.missing == ()
    return rendered.text


def fault_of(source: str, **data: Any) -> TemplateFault:
    with pytest.raises(TemplateFault) as caught:
        render(source, data)
    return caught.value


def missing_in(source: str, **data: Any) -> list[tuple[str, int]]:
    return [(m.name, m.line) for m in render(source, data).missing]


# ---- values


@pytest.mark.parametrize(
    ("source", "made"),
    [
        ("Hi {{ name }}", "Hi Ada & Bob"),
        ("{{ order.lines[0].name }} {{ order.lines.size }}", "Tea 2"),
        ("{% for line in order.lines %}{{ forloop.index }}. {{ line.name }};{% endfor %}", "1. Tea;2. Jam;"),
        ("{% if order.paid %}paid{% else %}due{% endif %}", "due"),
        ("{% if coupon %}{{ coupon }}{% else %}none{% endif %}[{{ coupon }}]", "none[]"),
        ("{{ total | times: 2 | divided_by: 3.0 | round: 2 }}", "6.6"),
        ("{{ name | upcase | truncate: 5, '!' }}", "ADA !"),
        ("{{ nick | default: name }}", "Ada & Bob"),
        ("{% assign nick = nick | default: 'you' %}{{ nick }}", "you"),
        ("{{ at | date: '%-d %B %Y, %H:%M' }}", "9 March 2026, 14:30"),
        ("{{ 0 | date: '%F %T %Z %s' }}", "1970-01-01 00:00:00 UTC 0"),
        ("{% raw %}{{ name }}{% endraw %}{% comment %}{{ gone }}{% endcomment %}", "{{ name }}"),
    ],
)
def test_data_fills_the_gaps(source: str, made: str) -> None:
    lines = [{"name": "Tea"}, {"name": "Jam"}]
    data = {"name": "Ada & Bob", "total": 9.9, "coupon": None, "at": "2026-03-09T14:30:00+01:00"}

    assert text_of(source, order={"lines": lines, "paid": False}, **data) == made


def test_values_are_escaped_in_html_and_there_alone() -> None:
    assert text_of("<b>{{ a }}</b>", Part.HTML, a="<&\"'") == "<b>&lt;&amp;&#34;&#39;</b>"
    assert text_of("<b>{{ a | safe }}</b>", Part.HTML, a="<i>") == "<b><i></b>"
    assert text_of("{{ a }}", Part.TEXT, a="<&\"'") == "<&\"'"
    assert text_of("{{ a }}", Part.SUBJECT, a="<&\"'") == "<&\"'"


# ---- what is missing


def test_every_missing_variable_is_named_with_the_line_that_wants_it() -> None:
    source = "{{ name }}\n{% if order.paid %}{% endif %}\n{{ lines[3].price | round }} {{ name }}"

    assert missing_in(source, order={}, lines=[{}]) == [("name", 1), ("order.paid", 2), ("lines[3].price", 3)]


@pytest.mark.parametrize(
    "source",
    [
        "{{ x }}", "{% if x %}{% endif %}", "{% if x == 'a' %}{% endif %}", "{% if x == nil %}{% endif %}",
        "{% for i in x %}{% endfor %}", "{% assign y = x %}", "{{ 'a' | append: x }}", "{{ x | upcase }}",
        "{{ x | slice: 1 }}", "{% case x %}{% when 1 %}{% endcase %}", "{{ x | plus: 1 }}", "{% echo x %}",
        "{% capture y %}{{ x }}{% endcapture %}", "{{ 'a' | default: x }}", "{% unless x %}{% endunless %}",
        "{% liquid\necho x\n%}", "{{ x | split: ',' | first }}", "{{ x | date: '%Y' }}",
    ],
)  # fmt: skip
def test_a_missing_variable_is_an_error_wherever_it_stands(source: str) -> None:
    assert [name for name, _ in missing_in(source)] == ["x"]


def test_null_and_false_and_empty_are_no_more_missing_than_others() -> None:
    source = "{{ a }}{{ b }}{{ c }}{% if a %}{% endif %}{% for x in d %}{% endfor %}"

    assert text_of(source, a=None, b=False, c="", d=[]) == "false"


@pytest.mark.parametrize(
    "source", ["{{ now }}", "{{ today }}", "{{ s.upper }}", "{{ s.__class__ }}", "{{ o.items }}"]
)
def test_there_is_nothing_but_the_data(source: str) -> None:
    assert missing_in(source, s="text", o={}) != []


def test_data_may_have_names_that_python_or_liquid_use() -> None:
    names = {"now": 1, "size": 2, "self": 3, "data": 4, "template": 5}

    assert text_of("{{ now }}{{ size }}{{ self }}{{ data }}{{ template }}", **names) == "12345"


# ---- what a template speaks of


def test_the_variables_of_a_template_are_known_before_any_data_is() -> None:
    source = (
        "{{ user.name }}{% for l in lines %}{{ l.price }}{% endfor %}{% assign a = b %}{{ a }}"
        "{{ nick | default: user.name }}{{ both }}{{ both | default: 1 }}"
    )

    assert compile_template(source, Part.TEXT).variables == (
        Variable("b", True), Variable("both", True), Variable("lines", True), Variable("nick", False),
        Variable("user.name", True),
    )  # fmt: skip


# ---- what is no template


@pytest.mark.parametrize(
    ("source", "words", "line"),
    [
        ("a\n{{ b", "not closed", 2),
        ("a\n\n{% if b %}", "expected tag endif", 3),
        ("{% endif %}", "unexpected tag 'endif'", 1),
        ("\n{% include 'x' %}", "unexpected tag 'include'", 2),
        ("\n{% render 'x' %}", "unexpected tag 'render'", 2),
        ("{{ a | shout }}", "unknown filter 'shout'", 1),
        ("{{ a | uniq }}", "unknown filter 'uniq'", 1),
        ("a\nb{% raw %}", "never ended", 2),
        ("a\nb\0", "NUL", 2),
        ("a\n{% for x in %}\n{% endfor %}", "expected a primitive expression", 2),
        ("a\n{% if b and %}\n", "expected a primitive expression", 2),
    ],
)
def test_a_fault_in_the_template_is_told_with_its_line(source: str, words: str, line: int) -> None:
    with pytest.raises(TemplateFault) as caught:
        compile_template(source, Part.HTML)

    assert (words in caught.value.what, caught.value.line, caught.value.part) == (True, line, Part.HTML)


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ("\n{{ secret | divided_by: 0 }}", "divided_by"),
        ("\n{{ secret | date: '%Y' }}", "date"),
        ("\n{{ 'now' | date: '%Y' }}", "date"),
        ("\n{{ 0 | date: '%c' }}", "date"),
        ("\n{{ 1 | modulo: 0 }}{{ secret }}", "modulo"),
        ("\n{% if secret < 1 %}{% endif %}", "not supported"),
    ],
)
def test_a_fault_with_the_data_is_told_without_the_data(source: str, word: str) -> None:
    fault = fault_of(source, secret="ada@example.org")

    assert word in fault.what
    assert "ada" not in str(fault)
    assert fault.line == 2


# ---- whatever the text


TAGS = [
    "if", "for", "assign", "case", "capture", "cycle", "liquid", "echo", "unless", "tablerow", "raw", "endif",
    "endfor", "else", "when", "break", "increment", "ifchanged", "comment", "include", "doc",
]  # fmt: skip
NAMES = st.sampled_from(
    ["a", "a.b", "a[0]", "a['x']", "1", "1.5", "'s'", "(1..3)", "nil", "forloop.index", "(a..b)"]
)
FILTERS = st.sampled_from(
    [
        "upcase", "default: 'x'", "times: a", "join: a", "replace: a, b", "split: ''", "date: '%Y'", "sort",
        "map: 'x'", "where: 'x', 1", "sum", "slice: a, 2", "truncate: a", "concat: a", "json", "url_decode",
        "base64_decode", "escape_once", "newline_to_br", "modulo: a", "size", "find: 'b', a", "first",
        "append: a | append: a", "round: a",
    ]
)  # fmt: skip
MARKUP = st.one_of(
    st.text(max_size=10),
    st.builds("{{{{ {} | {} }}}}".format, NAMES, FILTERS),
    st.builds("{{% {} {} %}}".format, st.sampled_from(TAGS), NAMES),
    st.builds("{{% if {} == {} %}}x{{% endif %}}".format, NAMES, NAMES),
    st.builds("{{% for a in {} %}}{{{{ a }}}}{{% endfor %}}".format, NAMES),
    st.builds("{{% assign a = {} | {} %}}".format, NAMES, FILTERS),
    st.sampled_from(
        ["{{", "}}", "{%", "%}", "{% endraw %}", "{%-", "-%}", "{{-", " | ", "\n", "'", '"', "{% # x %}"]
    ),
)
SOURCE = st.lists(MARKUP, max_size=8).map("".join)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abx"), inner, max_size=3),
    max_leaves=10,
)
DATA = st.dictionaries(st.sampled_from("ab"), JSON)


@given(SOURCE, DATA, st.sampled_from(Part))
def test_any_text_with_any_data_is_rendered_the_same_way_twice_or_refused(
    source: str, data: dict[str, Any], part: Part
) -> None:
    def tried() -> object:
        try:
            return compile_template(source, part).render(data)
        except TemplateFault as fault:
            return str(fault)

    assert tried() == tried()


@given(st.text())
def test_text_without_braces_is_itself(text: str) -> None:
    plain = text.replace("{", "(").replace("\0", "")

    assert text_of(plain) == plain


@given(st.text())
def test_no_value_breaks_out_of_its_place_in_html(value: str) -> None:
    made = text_of("[{{ a }}]", Part.HTML, a=value)

    assert not set("<>\"'") & set(made)
