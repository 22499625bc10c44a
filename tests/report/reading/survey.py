"""`python -m tests.report.reading.survey [CHANGE...] [--seeds N] [--moved]`: how far readings move with
changes
that change no meaning (tests/support/mutating), over the corpora beside this checkout."""

from __future__ import annotations

import argparse
import csv
import os
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from mailer.policy.bounceclass import BounceClass, Group
from mailer.policy.classifier import Classifier, Said, shipped
from mailer.report import score
from mailer.report.reading import read
from tests.support.mutating import LINES, MAILS, line_variant, mail_variant

CORPORA = Path(os.environ.get("CORPORA", Path(__file__).parents[3] / "../shared/corpora"))
LABELS = CORPORA / "labels.tsv"
SUPPRESSING = frozenset({Group.HARD, Group.COMPLAINT, Group.UNSUBSCRIBE})
ALL_MAIL_CHANGES = (*MAILS, "mixture")


@dataclass(frozen=True)
class Read:
    """What is made of a mail or a line."""

    bounce_class: str
    recipients: frozenset[str] = frozenset()
    status: str = ""


@dataclass(frozen=True)
class Sample:
    """right: as the label has it. may_suppress: the label allows a class that does."""

    name: str
    content: bytes
    first: Read
    right: bool = True
    may_suppress: bool = True


@dataclass
class Survey:
    """What became of the variants of one change. moved: a line about each that is read otherwise."""

    change: str
    tried: int = 0
    right: int = 0
    moved: list[str] = field(default_factory=list)
    false_suppressions: list[str] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Of the variants of samples that are read rightly, those that still are."""
        return 1.0 if not self.tried else self.right / self.tried

    def __str__(self) -> str:
        return f"{self.change:18s} {self.right:4d}/{self.tried:4d} = {self.share:.3f}" + (
            f"  FALSE SUPPRESSIONS {len(self.false_suppressions)}" if self.false_suppressions else ""
        )


def read_mail(content: bytes) -> Read:
    reading = read(content, classifier=shipped())
    recipients = frozenset(address.lower() for address in score.recipients_of(reading))
    return Read(str(reading.bounce_class), recipients, score._status(reading))


def read_line(line: str) -> Read:
    judged = shipped().classify(Said(line))
    return Read(str(judged.bounce_class), status=str(judged.status or ""))


@cache
def rows(kind: str) -> Sequence[Mapping[str, str]]:
    with LABELS.open(encoding="utf-8", newline="") as lines:
        return [
            row
            for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
            if row["kind"] == kind
        ]


def _sample(row: Mapping[str, str], content: bytes, first: Read) -> Sample:
    accepted = {row["class"], *row["accept"].split()} - {""}
    wanted = {x.strip().strip("<>").lower() for x in row["recipients"].split(",") if "@" in x}
    right = ("*" in accepted or not row["class"] or first.bounce_class in accepted) and (
        not wanted or wanted == first.recipients
    )
    may = "*" in accepted or not row["class"] or any(suppresses(each) for each in accepted)
    return Sample(row["path"], content, first, right, may)


def suppresses(name: str) -> bool:
    return name in set(BounceClass) and BounceClass(name).group in SUPPRESSING


@cache
def mails() -> Sequence[Sample]:
    found = []
    for kind in ("mail", "arf"):
        for row in rows(kind):
            content = (CORPORA / row["path"]).read_bytes()
            found.append(_sample(row, content, read_mail(content)))
    return found


@cache
def letters() -> Sequence[Sample]:
    """Mail that reports nothing."""
    found = []
    for row in rows("mime"):
        if row["is_bounce"] == "0":
            content = (CORPORA / row["path"]).read_bytes()
            found.append(Sample(row["path"], content, read_mail(content), may_suppress=False))
    return found


@cache
def lines() -> Sequence[Sample]:
    found = []
    for row in rows("smtp-line"):
        file, _, number = row["path"].partition("#")
        line = score._lines(CORPORA / file)[int(number) - 1]
        found.append(_sample(row, line.encode(), read_line(line)))
    return found


def chosen(samples: Sequence[Sample], most: int, seed: int) -> Sequence[Sample]:
    return samples if most >= len(samples) else random.Random(seed).sample(samples, most)


def survey_mails(change: str, samples: Iterable[Sample], seeds: Iterable[int] = (0,)) -> Survey:
    found = Survey(change)
    for sample in samples:
        for seed in seeds:
            variant = mail_variant(sample.content, change, seed)
            if variant is None:
                continue
            now = read_mail(variant.content)
            first = sample.first
            expected = Read(
                first.bounce_class, frozenset(map(variant.address, first.recipients)), first.status
            )
            _note(found, sample, seed, expected, now)
    return found


def _note(found: Survey, sample: Sample, seed: int, expected: Read, now: Read) -> None:
    told = f"{sample.name} ({seed}): {_told(expected)} -> {_told(now)}"
    if not sample.may_suppress and suppresses(now.bounce_class):
        found.false_suppressions.append(told)
    if not sample.right:
        return
    found.tried += 1
    if now == expected:
        found.right += 1
    else:
        found.moved.append(told)


def _told(read: Read) -> str:
    return f"{read.bounce_class} {sorted(read.recipients)} {read.status}"


def survey_lines(change: str, samples: Iterable[Sample], seeds: Iterable[int] = (0,)) -> Survey:
    """Without its enhanced status a line is asked only where words decided."""
    found = Survey(change)
    for sample in samples:
        line = sample.content.decode()
        if change in {"bare-code", "codeless"} and not _is_told_by_words(line):
            continue
        for seed in seeds:
            variant = line_variant(line, change, seed)
            if variant is not None:
                now = read_line(variant)
                expected = Read(sample.first.bounce_class, status=sample.first.status)
                if change == "bare-code":
                    now, expected = Read(now.bounce_class), Read(expected.bounce_class)
                _note(found, sample, seed, expected, now)
    return found


@cache
def _rules() -> Mapping[str, bool]:
    classifier: Classifier = shipped()
    return {rule.written.name: bool(rule.text) and not rule.written.statuses for rule in classifier.rules}


def _is_told_by_words(line: str) -> bool:
    return _rules().get(shipped().classify(Said(line)).rule, False)


def _surveys(changes: Sequence[str], seeds: range) -> Iterator[Survey]:
    of: Callable[[str], bool] = lambda change: not changes or change in changes
    for change in ALL_MAIL_CHANGES:
        if of(change):
            yield survey_mails(change, mails(), seeds)
    for change in LINES:
        if of(f"line:{change}"):
            found = survey_lines(change, lines(), seeds)
            found.change = f"line:{change}"
            yield found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("changes", nargs="*")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--moved", action="store_true", help="say what moved")
    given = parser.parse_args()
    samples = Counter(sample.right for sample in mails())
    print(f"mails: {samples[True]} read rightly, {samples[False]} not")
    for found in _surveys(given.changes, range(given.first, given.first + given.seeds)):
        print(found, flush=True)
        told = (*found.moved, *(f"FALSE {each}" for each in found.false_suppressions)) if given.moved else ()
        for each in told:
            print("   ", each)


if __name__ == "__main__":
    main()
