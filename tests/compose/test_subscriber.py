"""Tokens of links and addresses to unsubscribe by: ours, whole, or nobody's."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.compose import verp
from mailer.compose.address import parse_addr_spec
from mailer.compose.subscriber import (
    MOST_CHARS,
    Subscriber,
    find_in_words,
    mail_address,
    make_mail_token,
    make_subject,
    make_token,
    read_mail_token,
    read_token,
)

SECRET = bytes(range(32))
NEWER = bytes(32)
_IDS = st.integers(1, (1 << 63) - 1)
_ADDRESSES = st.emails() | st.sampled_from(
    ['"a b"@example.org', "grüße@example.org", "x" * 64 + "@e.example"]
)
SUBSCRIBERS = st.builds(Subscriber, _IDS, _IDS, _IDS, _ADDRESSES)
ADA = Subscriber(1 << 62, (1 << 62) + 1, (1 << 62) + 2, "ada.lovelace@example.org")
LONGEST = "x" * 64 + "@" + ".".join(["y" * 63] * 4)[:255]


@given(SUBSCRIBERS)
def test_a_token_says_whom_it_is_for_without_a_row(subscriber: Subscriber) -> None:
    assert read_token(make_token(subscriber, SECRET), [SECRET]) == subscriber


@given(SUBSCRIBERS)
def test_a_token_is_the_same_on_every_attempt_and_fits_a_url(subscriber: Subscriber) -> None:
    token = make_token(subscriber, SECRET)

    assert token == make_token(subscriber, SECRET)
    assert re.fullmatch(r"[A-Za-z0-9_-]+", token)


def test_the_longest_address_has_a_token_that_is_read() -> None:
    token = make_token(Subscriber(1, 2, 3, LONGEST), SECRET)

    assert len(token) <= 600 < MOST_CHARS
    assert read_token(token, [SECRET]) == Subscriber(1, 2, 3, LONGEST)


def test_a_token_shows_nothing_of_whom_it_is_for() -> None:
    token = make_token(ADA, SECRET)
    octets = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))

    assert b"ada" not in octets
    assert ADA.recipient_id.to_bytes(8, "big") not in octets


@given(SUBSCRIBERS, st.data())
def test_a_changed_token_is_nobodys(subscriber: Subscriber, data: st.DataObject) -> None:
    token = make_token(subscriber, SECRET)
    at = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"))
    changed = token[:at] + letter + token[at + 1 :]

    assert (read_token(changed, [SECRET]) is None) is (changed != token)


@pytest.mark.parametrize(
    "change",
    [
        lambda token: token[:-1],
        lambda token: token + "A",
        lambda token: token + "=",
        lambda token: token + " ",
        lambda token: token.upper(),
        lambda token: token[:40],
        lambda token: "",
        lambda token: "AQ",
        lambda token: "A" * 5000,
        lambda token: token.replace(token[5], "\u00e9"),
        lambda token: make_token(ADA, NEWER),
        lambda token: verp.make_token(ADA.recipient_id, SECRET),
    ],
)
def test_what_is_no_token_of_ours_is_nobodys(change: object) -> None:
    assert callable(change)

    assert read_token(change(make_token(ADA, SECRET)), [SECRET]) is None


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda b: base64.urlsafe_b64encode(b).decode()))
def test_whatever_the_text_nothing_raises(text: str) -> None:
    assert read_token(text, [SECRET]) is None


def test_links_of_an_earlier_secret_are_good_for_ever() -> None:
    token = make_token(ADA, SECRET)

    assert read_token(token, [NEWER, SECRET]) == ADA
    assert read_mail_token(f"unsubscribe-{make_mail_token(7, SECRET)}", [NEWER, SECRET]) == 7


def test_an_address_fits_its_local_part_and_survives_case_folding() -> None:
    """RFC 5321 §4.5.3.1.1, §2.4."""
    address = parse_addr_spec(mail_address((1 << 63) - 1, SECRET, "bounce.acme.example"))

    assert len(address.local) <= 64
    assert re.fullmatch(r"unsubscribe-[a-z2-7]{26}", address.local)
    assert read_mail_token(address.local.upper(), [SECRET]) == (1 << 63) - 1


def test_a_return_path_is_no_address_to_unsubscribe_by_nor_the_other_way_round() -> None:
    """Whoever answers a message automatically must not leave its stream by that."""
    assert read_mail_token(f"unsubscribe-{verp.make_token(7, SECRET)}", [SECRET]) is None
    assert verp.read_token(make_mail_token(7, SECRET), [SECRET]) is None


@pytest.mark.parametrize(
    "local", ["unsubscribe", "unsubscribe-", "unsubscribe-" + "a" * 26, "postmaster", ""]
)
def test_any_other_local_part_is_nobodys(local: str) -> None:
    assert read_mail_token(local, [SECRET]) is None


# ---- the token in a subject ------------------------------------------------------------------------------


@given(SUBSCRIBERS)
def test_a_subject_says_whom_it_is_for_in_any_case_of_letters(subscriber: Subscriber) -> None:
    subject = make_subject(subscriber, SECRET)

    assert re.fullmatch(r"unsubscribe [a-z2-7]+", subject)
    assert [find_in_words(each, [NEWER, SECRET]) for each in (subject, subject.upper())] == [subscriber] * 2


@pytest.mark.parametrize(
    "written",
    [
        lambda subject: subject,
        lambda subject: f"Re: {subject}",
        lambda subject: f"AW: WG: {subject}  (from my phone)",
        lambda subject: f"[EXTERNAL] {subject.replace(' ', '%20')}",
        lambda subject: subject.replace(" ", "+"),
        lambda subject: subject.replace(" ", "  \t "),
        lambda subject: f"{subject[:76]} {subject[76:]}",
        lambda subject: f"Unsubscribe: {subject[12:40]}\t{subject[40:90]} {subject[90:]} thank you",
        lambda subject: f"abmelden {subject[12:]}",
        lambda subject: f"> Subject: {subject}\n> To: unsubscribe",
        lambda subject: f"unsubscribe {'a' * 80} {subject}",
    ],
)
def test_what_mail_programs_make_of_a_subject_is_read(written: Callable[[str], str]) -> None:
    assert find_in_words(written(make_subject(ADA, SECRET)), [SECRET]) == ADA


def test_the_subject_of_the_longest_address_is_read() -> None:
    longest = Subscriber((1 << 63) - 1, (1 << 63) - 1, (1 << 63) - 1, LONGEST)
    subject = make_subject(longest, SECRET)

    assert len(subject) < 640
    assert find_in_words(subject, [SECRET]) == longest
    assert find_in_words(f"{subject[:200]} {subject[200:]}", [SECRET]) == longest


@given(SUBSCRIBERS, st.data())
def test_a_changed_subject_is_nobodys(subscriber: Subscriber, data: st.DataObject) -> None:
    subject = make_subject(subscriber, SECRET)
    at = data.draw(st.integers(len("unsubscribe "), len(subject) - 2))  # the last has bits to spare
    letter = data.draw(st.sampled_from("abcdefghijklmnopqrstuvwxyz234567"))
    changed = subject[:at] + letter + subject[at + 1 :]

    assert (find_in_words(changed, [SECRET]) is None) is (changed != subject)


@given(st.text(alphabet="unsubscribe aeq27\n-", max_size=2000) | st.text(max_size=500))
def test_whatever_the_words_nothing_raises(words: str) -> None:
    assert find_in_words(words, [SECRET]) is None


def test_many_words_that_look_like_tokens_cost_little() -> None:
    words = ("unsubscribe " + "ae " * 700) * 500 + "a" * 300_000

    began = time.process_time()
    assert find_in_words(words, [SECRET]) is None
    assert time.process_time() - began < 2.0
