from __future__ import annotations

import hashlib

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mailer import ids
from mailer.identity.keys import MalformedKey, new_key, parse_key

KEY_ID = 0x0123_4567_89AB_CDEF


def test_a_key_is_id_secret_and_checksum_in_words_that_a_double_click_takes_whole() -> None:
    text = new_key(KEY_ID).text

    kind, key_id, secret, checksum = text.split("_")
    assert (kind, len(key_id), len(secret), len(checksum)) == ("mk", 13, 52, 6)
    assert ids.parse("mk", f"mk_{key_id}") == KEY_ID


@given(st.integers(0, (1 << 63) - 1))
def test_a_presented_key_names_its_row_and_hashes_to_what_is_stored(key_id: int) -> None:
    made = new_key(key_id)

    presented = parse_key(made.text)

    assert (presented.key_id, presented.secret_hash) == (key_id, made.secret_hash)


def test_the_hash_is_that_of_the_256_bit_secret_alone() -> None:
    zero = new_key(KEY_ID).text.split("_")[1]
    stem = f"mk_{zero}_{'0' * 52}"
    made = f"{stem}_{checksum(stem)}"

    assert parse_key(made).secret_hash == hashlib.sha256(bytes(32)).digest()


def test_two_keys_of_a_row_differ() -> None:
    assert new_key(KEY_ID).secret_hash != new_key(KEY_ID).secret_hash


@given(st.integers(0, 74), st.characters())
def test_a_mistyped_character_is_noticed(place: int, typed: str) -> None:
    text = new_key(KEY_ID).text
    assume(text[place] != typed)

    with pytest.raises(MalformedKey) as caught:
        parse_key(text[:place] + typed + text[place + 1 :])

    assert text[20:40] not in str(caught.value)


@given(st.text())
def test_no_text_but_a_key_is_taken(text: str) -> None:
    with pytest.raises(MalformedKey):
        parse_key(text)


@pytest.mark.parametrize(
    "stem",
    [
        f"mk_{'0' * 13}_{'z' * 52}",  # 260 bits
        f"mk_{'z' * 13}_{'0' * 52}",  # an id of 65 bits
        f"mk_{'0' * 13}_{'u' * 52}",  # u is no digit of Crockford's
        f"mk_{'0' * 13}_{'0' * 51}O",
        f"mx_{'0' * 13}_{'0' * 52}",
    ],
)
def test_a_good_checksum_does_not_make_a_key(stem: str) -> None:
    with pytest.raises(MalformedKey):
        parse_key(f"{stem}_{checksum(stem)}")


def checksum(stem: str) -> str:
    import zlib

    return f"{zlib.crc32(stem.encode()) & 0xFFFFFF:06x}"
