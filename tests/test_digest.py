"""Digests are those of hashlib, whatever way the octets are fed."""

from __future__ import annotations

import hashlib

import pytest

from mailer.digest import sha256


@pytest.mark.parametrize("length", [0, 1, 2047, 2048, 4094, 4095, 65536, 65537])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_length_has_the_digest_of_hashlib(length: int, kind: type) -> None:
    octets = bytes(n % 251 for n in range(length))

    assert sha256(kind(octets)) == hashlib.sha256(octets).digest()
