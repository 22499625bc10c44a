"""What follows for a site, or for a tenant's stream at a site, from the words of a reply: rules as data.

    [rule.example-busy]
    provider = "example"                # of [provider.example]; without it the rule is for every site
    text = 'too (much|many)'            # a regular expression, looked for in the reply's text in any case
    code = [421, 45]                    # reply codes, or what they begin with
    status = ["4.7.28", "4.7"]          # enhanced statuses, or what they begin with
    phase = ["rcpt", "end-of-data"]
    class = ["reputation-block"]        # as the classifier has it (bounceclass.py)
    threshold = 3                       # from so many such replies on
    window = "10m"                      # within so long; s, m, h or d
    action = ["slow"]
    lasts = "2h"                        # of a suspension or a hold, the first time
    source = "https://postmaster.example.net/"    # or "assumed"

All conditions that a rule names must hold. The first rule that fits decides, those of the provider before
those for every site, each in the order of the files. An overlay's rule replaces the one of the same name;
with `action = []` it takes it away. Where none fits, slow-down and suspend as the classifier judged hold.

    slow               the site takes less: its rate is cut and found anew
    fewer-connections  half as many
    suspend            nothing more to the site from this IP, then one message asks
    slow-stream        less of this tenant's stream to the site
    hold-stream        nothing more of this tenant's stream to the site for a time
    retry              a 5yz is taken for temporary, since it speaks of us and not of the recipient
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from mailer.policy import bounceclass
from mailer.policy.bounceclass import BounceClass
from mailer.policy.classifier import Classifier, shipped
from mailer.policy.classify import status_of
from mailer.policy.outcome import Accepted, Broken, Outcome, Refused
from mailer.protocol.phase import Phase
from mailer.protocol.reply import Reply

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,59}")
_CODE = re.compile(r"[245][0-9]{0,2}")
_STATUS = re.compile(r"[45](?:\.[0-9]{1,3}){1,2}")
_SPAN = re.compile(r"([1-9][0-9]{0,4})([smhd])")
_UNIT = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_MOST = 10_000
_LONGEST = timedelta(days=7)
_REQUIRED = {"action", "source"}
_CONDITIONS = ("text", "code", "status", "phase", "class")
_KEYS = frozenset({"provider", "threshold", "window", "lasts", *_REQUIRED, *_CONDITIONS})


class Action(enum.StrEnum):
    """What a rule does."""

    SLOW = "slow"
    FEWER = "fewer-connections"
    SUSPEND = "suspend"
    SLOW_STREAM = "slow-stream"
    HOLD_STREAM = "hold-stream"
    RETRY = "retry"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """codes, statuses: beginnings, dots at the end so that "4.7" is not the beginning of "4.70".

    threshold, window  so many replies within that time; 1: at once
    lasts              of a suspension or hold, the first time
    place              file and line
    """

    name: str
    provider: str | None
    text: re.Pattern[str] | None
    codes: tuple[str, ...]
    statuses: tuple[str, ...]
    phases: frozenset[Phase]
    classes: frozenset[BounceClass] = frozenset()
    threshold: int
    window: timedelta
    actions: frozenset[Action]
    lasts: timedelta
    source: str
    place: str

    def fits(self, reply: Reply, phase: Phase, meant: BounceClass) -> bool:
        """meant: what the classifier makes of the reply."""
        if (self.phases and phase not in self.phases) or (self.classes and meant not in self.classes):
            return False
        if self.codes and not str(reply.code).startswith(self.codes):
            return False
        if self.statuses and not f"{status_of(reply, phase)}.".startswith(self.statuses):
            return False
        return self.text is None or self.text.search(reply.text) is not None


def _judged(name: str, action: Action, *, threshold: int = 1) -> Rule:
    return Rule(
        name=name, provider=None, text=None, codes=(), statuses=(), phases=frozenset(), threshold=threshold,
        window=timedelta(hours=1), actions=frozenset({action}), lasts=timedelta(hours=1),
        source="the classifier's rules", place="bounces.toml",
    )  # fmt: skip


# What the classifier asks for where no rule says more. One line does not shut a site: the words may be about
# one message.
_JUDGED = {
    bounceclass.Action.SLOW_DOWN: _judged("judged-slow-down", Action.SLOW),
    bounceclass.Action.SUSPEND: _judged("judged-suspend", Action.SUSPEND, threshold=3),
}


class Automation:
    """The rules in force. Immutable, safe from any thread."""

    def __init__(self, rules: Iterable[Rule] = (), classifier: Classifier | None = None) -> None:
        """classifier: what refusals mean; None: by the shipped rules."""
        self._classifier = classifier
        self.rules = tuple(rule for rule in rules if rule.actions)
        self._by_name = {rule.name: rule for rule in (*_JUDGED.values(), *self.rules)}
        general = [rule for rule in self.rules if rule.provider is None]
        of_providers = {rule.provider for rule in self.rules if rule.provider is not None}
        self._of = {
            name: tuple([rule for rule in self.rules if rule.provider == name] + general)
            for name in of_providers
        }
        self._general = tuple(general)

    @property
    def classifier(self) -> Classifier:
        """What refusals mean."""
        return self._classifier or shipped()

    def of(self, provider: str | None) -> Sequence[Rule]:
        """The rules for a provider's sites, in the order in which they are asked."""
        return self._general if provider is None else self._of.get(provider, self._general)

    def named(self, name: str) -> Rule | None:
        return self._by_name.get(name)

    def match(self, provider: str | None, reply: Reply, phase: Phase) -> Rule | None:
        """The first rule that fits a refusal, else what the classifier judged."""
        judged = self.classifier.of_reply(reply, phase, provider)
        fitting = (rule for rule in self.of(provider) if rule.fits(reply, phase, judged.bounce_class))
        return next(fitting, _JUDGED.get(judged.action))


class Sign(enum.StrEnum):
    """What an outcome that no rule fits says of its site."""

    ACCEPTED = "accepted"
    ANSWERED = "answered"  # it is alive, whatever it said of this recipient
    BROKEN = "broken"  # nobody is there, or nobody who serves
    NOTHING = "nothing"


# Before MAIL a host speaks of itself or of us. A wrong password (AUTH) does not become right by waiting.
_AT_THE_DOOR = frozenset({Phase.CONNECT, Phase.GREETING, Phase.EHLO, Phase.STARTTLS})
_CLOSING = 421  # RFC 5321 §3.8: the service closes the channel


def sign_of(outcome: Outcome) -> Sign:
    match outcome:
        case Accepted():
            return Sign.ACCEPTED
        case Refused(reply, phase):
            turned_away = phase in _AT_THE_DOOR or reply.code == _CLOSING
            return Sign.BROKEN if turned_away else Sign.ANSWERED
        case Broken(phase, _):
            # Lost in the middle of a transaction it may be about this message: a filter that hangs up.
            return Sign.BROKEN if phase in _AT_THE_DOOR or phase is Phase.MAIL else Sign.ANSWERED
        case _:
            return Sign.NOTHING


# ---- parsing -------------------------------------------------------------------------------------------


def parse_rule(name: str, values: Any, place: str) -> tuple[Rule | None, list[str]]:
    """A section [rule.NAME] of a rules' file; without a rule, what is wrong with it, one sentence each."""
    if not isinstance(values, dict):
        return None, [f"rule.{name} must be a section"]
    faults = [f"{key} is not known; there are {', '.join(sorted(_KEYS))}" for key in values.keys() - _KEYS]
    if not _NAME.fullmatch(name):
        faults.append(f"{name!r} must be a name of lower-case letters, digits and hyphens")
    faults += _faults_of_terms(name, values) + _faults_of_effect(name, values)
    if faults:
        return None, faults
    return _rule(name, values, place), []


def _faults_of_terms(name: str, values: Mapping[str, Any]) -> list[str]:
    faults = []
    actions = values.get("action")
    if actions != [] and not any(key in values for key in _CONDITIONS):
        faults.append(f"rule.{name} needs one of {', '.join(_CONDITIONS)}")
    if "text" in values and not _is_pattern(values["text"]):
        faults.append(f"text of rule.{name} must be a regular expression")
    for key, form in (("code", _CODE), ("status", _STATUS)):
        found = values.get(key, [])
        if not isinstance(found, list) or not all(form.fullmatch(str(v)) for v in found):
            faults.append(f"{key} of rule.{name} must be a list of such values or their beginnings")
    classes = values.get("class", [])
    if not isinstance(classes, list) or not set(map(str, classes)) <= set(BounceClass):
        faults.append(f"class of rule.{name} must be a list of: {', '.join(BounceClass)}")
    phases = values.get("phase", [])
    if not isinstance(phases, list) or not set(map(str, phases)) <= set(Phase):
        faults.append(f"phase of rule.{name} must be a list of: {', '.join(Phase)}")
    if "provider" in values and not isinstance(values["provider"], str):
        faults.append(f"provider of rule.{name} must be the name of a [provider.NAME]")
    return faults


def _faults_of_effect(name: str, values: Mapping[str, Any]) -> list[str]:
    faults = []
    actions = values.get("action")
    if not isinstance(actions, list) or not set(map(str, actions)) <= set(Action):
        faults.append(f"rule.{name} needs action, a list of: {', '.join(Action)}")
    threshold = values.get("threshold", 1)
    if not isinstance(threshold, int) or isinstance(threshold, bool) or not 1 <= threshold <= _MOST:
        faults.append(f"threshold of rule.{name} must be a number from 1 to {_MOST}")
    for key in ("window", "lasts"):
        if key in values and _span(values[key]) is None:
            faults.append(f'{key} of rule.{name} must be a time such as "10m", at most 7 days')
    if not isinstance(values.get("source"), str) or not values["source"].strip():
        faults.append(f'rule.{name} needs source: where it was read, or "assumed"')
    return faults


def _rule(name: str, values: Mapping[str, Any], place: str) -> Rule:
    text = values.get("text")
    return Rule(
        name=name,
        provider=values.get("provider"),
        text=None if text is None else re.compile(text, re.IGNORECASE),
        codes=tuple(str(code) for code in values.get("code", [])),
        statuses=tuple(f"{status}." for status in values.get("status", [])),
        phases=frozenset(Phase(phase) for phase in values.get("phase", [])),
        classes=frozenset(BounceClass(word) for word in values.get("class", [])),
        threshold=values.get("threshold", 1),
        window=_span(values.get("window", "10m")) or timedelta(0),
        actions=frozenset(Action(action) for action in values["action"]),
        lasts=_span(values.get("lasts", "1h")) or timedelta(0),
        source=values["source"],
        place=place,
    )


def _is_pattern(value: Any) -> bool:
    if not isinstance(value, str) or not value:
        return False
    try:
        re.compile(value, re.IGNORECASE)
    except re.error:
        return False
    return True


def _span(value: Any) -> timedelta | None:
    match = _SPAN.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    span = timedelta(seconds=int(match[1]) * _UNIT[match[2]])
    return span if span <= _LONGEST else None
