"""Verifiers written by others, to judge what we sign: dkimpy, and OpenDKIM's C library."""

from __future__ import annotations

import base64
import ctypes
import ctypes.util
from collections.abc import Mapping
from pathlib import Path

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mailer.compose.dkim import SigningKey

INSTALL = "apt-get install -y libopendkim11"

# opendkim/dkim.h
_OP_SETOPT = 1
_OPTS_QUERYMETHOD = 6
_OPTS_QUERYINFO = 7
_QUERY_FILE = 1
_STAT_OK = 0
_STAT_BADSIG = 1
_SIGFLAG_PASSED = 4
_SIGBH_MATCH = 0


def record(key: SigningKey) -> str:
    """The TXT record of a key (RFC 6376 §3.6.1, RFC 8463 §4.2: of Ed25519 the bare 32 octets)."""
    public = key.private.public_key()
    if isinstance(key.private, Ed25519PrivateKey):
        octets = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    else:
        octets = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    kind = key.algorithm.partition("-")[0]
    return f"v=DKIM1; k={kind}; p={base64.b64encode(octets).decode()}"


def dkimpy_verdicts(message: bytes, records: Mapping[str, str]) -> list[bool]:
    """What dkimpy says of each signature, in order."""

    def lookup(name: bytes, timeout: float = 5) -> bytes | None:
        found = records.get(name.decode().rstrip("."))
        return found.encode() if found else None

    def passes(at: int) -> bool:
        try:
            return bool(dkim.DKIM(message).verify(idx=at, dnsfunc=lookup))
        except dkim.ValidationError:
            return False

    count = sum(name.lower() == b"dkim-signature" for name, _ in dkim.DKIM(message).headers)
    return [passes(at) for at in range(count)]


class OpenDkim:
    """libopendkim, called in this process; public keys come from a file in place of the DNS."""

    def __init__(self, records: Mapping[str, str], folder: Path) -> None:
        """Fails the test, with the command that helps, where the library is not installed."""
        name = ctypes.util.find_library("opendkim")
        if name is None:
            pytest.fail(f"the second DKIM verifier is missing: {INSTALL}")
        self._c = ctypes.CDLL(name)
        for function in ("dkim_init", "dkim_verify"):
            getattr(self._c, function).restype = ctypes.c_void_p
        keys = folder / "keys"
        keys.write_text("".join(f"{name} {text}\n" for name, text in records.items()))
        self._lib = ctypes.c_void_p(self._c.dkim_init(None, None))
        path = ctypes.create_string_buffer(bytes(keys))
        method = ctypes.c_int(_QUERY_FILE)
        self._set(_OPTS_QUERYMETHOD, ctypes.byref(method), ctypes.sizeof(method))
        self._set(_OPTS_QUERYINFO, path, len(path))

    def verdicts(self, message: bytes) -> list[bool]:
        """What OpenDKIM says of each signature, in order."""
        status = ctypes.c_int()
        handle = ctypes.c_void_p(self._c.dkim_verify(self._lib, b"test", None, ctypes.byref(status)))
        assert status.value == _STAT_OK
        try:
            return self._judge(handle, message)
        finally:
            self._c.dkim_free(handle)

    def close(self) -> None:
        self._c.dkim_close(self._lib)

    def _judge(self, handle: ctypes.c_void_p, message: bytes) -> list[bool]:
        chunk = ctypes.create_string_buffer(message, len(message))
        assert self._c.dkim_chunk(handle, chunk, ctypes.c_size_t(len(message))) == _STAT_OK
        assert self._c.dkim_chunk(handle, None, ctypes.c_size_t(0)) == _STAT_OK
        assert self._c.dkim_eom(handle, None) in (_STAT_OK, _STAT_BADSIG)
        signatures = ctypes.POINTER(ctypes.c_void_p)()
        count = ctypes.c_int()
        self._c.dkim_getsiglist(handle, ctypes.byref(signatures), ctypes.byref(count))
        return [self._passes(handle, ctypes.c_void_p(signatures[at])) for at in range(count.value)]

    def _passes(self, handle: ctypes.c_void_p, signature: ctypes.c_void_p) -> bool:
        # dkim_eom stops at the first signature that passes; the others are judged here.
        self._c.dkim_sig_process(handle, signature)
        passed = self._c.dkim_sig_getflags(signature) & _SIGFLAG_PASSED
        return bool(passed) and self._c.dkim_sig_getbh(signature) == _SIGBH_MATCH

    def _set(self, option: int, value: object, size: int) -> None:
        done = self._c.dkim_options(self._lib, _OP_SETOPT, option, value, ctypes.c_size_t(size))
        assert done == _STAT_OK
