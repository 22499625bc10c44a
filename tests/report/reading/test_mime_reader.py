"""A message is cut into parts within bounds, whatever was made of it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from mailer.report.reading.decoding import plain, text_of
from mailer.report.reading.fields import media_type_of
from mailer.report.reading.mime import DEPTH_MOST, PARTS_MOST, Part, read_message

CORPUS = Path(os.environ.get("MIME_CORPUS", Path(__file__).parents[3] / "../shared/corpora/mime"))


def shape(part: Part) -> Any:
    return [part.type.essence, *map(shape, part.children)]


MIXED = (
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n--b\r\n\r\none\r\n--b\r\n"
    b"Content-Type: text/html\r\n\r\n<p>two\r\n--b--\r\nepilogue\r\n--b\r\n\r\nno part\r\n"
)


def test_parts_lie_between_delimiters() -> None:
    """RFC 2046 §5.1.1: the line break before a delimiter is its own; what follows the last is no part."""
    root = read_message(MIXED)

    assert shape(root) == ["multipart/mixed", ["text/plain"], ["text/html"]]
    assert [part.octets(100) for part in root.children] == [b"one", b"<p>two"]


@pytest.mark.parametrize(
    "content",
    [
        MIXED.replace(b"\r\n", b"\n"),
        MIXED.replace(b"\r\n", b"\r"),
        MIXED.replace(b"boundary=b", b'boundary="b"'),
        MIXED.replace(b"; boundary=b", b"").replace(
            b"\r\n\r\none", b"\r\nContent-Type: text/plain\r\n\r\none"
        ),
        MIXED.replace(b"--b", b"--b  "),
        MIXED.replace(b"Content-Type: multipart/mixed; boundary=b", b"Subject: s").replace(
            b"--b\r\n\r\none", b"--b\r\nContent-Type: text/plain\r\n\r\none"
        ),
        MIXED.replace(b"boundary=b", b"boundary=c").replace(
            b"\r\n\r\none", b"\r\nContent-Type: text/plain\r\n\r\none"
        ),
    ],
)
def test_parts_are_found_though_the_mail_is_damaged(content: bytes) -> None:
    assert [part.type.essence for part in read_message(content).children][:2] == ["text/plain", "text/html"]


def test_an_outer_delimiter_ends_what_was_left_open_within() -> None:
    inner = b"Content-Type: multipart/mixed; boundary=i\r\n\r\n--i\r\n\r\nleft open\r\n"
    content = (
        b"Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n" + inner + b"--o\r\n\r\nlast\r\n--o--\r\n"
    )

    root = read_message(content)

    assert shape(root) == ["multipart/mixed", ["multipart/mixed", ["text/plain"]], ["text/plain"]]
    assert root.children[0].children[0].octets(100) == b"left open"


def test_a_message_within_is_divided_too_and_known_as_such() -> None:
    """RFC 2046 §5.2.1."""
    inner = b"Content-Type: multipart/mixed; boundary=i\r\n\r\n--i\r\n\r\nhers\r\n--i--\r\n"
    content = (
        b"Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\nContent-Type: message/rfc822\r\n\r\n"
        + inner + b"\r\n--o--\r\n"
    )  # fmt: skip

    root = read_message(content)

    assert shape(root) == ["multipart/mixed", ["message/rfc822", ["multipart/mixed", ["text/plain"]]]]
    assert [part.is_nested for part in root.walk()] == [False, False, True, True]


def test_nesting_has_an_end() -> None:
    level = b"Content-Type: multipart/mixed; boundary=%06d\r\n\r\n--%06d\r\n"
    content = b"".join(level % (number, number) for number in range(100_000))

    root = read_message(content)

    assert max(part.depth for part in root.walk()) == DEPTH_MOST


def test_messages_within_messages_have_an_end() -> None:
    root = read_message(b"Content-Type: message/rfc822\r\n\r\n" * 100_000)

    assert max(part.depth for part in root.walk()) == DEPTH_MOST


@pytest.mark.parametrize(
    "content",
    [
        MIXED[:60] + b"--b\r\n" * 10_000_000,
        MIXED[:60] + b"--ba\r\n" * 8_000_000,
        MIXED[:60] + b"\n" * 50_000_000,
        b"X: " + b"y" * 50_000_000,
        b"X: y\r\n" * 8_000_000,
        b"Content-Type: multipart/mixed; boundary=" + b"b" * 1_000_000 + b"\r\n\r\n" + b"--" * 20_000_000,
        b"\0" * 50_000_000,
        b"\r" * 50_000_000,
    ],
    ids=["parts", "near-delimiters", "lines", "one-field", "fields", "boundary", "nul", "cr"],
)
def test_fifty_megabytes_of_anything_are_read_at_once(content: bytes) -> None:
    started = time.perf_counter()

    root = read_message(content)

    assert sum(1 for _ in root.walk()) <= PARTS_MOST + 1
    assert time.perf_counter() - started < 2


@pytest.mark.parametrize(
    ("encoding", "body", "content"),
    [
        (b"base64", b"aGVs\r\n bG8=", b"hello"),
        (b"BASE64 ", b"aGVs*bG8", b"hello"),
        (b"base64", b"aGVsbG8=aGVsbG8=", b"hello"),
        (b'"quoted-printable"', b"h=C3=A4=\r\nl=l", b"h\xc3\xa4l=l"),
        (b"x-unknown", b"hello", b"hello"),
    ],
)
def test_transfer_encodings_are_read_as_far_as_they_go(encoding: bytes, body: bytes, content: bytes) -> None:
    """RFC 2045 §6.7, §6.8."""
    part = read_message(b"Content-Transfer-Encoding: " + encoding + b"\r\n\r\n" + body)

    assert part.octets(1000).startswith(content)


@pytest.mark.parametrize(
    ("octets", "charset", "text"),
    [
        (b"gr\xfc\xdfe", "iso-8859-1", "grüße"),
        ("grüße".encode(), "us-ascii", "grüße"),
        (b"gr\xfc\xdfe", None, "grüße"),
        (b"\x1b$B$[$2\x1b(B", "iso-2022-jp", "ほげ"),
        ("ошибка".encode("koi8-r"), "KOI8-R", "ошибка"),
        (b"+AOQ-", "utf-7", "ä"),
        (b"\xff", "punycode", "ÿ"),
        (b"\xff", "no such charset", "ÿ"),
        (b"\xff", "zlib", "ÿ"),
    ],
)
def test_text_is_read_in_whatever_charset_it_is(octets: bytes, charset: str | None, text: str) -> None:
    assert text_of(octets, charset) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("=?utf-8?q?Fehler=3A_?= =?utf-8?b?w6Q=?=", "Fehler: ä"),
        ("=?iso-2022-jp?B?GyRCJCIbKEI=?= and", "あ and"),
        ("=?x?q?=zz?=", "=zz"),
        ("=?utf-8?b?%%%?=", ""),
    ],
)
def test_encoded_words_are_read(value: str, text: str) -> None:
    """RFC 2047 §6."""
    assert plain(value) == text


@pytest.mark.parametrize(
    ("value", "essence", "parameters"),
    [
        ('Text/Plain; Charset="utf-8"', "text/plain", {"charset": "utf-8"}),
        ('multipart/mixed boundary="a;b"', "multipart/mixed", {"boundary": "a;b"}),
        ("a/b; n*0=ab; n*1=cd", "a/b", {"n": "abcd"}),
        ("a/b; n*=iso-8859-1''%e4", "a/b", {"n": "ä"}),
        ("a/b;; charset=x; charset=y", "a/b", {"charset": "x"}),
        ("nonsense", "", {}),
    ],
)
def test_media_types_are_read_leniently(value: str, essence: str, parameters: dict[str, str]) -> None:
    """RFC 2045 §5.1, RFC 2231 §3, §4."""
    found = media_type_of(value)

    assert (found.essence, dict(found.parameters)) == (essence, parameters)


def flat(part: Part) -> list[Part]:
    inner = [] if part.type.main == "message" else [each for child in part.children for each in flat(child)]
    return [part, *inner]


def kind(part: Part) -> str:
    if part.children:
        return "Multipart" if part.type.main == "multipart" else "Message"
    if part.type.main != "text":
        return "Binary"
    return "Html" if part.type.essence == "text/html" else "Text"


@pytest.mark.skipif(not CORPUS.exists(), reason="no corpora at hand")
@pytest.mark.parametrize("name", ["legacy", "thirdparty", "rfc"])
def test_parts_are_those_that_another_parser_finds(name: str) -> None:
    """Of stalwart's mail-parser; it reads 8-bit headers and encoded messages otherwise in a few."""
    files = sorted((CORPUS / f"mail-parser-{name}").glob("*.json"))
    same = 0
    for file in files:
        expected = [next(iter(part["body"])) for part in json.loads(file.read_text())["parts"]]
        found = [kind(part) for part in flat(read_message(file.with_suffix(".eml").read_bytes()))]
        same += found == [word.replace("InlineBinary", "Binary") for word in expected]

    assert files
    assert same >= len(files) - 1
