"""Signatures by the eight: RSA in the time of two and a half, Ed25519 in that of one.

OpenSSL signs one message at a time. Processors with AVX-512 IFMA have room for eight beside each other, and
Intel's Cryptography Primitives Library (the wheel `ipp-crypto`, Apache 2.0) has the arithmetic, in constant
time: 70 us a signature of RSA-2048 instead of 210, 2 us of Ed25519 instead of 19 (measured on an AMD Zen 5).
And the interpreter's lock is let go once for eight of them: to get it back, a thread waits for a busy event
loop.

Without the wheel, which there is for Linux on x86-64, or without such a processor `library` is None.

No result of RSA leaves unchecked: one that went wrong modulo one of the primes gives the key away to anybody
who sees it (Boneh, DeMillo and Lipton, 1997; OpenSSL looks as well). The public operation takes 3 us. Of
Ed25519 it takes two signatures of the same octets, one of them wrong (Romailler and Pelissier, 2017); nothing
is signed twice here, since each attempt has its time in what is signed, and OpenSSL does not look either.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any, cast

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPrivateNumbers

_log = structlog.get_logger(__name__)

LANES = 8
_SIZES = (1024, 2048, 4096)  # bits; for 3072 OpenSSL is as fast
_PUBLIC_EXPONENT = 65537

_WHEEL = "ipp-crypto"
_NAME = "libcrypto_mb.so"
# Of the compiler's. The library names them and calls nothing in them, and the loader refuses it without.
_UNCALLED = ("libsvml.so", "libirng.so", "libimf.so", "libintlc.so.5")

# RFC 8017 §9.2, note 1: what stands before the SHA-256 digest.
_DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420")

_Pointers = ctypes.c_void_p * LANES


class RsaKey:
    """The parts of a private key as the library reads them.

    kind    keys of one kind sign together
    fewest  signatures from which it pays: eight take as long as one
    octets  of its modulus, and of its signatures
    """

    __slots__ = ("_parts", "addresses", "kind", "octets", "prefix")
    fewest = 3

    def __init__(self, numbers: RSAPrivateNumbers) -> None:
        self.octets = numbers.public_numbers.n.bit_length() // 8
        self.kind = f"rsa{self.octets}"
        half = self.octets // 2
        primes = (numbers.p, numbers.q, numbers.dmp1, numbers.dmq1, numbers.iqmp)
        words = [*(part.to_bytes(half, "little") for part in primes)]
        words.append(numbers.public_numbers.n.to_bytes(self.octets, "little"))
        self._parts = [ctypes.create_string_buffer(part, len(part)) for part in words]
        self.addresses = [ctypes.addressof(part) for part in self._parts]
        padding = b"\xff" * (self.octets - len(_DIGEST_INFO) - 32 - 3)
        self.prefix = b"\x00\x01" + padding + b"\x00" + _DIGEST_INFO


class Ed25519Key:
    """Likewise; `addresses` are those of the private key and of the public one."""

    __slots__ = ("_parts", "addresses")
    kind = "ed25519"
    fewest = 2

    def __init__(self, private: Ed25519PrivateKey) -> None:
        octets = (private.private_bytes_raw(), private.public_key().public_bytes_raw())
        self._parts = [ctypes.create_string_buffer(part, len(part)) for part in octets]
        self.addresses = [ctypes.addressof(part) for part in self._parts]


Key = RsaKey | Ed25519Key


def key_of(private: RSAPrivateKey | Ed25519PrivateKey) -> Key | None:
    """None: the library does no keys like this one, or is not there."""
    if library() is None:
        return None
    if isinstance(private, Ed25519PrivateKey):
        return Ed25519Key(private)
    if private.key_size not in _SIZES:
        return None
    numbers = private.private_numbers()
    half = private.key_size // 2
    fits = numbers.p.bit_length() == numbers.q.bit_length() == half
    return RsaKey(numbers) if fits and numbers.public_numbers.e == _PUBLIC_EXPONENT else None


class _Scratch(threading.local):
    """What one thread works with."""

    def __init__(self) -> None:
        most = LANES * _SIZES[-1] // 8
        self.given, self.made, self.back = (ctypes.create_string_buffer(most) for _ in range(3))


class Library:
    """The functions of the library at `path`. Raises OSError: it cannot be loaded, or does not run here."""

    def __init__(self, path: Path) -> None:
        _load_empty(_UNCALLED)
        loaded = ctypes.CDLL(str(path))
        if not loaded.mbx_is_crypto_mb_applicable(ctypes.c_uint64(0)):  # 0: it looks at the processor
            raise OSError("the processor has no AVX-512 IFMA")
        after_rsa = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
        self._private = _function(loaded.mbx_rsa_private_crt_mb8, 7, *after_rsa)
        self._public = _function(loaded.mbx_rsa_public_mb8, 3, *after_rsa)
        self._ed25519 = _function(loaded.mbx_ed25519_sign_mb8, 6)
        self._scratch = _Scratch()

    def sign(self, keys: Sequence[Key], digests: Sequence[bytes]) -> list[bytes] | None:
        """RSASSA-PKCS1-v1_5 (RFC 8017 §8.2) of at most eight SHA-256 digests, or Ed25519 (RFC 8032 §5.1.6) of
        the digests themselves (RFC 8463 §3), with keys of one kind.

        None: the library failed; nothing of it may be used.
        """
        if isinstance(keys[0], Ed25519Key):
            status, made = self._sign_ed25519([key for key in keys if isinstance(key, Ed25519Key)], digests)
        else:
            status, made = self._sign_rsa([key for key in keys if isinstance(key, RsaKey)], digests)
        if made is None:
            _log.error("sign.batch_failed", kind=keys[0].kind, signatures=len(keys), status=status)
        return made

    def _sign_ed25519(
        self, keys: Sequence[Ed25519Key], digests: Sequence[bytes]
    ) -> tuple[int, list[bytes] | None]:
        scratch, size = self._scratch, 32
        given = b"".join(digests)
        ctypes.memmove(scratch.given, given, len(given))
        lanes = _LANES[len(keys)]
        first, second = _lanes_of(scratch.made, size), _lanes_of(scratch.back, size)
        private, public = [_Pointers(*[keys[lane].addresses[part] for lane in lanes]) for part in range(2)]
        taken = _lanes_of(scratch.given, size, lanes)
        failed = self._ed25519(first, second, taken, _DIGEST_SIZES, private, public)
        if failed:
            return failed, None
        halves = scratch.made.raw, scratch.back.raw
        return 0, [b"".join([half[at : at + size] for half in halves]) for at in range(0, len(given), size)]

    def _sign_rsa(self, keys: Sequence[RsaKey], digests: Sequence[bytes]) -> tuple[int, list[bytes] | None]:
        size = keys[0].octets
        scratch = self._scratch
        given = b"".join([key.prefix + digest for key, digest in zip(keys, digests, strict=True)])
        ctypes.memmove(scratch.given, given, len(given))
        lanes = _LANES[len(keys)]
        taken = _lanes_of(scratch.given, size, lanes)
        made, back = _lanes_of(scratch.made, size), _lanes_of(scratch.back, size)
        *parts, moduli = [_Pointers(*[keys[lane].addresses[part] for lane in lanes]) for part in range(6)]
        failed = self._private(taken, made, *parts, size * 8, None, None)
        failed = failed or self._public(made, back, moduli, size * 8, None, None)
        if failed or scratch.back.raw[: len(given)] != given:
            return failed, None
        octets = scratch.made.raw
        return 0, [octets[at : at + size] for at in range(0, len(given), size)]


def _function(function: Any, arrays: int, *more: Any) -> Callable[..., int]:
    function.argtypes = [ctypes.c_void_p] * arrays + list(more)
    function.restype = ctypes.c_uint32
    return cast(Callable[..., int], function)


# What each lane does where so many are used. Every one works; those left over do what the first does.
_LANES = [[*range(used), *[0] * (LANES - used)] for used in range(LANES + 1)]
_DIGEST_SIZES = (ctypes.c_uint32 * LANES)(*[32] * LANES)


def _lanes_of(
    buffer: ctypes.Array[ctypes.c_char], size: int, lanes: Sequence[int] = range(LANES)
) -> ctypes.Array[ctypes.c_void_p]:
    begin = ctypes.addressof(buffer)
    return _Pointers(*[begin + lane * size for lane in lanes])


@lru_cache(maxsize=1)
def library() -> Library | None:
    """None: there is none for this machine."""
    path = _path()
    if path is None:
        return None
    try:
        return Library(path)
    except (OSError, AttributeError) as error:  # AttributeError: one of another time lacks a function
        _log.info("sign.one_at_a_time", why=str(error))
        return None


def _path() -> Path | None:
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return None
    try:
        files = metadata.files(_WHEEL) or []
    except metadata.PackageNotFoundError:
        return None
    return next((Path(str(file.locate())) for file in files if file.name == _NAME), None)


def _load_empty(names: Sequence[str]) -> None:
    """The loader knows libraries of these names from now on, in which there is nothing."""
    # All stay open until the last is loaded: it knows a file by its path, which has the descriptor's number.
    with ExitStack() as open_files:
        for name in names:
            fd = os.memfd_create(name)
            open_files.callback(os.close, fd)
            os.write(fd, _empty_library(name.encode("ascii")))
            ctypes.CDLL(f"/proc/self/fd/{fd}")


def _empty_library(name: bytes) -> bytes:
    """A shared object for x86-64 of which only the name counts (System V ABI, chapters 4 and 5)."""
    headers, segment, dynamic_at = 64, 56, 64 + 3 * 56
    strings = b"\0" + name + b"\0"
    dynamic_size = 7 * 16
    symbols_at = dynamic_at + dynamic_size  # one symbol, the undefined
    hashes_at = symbols_at + 24  # one bucket, which is empty
    strings_at = hashes_at + 16
    size = strings_at + len(strings)
    tags = (
        (14, 1),  # DT_SONAME
        (5, strings_at), (10, len(strings)),  # DT_STRTAB, DT_STRSZ
        (6, symbols_at), (11, 24),  # DT_SYMTAB, DT_SYMENT
        (4, hashes_at),  # DT_HASH
        (0, 0),
    )  # fmt: skip
    return b"".join(
        (
            b"\x7fELF\x02\x01\x01".ljust(16, b"\0"),
            struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, headers, 0, 0, headers, segment, 3, 0, 0, 0),
            struct.pack("<IIQQQQQQ", 1, 6, 0, 0, 0, size, size, 4096),  # PT_LOAD, readable and writable
            struct.pack("<IIQQQQQQ", 2, 6, *[dynamic_at] * 3, *[dynamic_size] * 2, 8),  # PT_DYNAMIC
            struct.pack("<IIQQQQQQ", 0x6474E551, 6, 0, 0, 0, 0, 0, 16),  # PT_GNU_STACK: not executable
            *(struct.pack("<QQ", *tag) for tag in tags),
            bytes(24),
            struct.pack("<IIII", 1, 1, 0, 0),
            strings,
        )
    )
