"""Rules for recipient domains, wherever their mail goes; they stand beside those for providers.

[domain."bank.example"]             # only itself; ".bank.example": every name below it
tls = "required"                    # or "encrypted" (mailer/policy/tls.py)
source = "agreement of 2026-03-01"  # or "assumed"
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mailer.policy.tls import RULES, Wish

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"\.?{_LABEL}(?:\.{_LABEL})*")
_KEYS = frozenset({"tls", "source"})


class DomainRules:
    """What is wanted of TLS, by recipient domain. Immutable."""

    def __init__(self, wishes: Mapping[str, Wish] | None = None) -> None:
        self._wishes = dict(wishes or {})

    def tls_of(self, domain: str) -> Wish:
        """Of a domain (A-label, lower case): its own rule, else that of the longest parent."""
        if not self._wishes:
            return Wish.NONE
        if domain in self._wishes:
            return self._wishes[domain]
        rest = domain
        while "." in rest:
            rest = rest.partition(".")[2]
            if f".{rest}" in self._wishes:
                return self._wishes[f".{rest}"]
        return Wish.NONE


def read(file: str, sections: Any) -> tuple[dict[str, Wish], list[str]]:
    """Wishes by domain, and what is wrong with the sections, one sentence each."""
    if not isinstance(sections, dict):
        return {}, [f'{file}: domain must be sections [domain."NAME"]']
    wishes: dict[str, Wish] = {}
    faults: list[str] = []
    for name, values in sections.items():
        wrong = _faults(name, values)
        faults += [f"{file}: {fault}" for fault in wrong]
        if not wrong:
            wishes[name.lower().rstrip(".")] = Wish(values["tls"])
    return wishes, faults


def _faults(name: str, values: Any) -> list[str]:
    if not isinstance(values, dict):
        return [f"domain.{name} must be a section"]
    faults = [f"domain.{name}: {key} is not known; there are source, tls" for key in values.keys() - _KEYS]
    if not _NAME.fullmatch(name.lower().rstrip(".")):
        faults.append(f"{name!r} must be a domain, or .domain for all below it")
    if values.get("tls") not in RULES:
        faults.append(f"domain.{name} needs tls, which is {' or '.join(RULES)}")
    source = values.get("source")
    if not isinstance(source, str) or not source.strip():
        faults.append(f'domain.{name} needs source: where the rule was read, or "assumed"')
    return faults
