"""What answers say of a site and of a stream there, as a worker's book sorts them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from mailer.policy.automation import Action, Rule, Sign, sign_of
from mailer.policy.governor import Match, Observation
from mailer.policy.outcome import Broken, Outcome, Refused
from mailer.policy.pace import Slice
from mailer.policy.sites import SiteRules
from mailer.simulate.provider import Heard

_SITE_ACTIONS = frozenset({Action.SLOW, Action.FEWER, Action.SUSPEND})
_STREAM_ACTIONS = frozenset({Action.SLOW_STREAM, Action.HOLD_STREAM})


@dataclass(slots=True)
class Ear:
    """The rules on replies for one site."""

    rules: SiteRules
    site: str
    _fits: dict[Outcome, Rule | None] = field(default_factory=dict)

    def rule(self, outcome: Outcome) -> Rule | None:
        """Replies are few and repeat: each is looked up once."""
        if not isinstance(outcome, Refused):
            return None
        if outcome not in self._fits:
            owner = self.rules.provider_name(self.site)
            self._fits[outcome] = self.rules.automation.match(owner, outcome.reply, outcome.phase)
        return self._fits[outcome]

    def stops(self, outcome: Outcome) -> bool:
        """As the product's book does: what waits is not sent once a site was heard to refuse for rate."""
        rule = self.rule(outcome)
        return rule is not None and bool(rule.actions & {Action.SLOW, Action.SUSPEND})

    def sort(self, heard: Iterable[Heard]) -> tuple[Observation, list[Match]]:
        """What it means for the site, and for the stream."""
        accepted = answered = broken = 0
        matches: dict[str, Match] = {}
        of_stream: list[Match] = []
        words = ""
        for one in heard:
            rule = self.rule(one.outcome)
            if rule is not None and rule.actions & _STREAM_ACTIONS:
                of_stream.append(Match(rule=rule, count=one.count, words=_words(one.outcome)))
            if rule is not None and rule.actions & _SITE_ACTIONS:
                before = matches[rule.name].count if rule.name in matches else 0
                matches[rule.name] = Match(rule=rule, count=before + one.count, words=_words(one.outcome))
                continue
            match sign_of(one.outcome):
                case Sign.ACCEPTED:
                    accepted += one.count
                case Sign.ANSWERED:
                    answered += one.count
                case Sign.BROKEN:
                    broken, words = broken + one.count, _words(one.outcome)
                case _:
                    pass
        heard_all = Slice(accepted=accepted, answered=answered, broken=broken)
        return Observation(heard=heard_all, matches=tuple(matches.values()), words=words), of_stream


def _words(outcome: Outcome) -> str:
    match outcome:
        case Refused(reply, phase):
            return f"{reply.code} {reply.text} (to {phase})"
        case Broken(phase, cause):
            return f"{cause} (at {phase})"
        case _:
            return ""
