"""One file of rules for sites: what may stand in it, and what is wrong with it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mailer.policy import site_domains
from mailer.policy.automation import Rule, parse_rule
from mailer.policy.limits import WINDOWS, LimitError, Rate, read_rates
from mailer.policy.tls import RULES, Wish

ASSUMED = "assumed"
_LIMITS = ("connections", "messages_per_session")
_RATES = frozenset(f"messages_per_{word}" for word in WINDOWS)
_CONNECTS = "connections_per_minute"
_KEYS = frozenset({"mx", "one_site", "pool", "source", "tls", "together", _CONNECTS, *_LIMITS, *_RATES})
DEFAULT = "default"
_DEFAULT_KEYS = _KEYS - {"mx", "one_site", "pool", "tls", "together"}
_MOST = 10_000
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})+")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,59}")
# [provider.NAME] and [rule.NAME], or [default], which is a provider's but for its hosts
_SECTION = re.compile(r'\s*\[\s*(?:(provider|rule)\s*\.\s*)?"?([^"\].\s]+)"?\s*\]')


class SiteRuleError(ValueError):
    """Rules that cannot be used. faults: one sentence each, with file and line."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(self.faults))


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A provider's rule.

    mx        ends of host names, lower case
    connections, messages_per_session
              None: nothing is known, the operator's own limits hold
    rates     messages over time, from one of our addresses to one of its sites
    connects  new connections a minute, likewise
    together  messages over time, from all our addresses to all its sites
    one_site  the limits are for all its MX sets together
    tls       encrypted | required: what its hosts must prove; None: what the recipient's domain demands
    pool      name of the pool of egress IPs; None: the default one
    place     file and line of the rule
    """

    name: str
    mx: tuple[str, ...]
    connections: int | None = None
    messages_per_session: int | None = None
    rates: tuple[Rate, ...] = ()
    connects: Rate | None = None
    together: tuple[Rate, ...] = ()
    one_site: bool = True
    tls: str | None = None
    pool: str | None = None
    source: str
    place: str


@dataclass(frozen=True, slots=True)
class Wrong:
    """What is wrong with a rule, in one sentence. at: the keys that lead to it; empty: the rule's name."""

    at: tuple[str | int, ...]
    sentence: str


@dataclass(slots=True)
class SiteFile:
    """What a file says, by name; default among the providers."""

    providers: dict[str, Provider] = field(default_factory=dict)
    rules: dict[str, Rule] = field(default_factory=dict)
    wishes: dict[str, Wish] = field(default_factory=dict)


def read(file: str, text: str) -> SiteFile:
    """Raises SiteRuleError with all faults of the file."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SiteRuleError([f"{file}: {error}"]) from None
    lines = _lines_of_sections(text)
    found = SiteFile()
    found.wishes, faults = site_domains.read(file, document.pop("domain", {}))
    sections = [("provider", document.pop("provider", {})), ("rule", document.pop("rule", {}))]
    if DEFAULT in document:
        sections.append(("", {DEFAULT: document.pop(DEFAULT)}))
    faults += [
        f"{file}: there is no section {name!r}; rules stand in [provider.NAME], [rule.NAME], [domain.NAME]"
        " and [default]"
        for name in document
    ]
    for kind, named in sections:
        if not isinstance(named, dict):
            faults.append(f"{file}: {kind} must be sections [{kind}.NAME]")
            continue
        for name, values in named.items():
            place = f"{file}:{lines.get((kind, name), 1)}"
            take = _take_rule if kind == "rule" else _take_provider
            faults += [f"{place}: {fault}" for fault in take(found, name, values, place, kind)]
    if faults:
        raise SiteRuleError(faults)
    return found


def _take_provider(found: SiteFile, name: str, values: Any, place: str, kind: str) -> list[str]:
    if kind and name == DEFAULT:
        return [f"a provider cannot be called {DEFAULT!r}"]
    provider, wrong = parse_provider(name, values, place)
    if provider is not None:
        found.providers[name] = provider
    return [each.sentence for each in wrong]


def _take_rule(found: SiteFile, name: str, values: Any, place: str, kind: str) -> list[str]:
    rule, wrong = parse_rule(name, values, place)
    if rule is not None:
        found.rules[name] = rule
    return wrong


def parse_provider(name: str, values: Any, place: str) -> tuple[Provider | None, list[Wrong]]:
    """A section [provider.NAME] or [default]; without a provider, what is wrong with it."""
    wrong = _faults(name, values)
    return (None if wrong else _provider(name, place, values)), wrong


def _provider(name: str, place: str, values: Mapping[str, Any]) -> Provider:
    """A section without faults."""
    connects = values.get(_CONNECTS)
    return Provider(
        name=name,
        mx=tuple(end.lower().rstrip(".") for end in values.get("mx", ())),
        connections=values.get("connections"),
        messages_per_session=values.get("messages_per_session"),
        rates=read_rates(values),
        connects=None if connects is None else Rate(WINDOWS["minute"], connects),
        together=read_rates(values.get("together", {})),
        one_site=values.get("one_site", True),
        tls=values.get("tls"),
        pool=values.get("pool"),
        source=values["source"],
        place=place,
    )


def _lines_of_sections(text: str) -> dict[tuple[str, str], int]:
    """Where sections begin, by kind and name; tomllib does not tell."""
    found = ((number, _SECTION.match(line)) for number, line in enumerate(text.splitlines(), 1))
    return {(match[1] or "", match[2]): number for number, match in found if match}


def _faults(name: str, values: Any) -> list[Wrong]:
    if not isinstance(values, dict):
        return [Wrong((), f"{_label(name)} must be a section")]
    known = _DEFAULT_KEYS if name == DEFAULT else _KEYS
    faults = [
        Wrong((key,), f"{key} is not known; there are {', '.join(sorted(known))}")
        for key in sorted(values.keys() - known)
    ]
    if not _NAME.fullmatch(name):
        faults.append(Wrong((), f"{name!r} must be a name of lower-case letters, digits and hyphens"))
    if name != DEFAULT:
        faults += _faults_of_ends(_label(name), values.get("mx"))
    if not _is_sentence(values.get("source")):
        sentence = f'{_label(name)} needs source, in one line: where the rule was read, or "{ASSUMED}"'
        faults.append(Wrong(("source",), sentence))
    faults += [Wrong((key,), sentence) for key, sentence in _faults_of_words(values).items() if key in values]
    faults += [
        Wrong((key,), f"{key} must be a number from 1 to {_MOST}")
        for key in (*_LIMITS, _CONNECTS)
        if key in values and not _is_limit(values[key])
    ]
    return faults + _faults_of_rates(values)


def _faults_of_words(values: Mapping[str, Any]) -> dict[str, str]:
    """By key, also of keys that are not there."""
    pool = values.get("pool")
    faults = {}
    if not (isinstance(pool, str) and _NAME.fullmatch(pool)):
        faults["pool"] = "pool must be the name of a pool of egress IPs"
    if not isinstance(values.get("one_site"), bool):
        faults["one_site"] = "one_site must be true or false"
    if values.get("tls") not in RULES:
        faults["tls"] = f"tls must be {' or '.join(RULES)}"
    return faults


def _label(name: str) -> str:
    return name if name == DEFAULT else f"provider.{name}"


def _faults_of_ends(label: str, ends: Any) -> list[Wrong]:
    if not isinstance(ends, list):
        return [Wrong(("mx",), f"{label} needs mx, a list of ends of host names")]
    return [
        Wrong(("mx", place), f"{end!r} in mx must be a host name")
        for place, end in enumerate(ends)
        if not _is_host(end)
    ]


def _faults_of_rates(values: Mapping[str, Any]) -> list[Wrong]:
    together = values.get("together", {})
    if not isinstance(together, dict):
        return [Wrong(("together",), "together must be a section")]
    faults = [
        Wrong(("together", key), f"together.{key} is not known; there are {', '.join(sorted(_RATES))}")
        for key in sorted(together.keys() - _RATES)
    ]
    for way, rates in (((), values), (("together",), together)):
        for key in sorted(_RATES & rates.keys()):
            try:
                read_rates({key: rates[key]})
            except LimitError as error:
                faults.append(Wrong((*way, key), str(error)))
    return faults


def _is_host(value: Any) -> bool:
    return isinstance(value, str) and _HOST.fullmatch(value.lower().rstrip(".")) is not None


def _is_sentence(value: Any) -> bool:
    """One line: it is shown beside what the rule holds back."""
    return isinstance(value, str) and bool(value.strip()) and value.isprintable()


def _is_limit(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MOST
