"""Rules for what refusals mean, as they stand in files: what may stand there, and what is wrong with it.

    [words]                             # lists that rules name by "@missing"
    missing = ["unknown", "does not exist", "not found"]

    [class.invalid-mailbox]             # what is done about a class, and whose fault it is, where a rule
    action = "fail"                     # does not say otherwise
    blame = "recipient"

    [rule.user-unknown]
    text = ["@recipient ... @missing"]  # one of these; "..." for up to 7 words, " + " for none, "greylist*"
                                        # for all its endings
    unless = ["spf"]                    # and none of these
    regex = '\\[TSS0[1-3]\\]'             # and this, asked only of lines that have the text or the status
    code = [550, 55, 5]                 # beginnings
    status = ["5.1.1", "x.1"]           # RFC 3463; x: any class
    phase = ["rcpt"]
    provider = "google"                 # one of sites.toml; none: all. A provider's rules come first
    class = "invalid-mailbox"
    action = "fail"
    blame = "recipient"
    source = "RFC 3463 §3.2"            # where it was read, or "assumed"

Of the rules that fit, the first one decides: those of the operator's files, then those of the provider, then
the general ones, in the order in which they stand in their file. One of the same name replaces a shipped one;
`class = ""` takes it away.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mailer.policy.bounceclass import Action, Blame, BounceClass
from mailer.protocol.phase import Phase

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,59}")
_CODE = re.compile(r"[245][0-9]{0,2}")
_STATUS = re.compile(r"([245x])\.(\d{1,3})(?:\.(\d{1,3}))?")
_SECTION = re.compile(r'\s*\[\s*(rule|class)\s*\.\s*"?([^"\].\s]+)"?\s*\]')
_CONDITIONS = ("text", "code", "status", "phase")
_KEYS = frozenset({"unless", "regex", "provider", "class", "action", "blame", "source", *_CONDITIONS})
_TOPS = frozenset({"words", "class", "rule", "provider"})

StatusForm = tuple[int | None, int, int | None]  # class (None: any), subject, detail (None: any)


class BounceRuleError(ValueError):
    """Rules that cannot be used. faults: one sentence each, with file and line."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(self.faults))


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A rule as it stands in a file. bounce_class: None: it takes a shipped one away."""

    name: str
    provider: str | None
    text: tuple[str, ...]
    unless: tuple[str, ...]
    regex: re.Pattern[str] | None
    codes: tuple[str, ...]
    statuses: tuple[StatusForm, ...]
    phases: frozenset[Phase]
    bounce_class: BounceClass | None
    action: Action | None
    blame: Blame | None
    source: str
    place: str


@dataclass(frozen=True, slots=True)
class Usual:
    """What follows from a class where no rule says otherwise."""

    action: Action
    blame: Blame


@dataclass(slots=True)
class BounceFile:
    """What a file says. names: of the providers whose file it is. signs: words by which they are known."""

    rules: dict[str, Written] = field(default_factory=dict)
    words: dict[str, tuple[str, ...]] = field(default_factory=dict)
    usual: dict[BounceClass, Usual] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    signs: tuple[str, ...] = ()


def read(file: str, text: str) -> BounceFile:
    """Raises BounceRuleError with all faults of the file."""
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:  # brackets within brackets, too deep
        raise BounceRuleError([f"{file}: {error}"]) from None
    lines = _lines_of_sections(text)
    found = BounceFile()
    faults = [
        f"{file}: there is no section {name!r}; there are [words], [class.NAME], [rule.NAME] and [provider]"
        for name in document.keys() - _TOPS
    ]
    faults += _take_words(found, document.get("words", {}), file)
    faults += _take_provider(found, document.get("provider", {}), file)
    for kind, take in (("class", _take_class), ("rule", _take_rule)):
        named = document.get(kind, {})
        if not isinstance(named, dict):
            faults.append(f"{file}: {kind} must be sections [{kind}.NAME]")
            continue
        for name, values in named.items():
            place = f"{file}:{lines.get((kind, name), 1)}"
            if isinstance(values, dict):
                faults += [f"{place}: {fault}" for fault in take(found, name, values, place)]
            else:
                faults.append(f"{place}: {kind}.{name} must be a section")
    if faults:
        raise BounceRuleError(faults)
    return found


def _lines_of_sections(text: str) -> dict[tuple[str, str], int]:
    found = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if match := _SECTION.match(line):
            found[match[1], match[2]] = number
    return found


def _take_words(found: BounceFile, lists: Any, file: str) -> list[str]:
    if not isinstance(lists, dict):
        return [f"{file}: words must be a section [words] of lists"]
    faults = [
        f"{file}: words.{name} must be a list of phrases" for name, v in lists.items() if not _is_texts(v)
    ]
    found.words = {name: tuple(values) for name, values in lists.items() if _is_texts(values)}
    return faults


def _take_provider(found: BounceFile, values: Any, file: str) -> list[str]:
    if not isinstance(values, dict) or not values.keys() <= {"names", "signs"}:
        return [f"{file}: [provider] has names and signs"]
    if not all(_is_texts(value) for value in values.values()):
        return [f"{file}: names and signs of [provider] must be lists of texts"]
    found.names, found.signs = tuple(values.get("names", ())), tuple(values.get("signs", ()))
    return []


def _take_class(found: BounceFile, name: str, values: Mapping[str, Any], _place: str) -> list[str]:
    faults = _wrong_words(f"class.{name}", {"class": name, **values})
    if values.keys() != {"action", "blame"}:
        faults.append(f"class.{name} needs action and blame, and nothing else")
    if not faults:
        found.usual[BounceClass(name)] = Usual(Action(values["action"]), Blame(values["blame"]))
    return faults


def _take_rule(found: BounceFile, name: str, values: Mapping[str, Any], place: str) -> list[str]:
    faults = [f"{key} is not known; there are {', '.join(sorted(_KEYS))}" for key in values.keys() - _KEYS]
    if not _NAME.fullmatch(name):
        faults.append(f"{name!r} must be a name of lower-case letters, digits and hyphens")
    if values.get("class") != "":
        faults += _faults_of_terms(name, values) + _faults_of_effect(name, values)
    if not faults:
        found.rules[name] = _written(name, values, place)
    return faults


def _faults_of_terms(name: str, values: Mapping[str, Any]) -> list[str]:
    faults = []
    if not any(values.get(key) for key in _CONDITIONS):
        faults.append(f"rule.{name} needs one of {', '.join(_CONDITIONS)}")
    faults += [
        f"{key} of rule.{name} must be a list of texts, not empty"
        for key in ("text", "unless")
        if key in values and not _is_texts(values[key])
    ]
    if "regex" in values:
        if not _is_pattern(values["regex"]):
            faults.append(f"regex of rule.{name} must be a regular expression")
        if not values.get("text") and not values.get("status"):
            faults.append(
                f"regex of rule.{name} needs text or status beside it, or it is asked of every line"
            )
    for key, form in (("code", _CODE), ("status", _STATUS)):
        listed = values.get(key, [])
        if not isinstance(listed, list) or not all(form.fullmatch(str(v)) for v in listed):
            faults.append(f"{key} of rule.{name} must be a list of such values or their beginnings")
    phases = values.get("phase", [])
    if not isinstance(phases, list) or not set(map(str, phases)) <= set(Phase):
        faults.append(f"phase of rule.{name} must be a list of: {', '.join(Phase)}")
    if "provider" in values and not isinstance(values["provider"], str):
        faults.append(f"provider of rule.{name} must be the name of a provider")
    return faults


def _faults_of_effect(name: str, values: Mapping[str, Any]) -> list[str]:
    faults = _wrong_words(f"rule.{name}", {"class": None, **values})
    if not isinstance(values.get("source"), str) or not values["source"].strip():
        faults.append(f'rule.{name} needs source: where it was read, or "assumed"')
    return faults


def _wrong_words(what: str, values: Mapping[str, Any]) -> list[str]:
    """Those of the keys class, action and blame that are no word for one."""
    return [
        f"{key} of {what} must be one of: {', '.join(words)}"
        for key, words in (("class", BounceClass), ("action", Action), ("blame", Blame))
        if key in values and values[key] not in set(words)
    ]


def _written(name: str, values: Mapping[str, Any], place: str) -> Written:
    regex = values.get("regex")
    return Written(
        name=name,
        provider=values.get("provider"),
        text=tuple(values.get("text", ())),
        unless=tuple(values.get("unless", ())),
        regex=None if regex is None else re.compile(regex, re.IGNORECASE),
        codes=tuple(str(code) for code in values.get("code", ())),
        statuses=tuple(_status_form(status) for status in values.get("status", ())),
        phases=frozenset(Phase(phase) for phase in values.get("phase", ())),
        bounce_class=BounceClass(values["class"]) if values.get("class") else None,
        action=Action(values["action"]) if "action" in values else None,
        blame=Blame(values["blame"]) if "blame" in values else None,
        source=values.get("source", ""),
        place=place,
    )


def _status_form(text: str) -> StatusForm:
    match = _STATUS.fullmatch(text)
    assert match is not None  # checked before
    class_ = None if match[1] == "x" else int(match[1])
    return class_, int(match[2]), None if match[3] is None else int(match[3])


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, str) and v.strip() for v in value)


def _is_pattern(value: Any) -> bool:
    if not isinstance(value, str) or not value:
        return False
    try:
        re.compile(value, re.IGNORECASE)
    except re.error:
        return False
    return True
