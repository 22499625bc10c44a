"""What a refusal costs to classify, beside one bare re.search a line, and with twice the rules.

    python -m tests.bench.classify [FILE]

FILE holds one line a refusal; without it a few that MTAs say. Prints ratios: they hold on any machine.
"""

from __future__ import annotations

import argparse
import re
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mailer.policy.classifier import Classifier, Said, shipped_files

LINES = (
    "550 5.1.1 <b@example.net>: Recipient address rejected: User unknown in virtual mailbox table",
    "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.example; see https://example.net/1",
    "451 4.7.1 Greylisting in action, please come back in 00:05:00",
    "552 5.2.2 <b@example.net> Quota exceeded (mailbox for user is full)",
    "550 5.7.26 This mail has been blocked because the sender is unauthenticated. - gsmtp",
    "421 4.7.0 [192.0.2.1] Our system has detected an unusual rate of mail originating from your IP address.",
    "550 5.7.1 Message rejected due to content policy",
    "554 Transaction failed",
)
_PATTERN = re.compile(r"user (?:unknown|not found)|no such user", re.IGNORECASE)
_LEAST_SECONDS = 0.5


def doubled(*, same_words: bool) -> dict[str, str]:
    """As many rules again, with other words or the same; of a provider that says nothing here."""
    change = _same if same_words else _other
    texts = []
    for document in map(tomllib.loads, shipped_files().values()):
        lists = {change(name): [*map(change, words)] for name, words in document.get("words", {}).items()}
        if lists and not same_words:
            texts.append(
                "\n".join(["[words]", *(f"{name} = {words!r}" for name, words in lists.items()), ""])
            )
        texts += [_rule(name, values, change) for name, values in document.get("rule", {}).items()]
    return {"again.toml": "".join(texts)}


def _same(phrase: str) -> str:
    return phrase


def _other(phrase: str) -> str:
    return re.sub(r"[a-z_]{2,}", lambda match: f"q{match[0]}", phrase)


def _rule(name: str, values: Mapping[str, Any], change: Callable[[str], str]) -> str:
    kept: dict[str, list[Any]] = {key: values[key] for key in ("code", "status", "phase") if key in values}
    kept |= {key: [*map(change, values[key])] for key in ("text", "unless") if key in values}
    head = f'[rule.{name}-again]\nprovider = "nobody"\nclass = "undetermined"\nsource = "assumed"\n'
    return head + "".join(f"{key} = {value!r}\n" for key, value in kept.items())


def seconds_a_line(work: Callable[[str], object], lines: Sequence[str]) -> float:
    """The best of several passes."""
    best, until = float("inf"), time.perf_counter() + _LEAST_SECONDS
    while time.perf_counter() < until:
        begun = time.perf_counter()
        for line in lines:
            work(line)
        best = min(best, time.perf_counter() - begun)
    return best / len(lines)


def classifying(classifier: Classifier) -> Callable[[str], object]:
    """Each line as if it were never seen before: what was judged is remembered."""
    return lambda line: classifier._classify(Said(line))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", nargs="?", type=Path)
    given = parser.parse_args()
    lines = LINES if given.file is None else given.file.read_text(encoding="utf-8").splitlines()
    plain = Classifier.parse(shipped_files())
    bare = seconds_a_line(_PATTERN.search, lines)
    once = seconds_a_line(classifying(plain), lines)
    print(f"{len(plain.rules)} rules: {once / bare:.1f} x one bare re.search a line")
    for same_words in (False, True):
        more = Classifier.parse(shipped_files() | doubled(same_words=same_words))
        ratio = seconds_a_line(classifying(more), lines) / seconds_a_line(classifying(plain), lines)
        what = "the same words" if same_words else "other words"
        print(f"{len(more.rules)} rules, with {what}: {(ratio - 1) * 100:+.1f} % a line")


if __name__ == "__main__":
    main()
