"""A message's words: filled, finished, and the text beside the HTML."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.compose import finishing
from mailer.compose.finishing import FinishingFault
from mailer.compose.templating import Part, TemplateFault, Variable
from mailer.compose.wording import Finish, Wording, compile_wording

PAGE = """<!doctype html><html><head><title>Receipt</title><style>
p { margin: 0 0 16px; color: #333 } .hidden { display: none } td.price { text-align: right }
@media (max-width: 600px) { p { color: #000 } }
</style></head><body><span class="hidden">Your receipt</span>
<table role="presentation"><tr><td>
<a href="https://shop.example/"><img src="cid:logo" alt="Shop"></a>
<h1>Thank you, {{ name }}!</h1>
<p>Order {{ number }} is on its way:
see <a href="https://shop.example/track?n={{ number }}&amp;l=en">tracking</a>.</p>
<table><tr><th>Item</th><th>Price</th></tr>{% for line in lines %}
<tr><td>{{ line.name }}</td><td class="price">{{ line.price }}</td></tr>{% endfor %}</table>
<p>Write to <a href="mailto:help@shop.example">help@shop.example</a>,
see <a href="https://shop.example/help">shop.example/help</a> or <a href="#top">above</a>.</p>
</td></tr></table></body></html>"""
DATA = {
    "name": "Ada <3",
    "number": 4711,
    "lines": [{"name": "Earl Grey", "price": "5.90"}, {"name": "Jam", "price": "12"}],
}
TEXT = """\
Shop <https://shop.example/>

Thank you, Ada <3!

Order 4711 is on its way: see tracking <https://shop.example/track?n=4711&l=en>.

Item       Price
Earl Grey  5.90
Jam        12

Write to help@shop.example, see shop.example/help or above.
"""  # fmt: skip


def form(subject: str = "s", text: str | None = None, html: str | None = None) -> Wording:
    return Wording(subject, text, html)


def test_a_page_becomes_a_text_that_can_be_read_and_followed() -> None:
    filled = compile_wording(form("Order {{ number }}", html=PAGE)).fill(DATA, Finish())

    assert filled.subject == "Order 4711"
    assert filled.text == TEXT
    assert filled.missing == ()


def test_styles_are_written_into_the_elements_and_media_queries_stay() -> None:
    html = compile_wording(form(html=PAGE)).fill(DATA, Finish()).html

    assert html is not None
    assert '<p style="margin: 0 0 16px;color: #333;">Order 4711 is' in html
    assert "@media (max-width: 600px)" in html
    assert "Ada &lt;3" in html


def test_nothing_is_done_to_html_that_nobody_wants_done() -> None:
    filled = compile_wording(form(html="<style>p{color:red}</style><P>x")).fill({}, Finish(False, False))

    assert (filled.html, filled.text) == ("<style>p{color:red}</style><P>x", None)


def test_html_without_styles_stays_octet_for_octet() -> None:
    page = "<P>no closing tag &nbsp; <td>odd<!-- x -->"

    assert finishing.inline_css(page) == page


def test_a_text_that_is_given_is_the_text() -> None:
    assert compile_wording(form(text="Hi {{ a }}", html="<p>Ho</p>")).fill({"a": 1}, Finish()).text == "Hi 1"


@pytest.mark.parametrize("page", ["", "<!-- x -->", "<img src='x'>", "<p> </p>", "\0", "<script>x</script>"])
def test_a_page_without_words_has_no_text(page: str) -> None:
    assert finishing.text_of(page).strip() == ""


@pytest.mark.parametrize(
    "reference",
    ["{0}", "file://{0}", "http://127.0.0.1:1/x.css"],
)
def test_no_style_sheet_is_fetched_from_anywhere(tmp_path: Path, reference: str) -> None:
    sheet = tmp_path / "x.css"
    sheet.write_text("p { color: rgb(1, 2, 3) }")
    where = reference.format(sheet)

    html = finishing.inline_css(
        f'<link rel="stylesheet" href="{where}"><style>@import "{where}"; b {{ top: 0 }}</style><p>x</p>'
    )

    assert "rgb" not in html
    assert where in html


def test_css_that_cannot_be_read_is_told_of() -> None:
    with pytest.raises(TemplateFault) as caught:
        compile_wording(form(html='<style>p{top:0}</style><p style="{{ a }}">x')).fill({"a": "{;:"}, Finish())

    assert "CSS" in caught.value.what


@pytest.mark.parametrize(
    "name", ["Ann\r\nBcc: x@evil.example", "Ann\nX: y", "Ann\x0bX", "Ann\u2028X", "Ann\x85X", "A\tB"]
)
def test_no_value_ends_the_subjects_line(name: str) -> None:
    subject = compile_wording(form("Hi {{ a }}\n", "x")).fill({"a": name}, Finish()).subject

    assert len(subject.splitlines()) == 1
    assert "\t" not in subject
    assert subject.startswith("Hi A")


def test_what_is_missing_in_any_part_is_named_with_the_part() -> None:
    filled = compile_wording(form("{{ a }}", "{{ b }}", "\n{{ a.c }}")).fill({}, Finish())

    assert [(m.name, m.part, m.line) for m in filled.missing] == [
        ("a", Part.SUBJECT, 1), ("b", Part.TEXT, 1), ("a.c", Part.HTML, 2),
    ]  # fmt: skip


def test_the_variables_of_all_parts_are_told_together() -> None:
    made = compile_wording(form("{{ a | default: 1 }}", "{{ b }}", "{{ a }}{{ c | default: 1 }}"))

    assert made.variables == (Variable("a", True), Variable("b", True), Variable("c", False))


@pytest.mark.parametrize(
    ("wording", "part"),
    [
        (form(), Part.TEXT),
        (form("x" * 2001, "x"), Part.SUBJECT),
        (form("{{", "x"), Part.SUBJECT),
        (form("s", "{{", "x"), Part.TEXT),
        (form("s", "x", "{{"), Part.HTML),
    ],
)
def test_a_wording_that_is_none_is_refused_with_its_part(wording: Wording, part: Part) -> None:
    with pytest.raises(TemplateFault) as caught:
        compile_wording(wording)

    assert caught.value.part is part


PIECES = st.lists(
    st.sampled_from(
        ["<p>", "</p>", "<table>", "<tr>", "<td>", "</table>", "<a href='http://x.example'>", "</a>", "<br>",
         "<style>p{color:red}</style>", "<style>", "@media x{", "<img alt='y'>", "<div style='display:none'>",
         "<pre>", "&amp;", "&#0;", "<!--", "-->", "<?xml version='1.0' encoding='utf-8'?>", "<![CDATA[",
         "<ul>", "<svg>", "<a href=x>", "<li>", "</div>"]
    )
    | st.text(max_size=5),
    max_size=15,
).map("".join)  # fmt: skip


@given(PIECES)
def test_any_page_is_finished_the_same_way_twice_or_refused(page: str) -> None:
    def tried() -> object:
        try:
            html = finishing.inline_css(page)
            return html, finishing.text_of(html)
        except FinishingFault as fault:
            return str(fault)

    assert tried() == tried()


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []

    def handle_data(self, data: str) -> None:
        self.words += data.split()


@given(st.lists(st.text("abc &<äß", min_size=1, max_size=8), min_size=1, max_size=5))
def test_no_word_is_lost_between_html_and_text(said: list[str]) -> None:
    page = compile_wording(form(html="{% for s in said %}<p>{{ s }}</p>{% endfor %}")).fill(
        {"said": said}, Finish()
    )
    read = _Words()
    read.feed(page.html or "")
    read.close()

    assert (page.text or "").split() == read.words
