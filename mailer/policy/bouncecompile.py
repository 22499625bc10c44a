"""From rules as they stand in files to rules that can be asked: words numbered, all faults told at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mailer.policy.bounceclass import Action, Blame, BounceClass
from mailer.policy.bouncerules import BounceFile, BounceRuleError, Usual, Written
from mailer.policy.bouncewords import Expression, MalformedExpression, Part, Phrases, compile_expression
from mailer.protocol.enhanced import EnhancedStatus


@dataclass(frozen=True, slots=True)
class Judgement:
    """status: as given or found. rule, place, source: what decided, where it stands, where it was read."""

    bounce_class: BounceClass
    action: Action
    blame: Blame
    status: EnhancedStatus | None
    rule: str
    place: str
    source: str

    def as_facts(self) -> dict[str, str]:
        """As events tell of it; without a rule where none knew it."""
        facts: dict[str, str] = {"class": self.bounce_class, "action": self.action, "blame": self.blame}
        return {**facts, "rule": self.rule} if self.rule else facts


@dataclass(frozen=True, slots=True)
class Rule:
    """Compiled.

    group   the file of providers that it is for; None: for all
    barred  phrases that keep it from fitting; unless: expressions of several parts that do
    """

    written: Written
    group: str | None
    text: tuple[Expression, ...]
    barred: Part
    unless: tuple[Expression, ...]
    judgement: Judgement
    bears_4yz: bool  # its action was meant for replies of 4yz


class Compiler:
    """Makes rules of files, all faults told at once."""

    def __init__(self, files: Mapping[str, BounceFile], overlays: frozenset[str]) -> None:
        self._files = files
        self._overlays = overlays
        self.phrases = Phrases()
        self.groups: dict[str, str] = {}
        self.signs: dict[int, list[tuple[Expression, str]]] = {}
        self._words: dict[str, tuple[str, ...]] = {}
        self._usual: dict[BounceClass, Usual] = {}
        self._faults: list[str] = []
        for name, file in files.items():
            self._words |= file.words
            self._usual |= file.usual
            if file.names:
                self._take_signs(name, file)

    def _take_signs(self, name: str, file: BounceFile) -> None:
        group = file.names[0]
        self.groups |= dict.fromkeys(file.names, group)
        for sign in file.signs:
            for expression in self._expressions((sign,), name):
                for phrase in expression.rarest:
                    self.signs.setdefault(phrase, []).append((expression, group))

    def compiled(self) -> tuple[Rule, ...]:
        """Those of the operator first, then those of providers, then the others. Raises BounceRuleError."""
        replaced = {rule for name in self._overlays for rule in self._files[name].rules}
        tiers: tuple[list[Rule], list[Rule], list[Rule]] = ([], [], [])
        for name, file in self._files.items():
            is_own = name in self._overlays
            for written in file.rules.values():
                if written.bounce_class is not None and (is_own or written.name not in replaced):
                    rule = self._rule(written, file)
                    tiers[0 if is_own else 2 if rule.group is None else 1].append(rule)
        if self._faults:
            raise BounceRuleError(self._faults)
        return (*tiers[0], *tiers[1], *tiers[2])

    def _rule(self, written: Written, file: BounceFile) -> Rule:
        group = written.provider or (file.names[0] if file.names else None)
        if group is not None:
            group = self.groups.get(group, group)
        assert written.bounce_class is not None
        unless = self._expressions(written.unless, written.place)
        usual = self._usual.get(written.bounce_class, Usual(Action.RETRY, Blame.REMOTE))
        judgement = Judgement(
            written.bounce_class, written.action or usual.action, written.blame or usual.blame, None,
            written.name, written.place, written.source,
        )  # fmt: skip
        return Rule(
            written, group, self._expressions(written.text, written.place),
            frozenset(phrase for each in unless if each.is_single for phrase in each.rarest),
            tuple(each for each in unless if not each.is_single), judgement,
            bears_4yz=written.action is not None and bool(written.codes) and written.codes[0][0] == "4",
        )  # fmt: skip

    def _expressions(self, texts: Iterable[str], place: str) -> tuple[Expression, ...]:
        made = []
        for text in texts:
            try:
                made.append(compile_expression(text, self._words, self.phrases))
            except MalformedExpression as error:
                self._faults.append(f"{place}: {error}")
        return tuple(made)
