"""What a refusal means, what is to be done about it, and whose fault it is: the one reader of 4yz and 5yz.

The rules are data (data/bounces.toml, data/bounces/PROVIDER.toml; bouncerules.py says what may stand there).
Compiled once: a line is cut into words, the phrases among them are found in one pass, and only rules that
have a phrase, a status or a code of the line are asked. Pure, and safe from any thread.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import resources

from mailer.policy import bouncerules
from mailer.policy.bounceclass import Action, Blame, BounceClass, Group
from mailer.policy.bouncecompile import Compiler, Judgement, Rule
from mailer.policy.bouncerules import BounceFile, BounceRuleError, Written
from mailer.policy.bouncewords import LONGEST, Expression, Spans, without_advice, words_of
from mailer.policy.outcome import Broken, Unroutable, Unsuitable
from mailer.protocol.enhanced import EnhancedStatus
from mailer.protocol.phase import Phase
from mailer.protocol.reply import Reply

__all__ = ["BounceRuleError", "Classifier", "Judgement", "Said", "shipped", "shipped_files"]

_GENERAL = "bounces.toml"
_REMEMBERED = 512  # lines
_POSITIVE = 2
_LOST = EnhancedStatus(4, 4, 2)  # RFC 3463 §3.5: bad connection
_CODE_FIRST = re.compile(r"[\s\"'(<]*(2[0-5][0-9]|[45][0-9]{2})(?![0-9.])")
# "host mx.example.net[192.0.2.1] said: 550 5.1.1 ..." (Postfix), "Remote host said: 550" (qmail), "smtp; 550"
# (RFC 3464 §2.3.6), "SMTP error from remote mail server after RCPT TO:<a@b>: 550" (Exim).
_CODE_LATER = re.compile(r"(?:said|[:;>])[:\s]\s*([45][0-9]{2})(?=[ -])", re.IGNORECASE)
# Postfix tells so to what a host replied (src/smtp/smtp_proto.c).
_IN_REPLY = re.compile(
    r"\(in\s+reply\s+to\s+((?:end\s+of\s+)?[a-z]+(?:\s+(?:from|to))?)(?:\s+command)?\)", re.I
)
_PHASES = {
    "HELO": Phase.EHLO, "EHLO": Phase.EHLO, "MAIL FROM": Phase.MAIL, "RCPT TO": Phase.RCPT,
    "DATA": Phase.DATA, "END OF DATA": Phase.END_OF_DATA,
}  # fmt: skip
# No recipient was named yet (RFC 5321 §3.3): "unknown user" is the sender.
_BEFORE_RCPT = frozenset({
    Phase.CONNECT, Phase.GREETING, Phase.EHLO, Phase.STARTTLS, Phase.AUTH, Phase.MAIL,
})  # fmt: skip
_STATUS = re.compile(r"(?<![0-9.])([245])\.([0-7])\.([0-9]{1,3})(?![0-9]|\.[0-9])")


@dataclass(frozen=True, slots=True)
class Said:
    """A line or the words of a report.

    code, status  None: as found in the text, if they are there
    provider      name of a provider in sites.toml; None: not known, it may show in the words
    """

    text: str
    code: int | None = None
    status: EnhancedStatus | None = None
    provider: str | None = None
    phase: Phase | None = None


@dataclass(slots=True)
class _Line:
    """A line that is judged. groups: whose rules are asked."""

    text: str
    code: str
    status: EnhancedStatus | None
    phase: Phase | None
    found: Spans
    groups: set[str]


class Classifier:
    """The rules in force."""

    def __init__(self, files: Mapping[str, BounceFile], overlays: Iterable[str] = ()) -> None:
        """files: by name. overlays: which of them are the operator's. Raises BounceRuleError."""
        compiler = Compiler(files, frozenset(overlays))
        self.rules = compiler.compiled()
        self._phrases = compiler.phrases
        self._groups = compiler.groups
        self._signs = compiler.signs
        self._by_phrase: dict[int, list[tuple[int, Expression]]] = {}
        self._by_status: dict[tuple[int, int | None], list[int]] = {}
        self._by_code: dict[str, list[int]] = {}
        self._index()
        self._phrases.seal()
        self._judge = functools.lru_cache(maxsize=_REMEMBERED)(self._classify)

    @classmethod
    def parse(cls, texts: Mapping[str, str], own: Mapping[str, str] | None = None) -> Classifier:
        """From texts of files by name; own: the operator's, over them. Raises BounceRuleError."""
        files: dict[str, BounceFile] = {}
        faults: list[str] = []
        for name, text in (*texts.items(), *(own or {}).items()):
            try:
                files[name] = bouncerules.read(name, text)
            except BounceRuleError as error:
                faults += error.faults
        if faults:
            raise BounceRuleError(faults)
        return cls(files, own or ())

    def classify(self, said: Said) -> Judgement:
        """What it means; undetermined where no rule knows. Nothing that is said raises."""
        return self._judge(said if len(said.text) <= LONGEST else replace(said, text=said.text[:LONGEST]))

    def of_reply(self, reply: Reply, phase: Phase, provider: str | None = None) -> Judgement:
        """What a refusal means."""
        status = EnhancedStatus.find(reply.text, reply.code)
        return self.classify(Said(reply.text, reply.code, status, provider, phase))

    def of_trouble(self, outcome: Broken | Unroutable | Unsuitable) -> Judgement:
        """What it means that nothing was said: a lost connection, no host, or a host that cannot take it."""
        status = _LOST if isinstance(outcome, Broken) else EnhancedStatus.parse(outcome.status)
        return self._judge(Said("", status=status))

    def _index(self) -> None:
        for number, rule in enumerate(self.rules):
            for expression in rule.text:
                for phrase in expression.rarest:
                    self._by_phrase.setdefault(phrase, []).append((number, expression))
            if rule.text:
                continue
            for _, subject, detail in rule.written.statuses:
                self._by_status.setdefault((subject, detail), []).append(number)
            if not rule.written.statuses:
                for code in rule.written.codes or ("",):
                    self._by_code.setdefault(code, []).append(number)

    def _classify(self, said: Said) -> Judgement:
        line = self._line(said)
        asked: dict[int, list[Expression]] = {number: [] for number in self._without_words(line)}
        for phrase in line.found:
            for number, expression in self._by_phrase.get(phrase, ()):
                asked.setdefault(number, []).append(expression)
        for number in sorted(asked):
            rule = self.rules[number]
            if _fits(rule, line, asked[number]):
                return _said_of(rule, line)
        return Judgement(BounceClass.UNDETERMINED, Action.RETRY, Blame.REMOTE, line.status, "", "", "")

    def _line(self, said: Said) -> _Line:
        head, text, phase = _parts(said.text)
        code = said.code or code_in(text)
        status = said.status or status_in(text, code)
        found = self._phrases.find(words_of(text))
        told = without_advice(text)
        groups = self._groups_of(found) | (
            self._groups_of(self._phrases.find(words_of(head))) if head else set()
        )
        if said.provider is not None:
            groups.add(self._groups.get(said.provider, said.provider))
        if told is not text:
            found = self._phrases.find(words_of(told))
        if code is None and status is not None:
            code = status.class_ * 100
        return _Line(text, "" if code is None else str(code), status, said.phase or phase, found, groups)

    def _groups_of(self, found: Spans) -> set[str]:
        """The providers that words are known for."""
        signs = [sign for phrase in found for sign in self._signs.get(phrase, ())]
        return {group for expression, group in signs if expression.stands_in(found)}

    def _without_words(self, line: _Line) -> Iterator[int]:
        """Rules that ask for no words, by the status or the code that they ask for."""
        if line.status is not None:
            yield from self._by_status.get((line.status.subject, line.status.detail), ())
            yield from self._by_status.get((line.status.subject, None), ())
        for length in range(len(line.code) + 1):
            yield from self._by_code.get(line.code[:length], ())


def _fits(rule: Rule, line: _Line, seen: Iterable[Expression]) -> bool:
    """seen: its expressions of which a phrase stands in the line."""
    written = rule.written
    if rule.group is not None and rule.group not in line.groups:
        return False
    if line.phase in _BEFORE_RCPT and rule.judgement.bounce_class.group is Group.HARD:
        return False
    if written.codes and not line.code.startswith(written.codes):
        return False
    if written.phases and line.phase not in written.phases:
        return False
    if written.statuses and not _has_status(written, line.status):
        return False
    if rule.text and not any(each.is_single or each.stands_in(line.found) for each in seen):
        return False
    if not rule.barred.isdisjoint(line.found) or any(each.stands_in(line.found) for each in rule.unless):
        return False
    return written.regex is None or written.regex.search(line.text) is not None


def _has_status(written: Written, status: EnhancedStatus | None) -> bool:
    return status is not None and any(
        class_ in (None, status.class_) and subject == status.subject and detail in (None, status.detail)
        for class_, subject, detail in written.statuses
    )


def _said_of(rule: Rule, line: _Line) -> Judgement:
    """A 4yz is never the end (RFC 5321 §4.2.1) unless the rule was written for such replies."""
    judgement = replace(rule.judgement, status=line.status)
    if line.code.startswith("4") and judgement.action is Action.FAIL and not rule.bears_4yz:
        return replace(judgement, action=Action.RETRY)
    return judgement


def _parts(text: str) -> tuple[str, str, Phase | None]:
    """What one of us says before a host's reply, the reply, and what it was said to."""
    text = text[:LONGEST]
    phase = None
    if (reply_to := _IN_REPLY.search(text)) is not None:
        phase = _PHASES.get(" ".join(reply_to[1].upper().split()))
        text = _IN_REPLY.sub(" ", text)
    if _CODE_FIRST.match(text) is None and (later := _CODE_LATER.search(text)) is not None:
        return text[: later.start(1)], text[later.start(1) :], phase
    return "", text, phase


def code_in(text: str) -> int | None:
    """The reply code that a text begins with; None: none."""
    match = _CODE_FIRST.match(text)
    return None if match is None else int(match[1])


def status_in(text: str, code: int | None = None) -> EnhancedStatus | None:
    """The enhanced status that a text bears; None: none.

    The first of the class of the code; else the first failure, since "2.1.5" beside a 550 is a version of
    something.
    """
    found = [EnhancedStatus(*map(int, match.groups())) for match in _STATUS.finditer(text)]
    digit = None if code is None else code // 100
    fitting = [status for status in found if status.class_ == digit]
    failures = [status for status in found if digit is None or status.class_ != _POSITIVE]
    return next(iter(fitting or failures), None)


def shipped_files() -> dict[str, str]:
    """The texts of the shipped rules by their names."""
    data = resources.files("mailer.policy") / "data"
    files = {_GENERAL: (data / _GENERAL).read_text(encoding="utf-8")}
    for file in sorted((data / "bounces").iterdir(), key=lambda file: file.name):
        if file.name.endswith(".toml"):
            files[f"bounces/{file.name}"] = file.read_text(encoding="utf-8")
    return files


@functools.cache
def shipped() -> Classifier:
    """The shipped rules alone."""
    return Classifier.parse(shipped_files())
