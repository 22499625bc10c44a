"""Mails that others collected are read within the bars set for them; where those corpora are at hand."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailer.policy.classifier import shipped
from mailer.report import score
from mailer.report.reading import FeedbackReport, OrdinaryMail, Unparsable, read

CORPORA = Path(os.environ.get("CORPORA", Path(__file__).parents[3] / "../shared/corpora"))
LABELS = CORPORA / "labels.tsv"
pytestmark = pytest.mark.skipif(not LABELS.exists(), reason="no corpora at hand")


def scored(kind: str, folder: Path) -> dict[str, float]:
    """What the corpora's own judge makes of our readings: shares by the beginning of its lines."""
    predictions = folder / "predictions.jsonl"
    rows = [json.dumps(each.as_json()) for each in score.predictions(LABELS, kind)]
    predictions.write_text("\n".join(rows))
    judge = [sys.executable, CORPORA / "score.py", LABELS, predictions, "--kind", kind]
    said = subprocess.run(judge, check=True, capture_output=True, text=True).stdout
    return {line[:30].strip(): float(line.rpartition("=")[2]) for line in said.splitlines() if "/" in line}


def test_returned_mails_are_understood(tmp_path: Path) -> None:
    found = scored("mail", tmp_path)

    assert found["class lenient"] >= 0.95
    assert found["recipients exact"] >= 0.95
    assert found["FALSE suppressions"] == 0


def test_complaints_are_understood(tmp_path: Path) -> None:
    found = scored("arf", tmp_path)

    assert found["class lenient"] >= 0.95
    assert found["recipients exact"] >= 0.95
    assert found["FALSE suppressions"] == 0


def ordinary() -> Iterator[Path]:
    with LABELS.open(encoding="utf-8", newline="") as rows:
        for row in csv.DictReader(rows, delimiter="\t", quoting=csv.QUOTE_NONE):
            if row["kind"] == "mime" and row["is_bounce"] == "0":
                yield CORPORA / row["path"]


def test_mail_that_is_no_bounce_passes_as_that() -> None:
    said = {file: read(file.read_bytes(), classifier=shipped()) for file in ordinary()}

    assert [file for file, found in said.items() if not isinstance(found, OrdinaryMail)] == []


def test_every_file_is_read_in_no_time() -> None:
    files = [
        file
        for folder in ("arf", "mime", "bounces")
        for file in (CORPORA / folder).rglob("*")
        if file.is_file()
    ]
    slow, unparsable = [], []
    for file in files:
        started = time.perf_counter()
        found = read(file.read_bytes(), classifier=shipped())
        if time.perf_counter() - started > 2:
            slow.append(file)
        if isinstance(found, Unparsable):
            unparsable.append(file)

    assert files
    assert (slow, unparsable) == ([], [])


@pytest.mark.parametrize(
    "file", sorted((CORPORA / "arf" / "mail-auth").glob("*.json")), ids=lambda file: file.stem
)
def test_fields_of_a_complaint_are_those_that_another_parser_finds(file: Path) -> None:
    expected = json.loads(file.read_text())
    found = read(file.with_suffix(".eml").read_bytes(), classifier=shipped())
    if not isinstance(found, FeedbackReport):
        assert expected["feedback_type"] == "AuthFailure"
        return

    assert found.feedback_type == expected["feedback_type"].lower()
    assert (found.user_agent, found.source_ip) == (expected["user_agent"], expected["source_ip"])
    assert found.original_mail_from == expected["original_mail_from"]
    assert [f"<{address}>" for address in found.recipients] == [expected["original_rcpt_to"]]
    assert list(found.reported_domains) == expected["reported_domain"]
    assert list(found.reported_uris) == expected["reported_uri"]
    assert (found.reporting_mta, found.incidents) == (expected["reporting_mta"], expected["incidents"])
