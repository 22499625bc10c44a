"""The two fields by which mail readers offer to unsubscribe: ours, and what may be brought along."""

from __future__ import annotations

import re
from email import message_from_bytes, policy
from urllib.parse import unquote

import pytest

from mailer.compose import fields
from mailer.compose.headers import HeaderError, check_custom_headers
from mailer.compose.malformed import ListFieldError
from mailer.compose.subscriber import Subscriber, find_in_words, read_mail_token, read_token
from mailer.compose.unsubscribe import Links, UnsubscribeFieldError, check_own, https_uris
from tests.compose.submissions import taken

SECRET = bytes(range(32))
ADA = Subscriber(1 << 62, (1 << 62) + 1, (1 << 62) + 2, "ada@example.org")
LINKS = Links("https://mail.acme.example/mailer", [SECRET], by_mail=True)
POST = "List-Unsubscribe=One-Click"


def test_the_two_fields_are_one_https_uri_an_address_and_the_word_for_one_click() -> None:
    """RFC 8058 §3.1."""
    made = message_from_bytes(LINKS.fields(ADA, "bounce.acme.example") + b"\r\n", policy=policy.default)

    https, mailto = re.findall(r"<([^>]*)>", made["List-Unsubscribe"])
    assert https.startswith("https://mail.acme.example/mailer/u/")
    assert read_token(https.rpartition("/")[2], [SECRET]) == ADA
    local, _, rest = mailto.removeprefix("mailto:").partition("@")
    host, _, subject = rest.partition("?subject=")
    assert host == "bounce.acme.example"
    assert re.fullmatch(r"unsubscribe%20[a-z2-7]+", subject)
    assert find_in_words(unquote(subject), [SECRET]) == ADA
    assert read_mail_token(local, [SECRET]) == ADA.recipient_id
    assert made.get_all("List-Unsubscribe-Post") == [POST]
    assert https_uris(made["List-Unsubscribe"]) == 1


def test_the_longest_address_makes_lines_that_mail_can_carry() -> None:
    """RFC 5322 §2.1.1."""
    far = Subscriber(1, 2, 3, "x" * 64 + "@" + ".".join(["y" * 63] * 4)[:255])
    links = Links("https://" + "m" * 180 + ".example", [SECRET], by_mail=True)

    made = links.fields(far, "b" * 240 + ".example")

    assert max(map(len, made.split(b"\r\n"))) <= fields.LINE_OCTETS


@pytest.mark.parametrize(
    ("links", "return_path", "names"),
    [
        (Links("https://m.example", [SECRET], by_mail=False), "b.example", ["https", "post"]),
        (Links("https://m.example", [SECRET], by_mail=True), "", ["https", "post"]),
        (Links("http://localhost:8025", [SECRET], by_mail=True), "b.example", ["http", "mailto"]),
        (Links(None, [SECRET], by_mail=True), "b.example", ["mailto"]),
        (Links(None, [SECRET], by_mail=False), "b.example", []),
    ],
)
def test_one_click_is_promised_only_beside_an_https_uri(
    links: Links, return_path: str, names: list[str]
) -> None:
    made = links.fields(ADA, return_path).decode().replace("\r\n ", " ")

    found = re.findall(r"<(https|http|mailto):", made) + ["post"] * (POST in made)
    assert found == names


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("<https://a.example/u>", 1),
        ("<mailto:u@a.example>, <HTTPS://a.example/u>", 1),
        ("<https://a.example/u>, <https://b.example/u>", 2),
        ("<http://a.example/u>", 0),
        ("https://a.example/u", 0),
        ("(<https://a.example/u>) <mailto:u@a.example>", 1),
        ("<https://a.exam\t ple/u>", 1),
        ("", 0),
    ],
)
def test_https_uris_are_counted_as_rfc_2369_writes_them(value: str, number: int) -> None:
    """RFC 2369 §2: in angle brackets, white space within them means nothing."""
    assert https_uris(value) == number


@pytest.mark.parametrize(
    ("unsubscribe", "post"),
    [
        ([], [POST]),
        (["<mailto:u@a.example>"], [POST]),
        (["<http://a.example/u>"], [POST]),
        (["<https://a.example/u>, <https://b.example/u>"], [POST]),
        (["<https://a.example/u>"], ["List-Unsubscribe=Two-Click"]),
        (["<https://a.example/u>"], [POST, POST]),
        (["<https://a.example/u>", "<mailto:u@a.example>"], []),
    ],
)
def test_fields_that_receivers_would_not_heed_are_refused_by_both_doors(
    unsubscribe: list[str], post: list[str]
) -> None:
    given = [("List-Unsubscribe", v) for v in unsubscribe] + [("List-Unsubscribe-Post", v) for v in post]
    head = "From: a@b.example\r\n" + "".join(f"{name}: {value}\r\n" for name, value in given)

    with pytest.raises(UnsubscribeFieldError):
        check_own(unsubscribe, post)
    with pytest.raises(HeaderError):
        check_custom_headers(given)
    with pytest.raises(ListFieldError) as refused:
        taken(head.encode())
    assert refused.value.status == "5.6.0"
    assert refused.value.field in ("List-Unsubscribe", "List-Unsubscribe-Post")


@pytest.mark.parametrize("post", [[], [POST], [f" {POST.lower()} "]])
def test_a_messages_own_fields_are_taken(post: list[str]) -> None:
    own = "<https://a.example/u>,\r\n <mailto:u@a.example>"
    head = f"From: a@b.example\r\nList-Unsubscribe: {own}\r\n"
    head += "".join(f"List-Unsubscribe-Post: {value}\r\n" for value in post)

    found = taken(head.encode())

    assert found.is_unsubscribable
    assert f"List-Unsubscribe: {own}\r\n".encode() in found.headers
    assert check_own([own], post)


def test_a_message_without_them_is_not_unsubscribable_by_itself() -> None:
    assert not taken(b"From: a@b.example\r\n").is_unsubscribable
    assert not check_own([], [])
