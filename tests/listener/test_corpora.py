"""Vectors that others collected, where they lie beside the checkout or SMTP_CORPORA names their folder.

Of chasquid's dialogues one fails on purpose: `bad_data` wants 554 for a header field without a colon, which
is for the owner of the content to judge. Two speak of AUTH over TLS; test_tls.py has what they ask.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailer.listener import Limits
from tests.listener.serving import EHLO, ENVELOPE, Served, serving

CORPORA = Path(os.environ.get("SMTP_CORPORA", Path(__file__).parents[2] / "../shared/corpora"))
PROBE = CORPORA / "smtp_probe.py"
MISSED = {"dialogue t-12-minor_dialogs__bad_data.cmy"}

pytestmark = pytest.mark.skipif(not PROBE.exists(), reason="no corpora at hand")


@pytest.fixture(scope="module")
def megabyte() -> Iterator[Served]:
    """The dialogues expect a limit of 1 MiB."""
    with serving(limits=Limits(size_bytes=1024 * 1024)) as served:
        yield served


def _smuggling() -> list[dict[str, str | None]]:
    vectors = CORPORA / "smtp/smuggling-vectors.json"
    found: list[dict[str, str | None]] = (
        json.loads(vectors.read_text())["mox_reader"] if vectors.exists() else []
    )
    return [case for case in found if case["error"] != "io.ErrUnexpectedEOF"]


@pytest.mark.parametrize("case", _smuggling(), ids=lambda case: repr(case["input"]))
def test_content_is_read_as_mox_reads_it_or_stricter(megabyte: Served, case: dict[str, str]) -> None:
    """mox lets bare LF pass; we do not."""
    sent, output = case["input"].encode("latin1"), (case["output"] or "").encode("latin1")
    is_bare = case["error"] is not None or output.count(b"\n") != output.count(b"\r\n")

    replies = megabyte.talk(EHLO + ENVELOPE + b"DATA\r\n" + sent)

    assert replies[4][:3] == ("550" if is_bare else "250")
    assert is_bare or megabyte.desk.contents[-1] == output


@pytest.mark.slow
def test_the_probe_finds_nothing_but_what_we_mean(megabyte: Served) -> None:
    command = [sys.executable, str(PROBE), str(megabyte.port)]
    lines = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=True
    ).stdout.splitlines()

    failed = {line.removeprefix("FAIL ").split(" wanted")[0] for line in lines if line.startswith("FAIL")}
    assert failed == MISSED
    assert sum(line.startswith("PASS") for line in lines) >= 60
    assert all(b"SMUGGLED" not in content for content in megabyte.desk.contents)
