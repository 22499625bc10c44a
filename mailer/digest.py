"""SHA-256 of octets in memory, for threads that must not wait."""

from __future__ import annotations

import hashlib

# hashlib lets go of the interpreter's lock from 2,048 octets on (HASHLIB_GIL_MINSIZE). To hash a letter takes
# 5 us; to get the lock back beside a busy thread took 30 of an event loop's time (measured).
_KEEPS_LOCK = 2047
_LONG = 64 * 1024  # of which the others may well have the time


def sha256(octets: bytes | bytearray | memoryview) -> bytes:
    """The digest, 32 octets."""
    if len(octets) <= _KEEPS_LOCK or len(octets) > _LONG:
        return hashlib.sha256(octets).digest()
    digest = hashlib.sha256()
    view = memoryview(octets)
    for start in range(0, len(view), _KEEPS_LOCK):
        digest.update(view[start : start + _KEEPS_LOCK])
    return digest.digest()
