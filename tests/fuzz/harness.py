"""Parsers of what strangers send are given damaged input for a time, and must neither raise nor take long.

A target is a parser with a few whole inputs and the words of its format; inputs are made of these, cut,
repeated and mixed with arbitrary octets. `make fuzz` gives all targets together FUZZ_SECONDS; a short run
of each is among the normal tests. What is found is shrunk, printed, and kept in findings/TARGET/, which
is read again for ever.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FINDINGS = Path(__file__).parent / "findings"
SECONDS = float(os.environ.get("FUZZ_SECONDS", "0"))  # 0: one short round for each target
SLOW_SECONDS = 2.0
_ROUND = 200 if SECONDS else 40
_PIECES_MOST = 40


@dataclass(frozen=True, slots=True)
class Target:
    """parse: must return for any octets. seeds: whole inputs. words: pieces that mean something in them."""

    name: str
    parse: Callable[[bytes], object]
    seeds: Sequence[bytes]
    words: Sequence[bytes]

    def __str__(self) -> str:
        return self.name


def inputs(target: Target) -> st.SearchStrategy[bytes]:
    seeds, words = st.sampled_from(target.seeds), st.sampled_from(target.words)
    slices = st.builds(_cut, seeds, st.integers(0, 1 << 16), st.integers(0, 1 << 16))
    repeated = st.builds(lambda word, times: word * times, words, st.integers(1, 2000))
    pieces = st.lists(slices | words | repeated | st.binary(max_size=30), max_size=_PIECES_MOST).map(b"".join)
    damaged = st.builds(
        _damaged, seeds, st.lists(st.tuples(st.integers(0, 1 << 16), words | st.binary(max_size=8)))
    )
    return pieces | damaged


def _cut(seed: bytes, start: int, length: int) -> bytes:
    start %= len(seed)
    return seed[start : start + length % (len(seed) - start + 1)]


def _damaged(seed: bytes, changes: Sequence[tuple[int, bytes]]) -> bytes:
    """Each change lies over what stood there, or between, in turn."""
    for number, (place, octets) in enumerate(changes):
        at = place % (len(seed) + 1)
        seed = seed[:at] + octets + seed[at + (len(octets) if number % 2 else 0) :]
    return seed


def hammer(target: Target, seconds: float) -> int:
    """Inputs that were tried in about `seconds`, in one round at least; `make fuzz` shows how many."""
    tried = 0
    ends = time.monotonic() + seconds

    @settings(
        max_examples=_ROUND,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    @given(inputs(target))
    def one_round(content: bytes) -> None:
        nonlocal tried
        tried += 1
        judge(target, content)

    while True:
        one_round()
        if time.monotonic() >= ends:
            print(f"{target}: {tried} inputs in {seconds:.0f} s")
            return tried


def judge(target: Target, content: bytes) -> None:
    """Raises, and keeps `content`, if the parser raises or takes too long."""
    started = time.perf_counter()
    try:
        target.parse(content)
        taken = time.perf_counter() - started
        if taken > SLOW_SECONDS:
            raise TimeoutError(f"{target} took {taken:.1f} s for {len(content)} octets")
    except BaseException:
        if SECONDS:
            _keep(target, content)
        raise


def _keep(target: Target, content: bytes) -> None:
    """The smallest of a run stays in the end: it is tried last."""
    folder = FINDINGS / target.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{hashlib.sha256(content).hexdigest()[:16]}.bin").write_bytes(content)
