"""What providers do and when, as a user writes it.

[traffic]
messages_per_day = 50000            # over all providers by their weights; 0: as many as they take
connections = 10                    # most at a time to each
transaction = "200ms"               # one mail transaction
seeds differ in their draws only

[provider.big]
weight = 60
mx = "mx.big.example"               # what our rules know the provider by; else it is a stranger's site
domains = ["big.example"]           # for the real sink: recipients' domains
tls = "offered"                     # none | offered | broken (the handshake fails); for the real sink

[[provider.big.does]]
kind = "rate"                       # or refuse, greylist, reputation, standing, connections, tarpit, dead
limit = 2000
per = "1h"
window = "sliding"                  # or "fixed": by the clock
counts_refused = false
phase = "mail"
reply = "421 4.7.28 Too fast, slow down"
begin = "6h"                        # holds from then
end = "12h"                         # until then
on = "30m"                          # by turns
off = "30m"
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from mailer.protocol.enhanced import EnhancedStatus
from mailer.protocol.phase import Phase
from mailer.protocol.reply import Reply
from mailer.simulate.behaviour import (
    Behaviour,
    Connections,
    Greylist,
    Hours,
    Rate,
    Refusal,
    Reputation,
    Silence,
    Tarpit,
)
from mailer.simulate.standing import Standing

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")
_SPAN = re.compile(r"([0-9]{1,6})(ms|s|m|h|d)")
_UNIT = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_REPLY = re.compile(r"([45][0-9]{2}) (.+)", re.ASCII)
_PHASES = (Phase.GREETING, Phase.MAIL, Phase.RCPT, Phase.END_OF_DATA)
_TLS = ("none", "offered", "broken")
_COMMON = {"kind", "begin", "end", "on", "off"}
_TAKES = {
    "rate": {"limit", "per", "window", "counts_refused", "phase", "reply"},
    "refuse": {"share", "phase", "reply", "is_limit"},
    "greylist": {"seconds", "reply"},
    "reputation": {"messages", "per", "lasts", "phase", "reply"},
    "standing": {"free", "growth", "unknown", "complaints", "lasts", "shift", "phase", "reply"},
    "connections": {"limit", "reply"},
    "tarpit": {"seconds", "phase"},
    "dead": {"share"},
}
_REPLIES = {
    "rate": "421 4.7.28 Rate limit exceeded, slow down",
    "refuse": "550 5.1.1 No such user",
    "greylist": "451 4.7.1 Greylisted, try again later",
    "reputation": "421 4.7.0 Temporarily deferred due to unexpected volume",
    "standing": "421 4.7.28 Unusual rate of unsolicited mail originating from your IP address",
    "connections": "421 4.7.0 Too many connections",
}


class ScriptError(ValueError):
    """A script that cannot be used. faults: one sentence each."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(self.faults))


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """messages_per_day 0: there is always more mail than providers take."""

    messages_per_day: float = 0.0
    connections: int = 10
    transaction_seconds: float = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One provider of a script. does: sections as written, checked."""

    name: str
    weight: float
    mx: str
    domains: tuple[str, ...]
    tls: str
    does: tuple[Mapping[str, Any], ...]

    def behaviours(self) -> list[Behaviour]:
        """New ones, which have seen nobody yet."""
        return [_behaviour(section) for section in self.does]


@dataclass(frozen=True, slots=True)
class Script:
    """A world to simulate."""

    name: str
    parts: tuple[Part, ...]
    traffic: Traffic = field(default_factory=Traffic)


def shipped() -> list[str]:
    """Names of the scripts that come with the product."""
    folder = resources.files("mailer.simulate").joinpath("data")
    return sorted(file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml"))


def load(name_or_path: str) -> Script:
    """A shipped script by name, else a file. Raises ScriptError."""
    if name_or_path in shipped():
        text = resources.files("mailer.simulate").joinpath(f"data/{name_or_path}.toml").read_text("utf-8")
        return parse(name_or_path, text)
    path = Path(name_or_path)
    try:
        return parse(path.stem, path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        known = ", ".join(shipped())
        raise ScriptError([f"{name_or_path} cannot be read ({error}); shipped are: {known}"]) from None


def parse(name: str, text: str) -> Script:
    """Raises ScriptError, naming every fault."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScriptError([f"{name}: {error}"]) from None
    faults = [f"{name}: there is no section {key!r}" for key in document.keys() - {"traffic", "provider"}]
    providers = document.get("provider")
    if not isinstance(providers, dict) or not providers:
        raise ScriptError([*faults, f"{name}: a script needs sections [provider.NAME]"])
    parts = []
    for key, values in providers.items():
        part, wrong = _part(key, values)
        faults += [f"{name}: provider.{key}: {fault}" for fault in wrong]
        parts += [part] if part is not None else []
    traffic, wrong = _traffic(document.get("traffic", {}))
    faults += [f"{name}: traffic: {fault}" for fault in wrong]
    if faults:
        raise ScriptError(faults)
    return Script(name, tuple(parts), traffic)


def seconds_of(value: Any) -> float | None:
    """Seconds of "200ms", "30s", "10m", "2h" or "1d"; None: it is none of them."""
    match = _SPAN.fullmatch(value) if isinstance(value, str) else None
    return None if match is None else int(match[1]) * _UNIT[match[2]]


def _traffic(values: Any) -> tuple[Traffic, list[str]]:
    if not isinstance(values, dict):
        return Traffic(), ["must be a section"]
    known = {"messages_per_day", "connections", "transaction"}
    faults = [f"{key} is not known" for key in values.keys() - known]
    transaction = seconds_of(values.get("transaction", "200ms"))
    volume, connections = values.get("messages_per_day", 0), values.get("connections", 10)
    if not _is_number(volume) or volume < 0:
        faults.append("messages_per_day must be a number, 0 for as many as are taken")
    if not _is_count(connections):
        faults.append("connections must be a whole number from 1")
    if not transaction:
        faults.append('transaction must be a time such as "200ms"')
    if faults or transaction is None:
        return Traffic(), faults
    return Traffic(
        messages_per_day=float(volume), connections=connections, transaction_seconds=transaction
    ), []


def _part(name: str, values: Any) -> tuple[Part | None, list[str]]:
    if not isinstance(values, dict):
        return None, ["must be a section"]
    faults = [f"{key} is not known" for key in values.keys() - {"weight", "mx", "domains", "tls", "does"}]
    if not _NAME.fullmatch(name):
        faults.append("its name must be lower-case letters, digits and hyphens")
    does = values.get("does", [])
    if not isinstance(does, list):
        return None, [*faults, "does must be sections [[provider.NAME.does]]"]
    for number, section in enumerate(does, 1):
        faults += [f"does {number}: {fault}" for fault in _faults(section)]
    domains = values.get("domains", [f"{name}.test"])
    if not isinstance(domains, list) or not all(isinstance(domain, str) for domain in domains):
        faults.append("domains must be a list of names")
    if values.get("tls", "offered") not in _TLS:
        faults.append(f"tls must be one of {', '.join(_TLS)}")
    if not _is_number(values.get("weight", 1)) or values.get("weight", 1) <= 0:
        faults.append("weight must be a number above 0")
    if not isinstance(values.get("mx", ""), str):
        faults.append("mx must be the name of a host")
    if faults:
        return None, faults
    part = Part(
        name=name,
        weight=float(values.get("weight", 1)),
        mx=values.get("mx", f"mx.{name}.test"),
        domains=tuple(domains),
        tls=values.get("tls", "offered"),
        does=tuple(does),
    )
    return part, []


def _faults(section: Any) -> list[str]:
    """What is wrong with one behaviour."""
    kind = section.get("kind") if isinstance(section, dict) else None
    if kind not in _TAKES:
        return [f"needs kind, one of {', '.join(_TAKES)}"]
    faults = [f"{key} is not known for {kind}" for key in section.keys() - _COMMON - _TAKES[kind]]
    for key in ("begin", "end", "on", "off", "per", "seconds", "lasts", "shift"):
        if key in section and seconds_of(section[key]) is None:
            faults.append(f'{key} must be a time such as "10m"')
    needed = {"rate": ("limit", "per"), "connections": ("limit",), "reputation": ("messages", "per", "lasts")}
    needed |= {"greylist": ("seconds",), "tarpit": ("seconds",), "standing": ("free", "growth", "lasts")}
    faults += [f"{kind} needs {key}" for key in needed.get(kind, ()) if key not in section]
    faults += [
        f"{key} must be a whole number from 1"
        for key in ("limit", "messages", "free")
        if key in section and not _is_count(section[key])
    ]
    faults += [
        f"{key} must be above 0, and 1 at most"
        for key in ("share", "unknown", "complaints")
        if key in section and not (_is_number(section[key]) and 0 < section[key] <= 1)
    ]
    if "growth" in section and not (_is_number(section["growth"]) and section["growth"] >= 1):
        faults.append("growth must be a number from 1")
    if section.get("phase", "rcpt") not in _PHASES:
        faults.append(f"phase must be one of {', '.join(_PHASES)}")
    if section.get("window", "sliding") not in ("sliding", "fixed"):
        faults.append("window must be sliding or fixed")
    if "reply" in section and _reply(section["reply"]) is None:
        faults.append("reply must be a line such as 421 4.7.0 Slow down, its status of the code's class")
    return faults


def _behaviour(section: Mapping[str, Any]) -> Behaviour:
    kind = section["kind"]
    span = {key: seconds_of(section.get(key)) or 0.0 for key in ("begin", "end", "on", "off")}
    hours = Hours(**span)
    reply = _reply(section.get("reply", _REPLIES.get(kind, "450 4.0.0 later"))) or Reply(450, ("later",))
    phase = Phase(section.get("phase", Phase.RCPT if kind == "refuse" else Phase.MAIL))
    per = seconds_of(section.get("per")) or 0.0
    match kind:
        case "rate":
            return Rate(
                limit=section["limit"],
                seconds=per,
                phase=phase,
                reply=reply,
                hours=hours,
                is_fixed=section.get("window") == "fixed",
                counts_refused=bool(section.get("counts_refused", False)),
            )
        case "greylist":
            return Greylist(seconds=seconds_of(section["seconds"]) or 0.0, reply=reply, hours=hours)
        case "reputation":
            lasts = seconds_of(section["lasts"]) or 0.0
            messages = section["messages"]
            return Reputation(
                messages=messages, seconds=per, lasts=lasts, phase=phase, reply=reply, hours=hours
            )
        case "standing":
            return _standing(section, hours, phase, reply)
        case "connections":
            return Connections(limit=section["limit"], reply=reply, hours=hours)
        case "tarpit":
            return Tarpit(seconds=seconds_of(section["seconds"]) or 0.0, phase=phase, hours=hours)
        case "dead":
            share = float(section.get("share", 1))
            return Refusal(phase=Phase.GREETING, answer_=Silence(), hours=hours, share=share)
        case _:
            share = float(section.get("share", 1))
            is_limit = bool(section.get("is_limit", False))
            return Refusal(phase=phase, answer_=reply, hours=hours, share=share, is_limit=is_limit)


def _standing(section: Mapping[str, Any], hours: Hours, phase: Phase, reply: Reply) -> Standing:
    return Standing(
        free=section["free"],
        growth=float(section["growth"]),
        unknown=float(section.get("unknown", 1)),
        complaints=float(section.get("complaints", 1)),
        lasts=seconds_of(section["lasts"]) or 0.0,
        shift=seconds_of(section.get("shift")) or 0.0,
        phase=phase,
        reply=reply,
        hours=hours,
    )


def _reply(line: Any) -> Reply | None:
    match = _REPLY.fullmatch(line) if isinstance(line, str) else None
    if match is None:
        return None
    found = EnhancedStatus.find(match[2], int(match[1]))
    return None if found is None else Reply(int(match[1]), (match[2],))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
