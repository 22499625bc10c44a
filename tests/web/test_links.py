"""Links are found as a reader would see them, and hostile markup costs no more than its length."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.web.links import Link, links_of
from mailer.web.reading import read


def found(html: str = "", text: str = "") -> list[Link]:
    parts = [
        f"--b\r\nContent-Type: {kind}; charset=utf-8\r\n\r\n{body}\r\n"
        for kind, body in (("text/html", html), ("text/plain", text))
    ]
    head = "Return-Path: <>\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n"
    return list(links_of(read((head + "".join(parts) + "--b--\r\n").encode())))


@pytest.mark.parametrize(
    ("html", "links"),
    [
        ('<a href="https://x.example/a?b=1&amp;c=2">Go</a>', [Link("https://x.example/a?b=1&c=2", "Go")]),
        ("<A class=x HREF='https://x.example'>\n <b>Go</b>  on</A>", [Link("https://x.example", "Go on")]),
        ("<a href=https://x.example><img src=y></a>", [Link("https://x.example", "")]),
        ('<a href="mailto:a@b.example">write</a>', [Link("mailto:a@b.example", "write")]),
        ('<a href="#top">up</a><a name="x">y</a><a href="">z</a><abbr href="https://x.example">w</abbr>', []),
        (
            '<a href="https://x.example">1</a><a href="https://x.example">2</a>',
            [Link("https://x.example", "1")],
        ),
    ],
)
def test_anchors_are_links(html: str, links: list[Link]) -> None:
    assert found(html) == links


def test_addresses_in_the_text_follow_once_and_without_what_ends_the_sentence() -> None:
    links = found('<a href="https://a.example/">A</a>', "See https://a.example/, (http://b.example/c?d=e).")

    assert links == [Link("https://a.example/", "A"), Link("http://b.example/c?d=e", None)]


def test_there_is_an_end_to_them() -> None:
    assert len(found(text=" ".join(f"https://x.example/{n}" for n in range(5000)))) == 500


@given(st.text(st.sampled_from("<a href=\"'>&#x;/ \nhttps:"), max_size=300))
def test_nothing_makes_it_raise(markup: str) -> None:
    found(markup, markup)


@pytest.mark.parametrize("piece", ["<a ", "<a href=", "<a x='", "<a href=x>", "&#", "https://"])
def test_hostile_markup_is_read_in_no_time(piece: str) -> None:
    began = time.process_time()
    found(piece * (1_000_000 // len(piece)))

    assert time.process_time() - began < 5
