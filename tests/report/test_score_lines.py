"""How well reply lines are understood, by a corpus that stands beside this checkout."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mailer.report import score

CORPORA = Path(os.environ.get("SMTP_CORPORA", Path(__file__).parents[2] / "../shared/corpora"))
LABELS = CORPORA / "labels.tsv"


@pytest.mark.skipif(not LABELS.exists(), reason="no corpora at hand")
def test_lines_are_understood_and_none_suppresses_by_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    score.main([str(LABELS), "--kind", "smtp-line"])
    predictions = tmp_path / "predictions.jsonl"
    predictions.write_text(capsys.readouterr().out)

    command = [
        sys.executable,
        str(CORPORA / "score.py"),
        str(LABELS),
        str(predictions),
        "--kind",
        "smtp-line",
    ]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert _share("class lenient", said) >= 0.85
    assert _share("suppressed where it must be", said) >= 0.95
    assert _share("FALSE suppressions", said) == 0


def _share(what: str, said: str) -> float:
    found = re.search(rf"^{what} .* = ([0-9.]+)$", said, re.MULTILINE)
    assert found is not None, said
    return float(found[1])


def test_each_row_of_a_kind_becomes_one_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "lines.tsv").write_text("line\tclass\n550 5.1.1 no such user\tx\n450 4.2.0 Greylisted\tx\n")
    (tmp_path / "labels.tsv").write_text(
        "path\tkind\nlines.tsv#2\tsmtp-line\nother.eml\tnothing-known\nlines.tsv#1\tsmtp-line\n"
    )

    score.main([str(tmp_path / "labels.tsv")])

    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first == {"path": "lines.tsv#2", "class": "greylisted", "recipients": [], "status": "4.2.0"}
    assert (second["path"], second["class"]) == ("lines.tsv#1", "invalid-mailbox")
