"""What is signed by the eight is what OpenSSL signs, and nothing that went wrong gets out."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256

from mailer import signbatch
from mailer.signbatch import Ed25519Key, Key, Library, RsaKey, key_of

PRIVATE = {bits: [generate_private_key(65537, bits) for _ in range(3)] for bits in (1024, 2048, 4096)}
SMALL = Ed25519PrivateKey.generate()


def can_here() -> bool:
    """Whether the processor has what the library asks for."""
    return "avx512ifma" in Path("/proc/cpuinfo").read_text().split()


def by_openssl(private: RSAPrivateKey, data: bytes) -> bytes:
    return private.sign(data, PKCS1v15(), SHA256())


def digests(data: Sequence[bytes]) -> list[bytes]:
    return [hashlib.sha256(one).digest() for one in data]


def lanes(privates: Sequence[RSAPrivateKey | Ed25519PrivateKey]) -> list[Key]:
    found = [key_of(private) for private in privates]
    return [key for key in found if key is not None]


def test_it_is_used_where_the_processor_can() -> None:
    assert signbatch.library() is not None or not can_here()


@pytest.mark.parametrize("bits", PRIVATE)
@pytest.mark.parametrize("number", range(1, signbatch.LANES + 1))
def test_each_signature_is_the_one_that_openssl_makes(bits: int, number: int) -> None:
    """RSASSA-PKCS1-v1_5 has no chance in it (RFC 8017 §8.2), so there is one only."""
    privates = [PRIVATE[bits][n % 3] for n in range(number)]
    data = [b"%d of %d" % (n, number) * 40 for n in range(number)]
    library = signbatch.library()

    if library is None:
        assert lanes(privates) == []
    else:
        made = library.sign(lanes(privates), digests(data))
        assert made == [by_openssl(private, one) for private, one in zip(privates, data, strict=True)]


@pytest.mark.parametrize("number", range(1, signbatch.LANES + 1))
def test_each_signature_with_ed25519_is_the_one_that_openssl_makes(number: int) -> None:
    """There is no chance in it either (RFC 8032 §5.1.6)."""
    privates = [Ed25519PrivateKey.generate() for _ in range(number)]
    data = digests([b"%d of %d" % (n, number) for n in range(number)])
    library = signbatch.library()

    if library is None:
        assert lanes(privates) == []
    else:
        keys = lanes(privates)
        assert all(isinstance(key, Ed25519Key) for key in keys)
        assert library.sign(keys, data) == [p.sign(one) for p, one in zip(privates, data, strict=True)]


def test_a_result_that_went_wrong_stays_inside() -> None:
    """One part of one key is another key's: the signature would tell a prime of it."""
    library = signbatch.library()
    if library is None:
        assert not can_here()
        return  # then there are no such results
    keys = lanes(PRIVATE[2048])
    for part in range(6):
        broken = RsaKey(PRIVATE[2048][0].private_numbers())
        broken.addresses[part] = keys[1].addresses[part]

        assert library.sign([keys[0], broken, keys[2]], digests([b"a", b"b", b"c"])) is None
    assert library.sign(keys, digests([b"a", b"b", b"c"])) is not None


@pytest.mark.parametrize(("bits", "exponent"), [(1536, 65537), (3072, 65537), (2048, 3)])
def test_other_keys_are_left_to_openssl(bits: int, exponent: int) -> None:
    assert key_of(generate_private_key(exponent, bits)) is None


def test_threads_do_not_meet() -> None:
    library = signbatch.library()
    if library is None:
        assert not can_here()
        return

    def work(thread: int) -> bool:
        right = True
        for n in range(50):
            data = [b"%d %d %d" % (thread, n, lane) for lane in range(signbatch.LANES)]
            private = PRIVATE[(1024, 2048)[n % 2]][thread % 3]
            made = library.sign(lanes([private]) * signbatch.LANES, digests(data))
            right &= made == [by_openssl(private, one) for one in data]
            small = library.sign(lanes([SMALL]) * signbatch.LANES, digests(data))
            right &= small == [SMALL.sign(one) for one in digests(data)]
        return right

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))


def test_a_file_that_is_no_library_is_told(tmp_path: Path) -> None:
    (tmp_path / "libcrypto_mb.so").write_bytes(b"\x7fELF" + bytes(200))

    with pytest.raises(OSError, match="libcrypto_mb"):
        Library(tmp_path / "libcrypto_mb.so")


WITHOUT = """
from datetime import UTC, datetime
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from mailer import signbatch
{fault}
from mailer.compose.dkim import Algorithm, Letter, SigningKey, body_hash, sign

assert signbatch.library() is None
key = SigningKey("s", Algorithm.RSA, generate_private_key(65537, 2048))
assert key.batch is None
at = datetime(2026, 1, 1, tzinfo=UTC)
headers = [b"From: a@b.example\\r\\nSubject: %d\\r\\n" % n for n in range(9)]
fields = sign([Letter(block, body_hash(b""), "b.example", [key], at) for block in headers])
assert len(set(fields)) == 9
"""


@pytest.mark.parametrize(
    "fault",
    [
        "signbatch._WHEEL = 'no-such-wheel'",
        "signbatch._UNCALLED = signbatch._UNCALLED[1:]",
        "signbatch.platform.machine = lambda: 'aarch64'",
    ],
    ids=["no wheel", "the loader refuses it", "another processor"],
)
def test_without_it_openssl_signs(fault: str) -> None:
    subprocess.run([sys.executable, "-c", WITHOUT.format(fault=fault)], check=True)
