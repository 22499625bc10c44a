"""`python -m mailer.report.score LABELS.tsv [--kind KIND]`: what we make of a corpus, a JSON object a row.

The files that the rows name lie beside LABELS.tsv; a row of a file of lines is FILE.tsv#N, N from 1.
"""

from __future__ import annotations

import argparse
import csv
import functools
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mailer.policy.classifier import Said, shipped
from mailer.report.reading import DeliveryReport, Reading, read


@dataclass(frozen=True, slots=True)
class Prediction:
    """path: as in the first column. bounce_class: empty: nothing came of it."""

    path: str
    bounce_class: str
    recipients: Sequence[str] = ()
    status: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "path": self.path,
            "class": self.bounce_class,
            "recipients": list(self.recipients),
            "status": self.status,
        }


Reader = Callable[[Path, str], Prediction]  # folder of the labels, path of the row


def line(folder: Path, path: str) -> Prediction:
    """A reply line."""
    file, _, number = path.partition("#")
    judged = shipped().classify(Said(_lines(folder / file)[int(number) - 1]))
    return Prediction(path, judged.bounce_class, (), str(judged.status or ""))


@functools.lru_cache(maxsize=8)
def _lines(file: Path) -> Sequence[str]:
    with file.open(encoding="utf-8", newline="") as rows:
        return [row["line"] for row in csv.DictReader(rows, delimiter="\t", quoting=csv.QUOTE_NONE)]


def mail(folder: Path, path: str) -> Prediction:
    """A mail that came back, of whatever kind."""
    reading = read((folder / path).read_bytes(), classifier=shipped())
    return Prediction(path, reading.bounce_class, recipients_of(reading), _status(reading))


def recipients_of(reading: Reading) -> Sequence[str]:
    """The addresses that a mail speaks of."""
    if isinstance(reading, DeliveryReport):
        return [report.address for report in reading.recipients]
    return getattr(reading, "recipients", ())


def _status(reading: Reading) -> str:
    if isinstance(reading, DeliveryReport) and reading.recipients:
        return str(reading.recipients[0].status or "")
    return ""


READERS: Mapping[str, Reader] = {"smtp-line": line, "mail": mail, "arf": mail, "mime": mail}


def predictions(labels: Path, kind: str | None = None) -> Iterator[Prediction]:
    """Of all rows that can be read, or those of one kind."""
    with labels.open(encoding="utf-8", newline="") as rows:
        for row in csv.DictReader(rows, delimiter="\t", quoting=csv.QUOTE_NONE):
            reader = READERS.get(row["kind"])
            if reader is not None and kind in (None, row["kind"]):
                yield reader(labels.parent, row["path"])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m mailer.report.score", description=__doc__)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--kind", choices=sorted(READERS))
    given = parser.parse_args(arguments)
    for prediction in predictions(given.labels, given.kind):
        sys.stdout.write(json.dumps(prediction.as_json()) + "\n")


if __name__ == "__main__":
    main()
