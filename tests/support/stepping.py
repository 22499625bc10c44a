"""The product's wall clock, moved while it runs: libfaketime reads from a file how far it is off."""

from __future__ import annotations

from pathlib import Path

LOOKS_SECONDS = 1.5  # libfaketime looks at its file once a second


def stepped(step_file: Path) -> dict[str, str]:
    """Environment of a product whose wall clock steps, and whose monotonic clock is left alone."""
    return {
        "LD_PRELOAD": _libfaketime(),
        "FAKETIME_TIMESTAMP_FILE": str(step_file),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
        # libfaketime takes each timed wait in hand, those for the interpreter's lock too: threads that
        # wait on the processor of the one that runs leave it too little to keep its lease.
        "MAILER_ONE_PROCESSOR": "false",
    }


def set_clock(step_file: Path, offset_seconds: int) -> None:
    """Written whole, so that nobody reads half an offset."""
    half = step_file.with_suffix(".part")
    half.write_text(f"{offset_seconds:+d}\n")
    half.rename(step_file)


def _libfaketime() -> str:
    found = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    assert found, "libfaketime is missing: apt-get install faketime"
    return str(found)
