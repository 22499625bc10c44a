from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.identity.vault import SealBroken, Vault

ONE, OTHER = Vault(b"1" * 32), Vault(b"2" * 32)


@given(st.binary(max_size=4000), st.text(max_size=40))
def test_what_was_sealed_opens_for_the_same_purpose(plain: bytes, context: str) -> None:
    assert ONE.open(ONE.seal(plain, context), context) == plain


def test_a_seal_shows_nothing_and_never_repeats() -> None:
    first, second = ONE.seal(b"private key", "a"), ONE.seal(b"private key", "a")

    assert first != second
    assert b"private" not in first


@pytest.mark.parametrize(
    ("vault", "context", "flip"),
    [(OTHER, "a", None), (ONE, "b", None), (ONE, "a", 0), (ONE, "a", 5), (ONE, "a", 20), (ONE, "a", -1)],
)
def test_another_secret_purpose_or_a_damaged_byte_does_not_open(
    vault: Vault, context: str, flip: int | None
) -> None:
    sealed = bytearray(ONE.seal(b"private key", "a"))
    sealed[flip or 0] ^= 0 if flip is None else 1

    with pytest.raises(SealBroken):
        vault.open(bytes(sealed), context)


@given(st.binary(max_size=60))
def test_bytes_that_are_no_seal_do_not_open(noise: bytes) -> None:
    with pytest.raises(SealBroken):
        ONE.open(noise, "a")


def test_derived_keys_are_stable_and_differ_by_purpose_and_secret() -> None:
    assert ONE.derive("verp") == Vault(b"1" * 32).derive("verp")
    assert len({ONE.derive("verp"), ONE.derive("proof"), OTHER.derive("verp")}) == 3


def test_a_secret_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Vault(b"short")
