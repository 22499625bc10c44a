"""What a sending domain must publish, as values."""

from __future__ import annotations

import enum
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_NAME = re.compile(
    r"(?=.{1,253}\Z)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII
)
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}", re.ASCII)
_POLICIES = ("none", "quarantine", "reject")


class TemplateError(ValueError):
    """A fact that cannot stand in the DNS; the text is a sentence for the caller."""


class Purpose(enum.StrEnum):
    """What a record is for; mail is not well sent until one of each is published, but for the last."""

    DKIM = "dkim"
    RETURN_PATH = "return-path"
    DMARC = "dmarc"
    TLS_REPORTS = "tls-reports"


@dataclass(frozen=True, slots=True)
class DkimKey:
    """selector: as in s=. key_type: `rsa` or `ed25519`. public_key: base64, as in p= (RFC 6376 §3.6.1)."""

    selector: str
    key_type: str
    public_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainFacts:
    """All names are A-labels in any case, without a trailing dot.

    domain              the sending domain
    keys                those that sign, and those retired whose mail may still be on its way
    return_path_domain  host part of our reverse-paths, below `domain` for SPF to be aligned
    return_path_mx      host that takes the bounces; has address records
    spf_include         domain whose SPF record lists the sending hosts; None: return_path_mx is the only one
    dmarc_policy        none | quarantine | reject
    dmarc_reports_to    mailbox for aggregate reports; None: none are asked for
    dmarc_failures_to   mailbox for reports on single messages; None: none are asked for
    tls_reports_to      mailbox for reports on TLS with `return_path_mx`; None: none are asked for
    """

    domain: str
    keys: tuple[DkimKey, ...]
    return_path_domain: str
    return_path_mx: str
    spf_include: str | None = None
    dmarc_policy: str = "none"
    dmarc_reports_to: str | None = None
    dmarc_failures_to: str | None = None
    tls_reports_to: str | None = None
    ttl_seconds: int = 3600

    def __post_init__(self) -> None:
        names = [self.domain, self.return_path_domain, self.return_path_mx, self.spf_include]
        names += [f"{key.selector}._domainkey.{self.domain}" for key in self.keys]
        for name in filter(None, names):
            if not _NAME.fullmatch(name.lower()):
                raise TemplateError(f"{name!r} is not a domain name in A-labels")
        if not self.return_path_domain.lower().endswith(f".{self.domain.lower()}"):
            raise TemplateError(f"the return path {self.return_path_domain} does not lie below {self.domain}")
        for key in self.keys:
            if key.key_type not in {"rsa", "ed25519"} or not _BASE64.fullmatch(key.public_key):
                raise TemplateError(f"the key {key.selector!r} is no RSA or Ed25519 key in base64")
        if self.dmarc_policy not in _POLICIES:
            raise TemplateError(f"a DMARC policy is one of {', '.join(_POLICIES)}, not {self.dmarc_policy!r}")
        if self.ttl_seconds < 0:
            raise TemplateError("a TTL is not negative")


@dataclass(frozen=True, slots=True)
class Record:
    """name: complete, lower case, no trailing dot. value: of an MX `10 host.`; of a TXT the whole text, not
    quoted and not cut. zone: the domain that it belongs to. why: one or two sentences for people.
    """

    purpose: Purpose
    name: str
    type: str
    value: str
    ttl_seconds: int
    zone: str
    why: str


def records(facts: DomainFacts) -> tuple[Record, ...]:
    """All records for `facts`, in the order of sending.toml."""
    return tuple(_filled(facts))


@cache
def _templates() -> tuple[Mapping[str, Any], ...]:
    text = (Path(__file__).parent / "sending.toml").read_text(encoding="utf-8")
    return tuple(tomllib.loads(text)["record"])


def _filled(facts: DomainFacts) -> Iterator[Record]:
    values = _values(facts)
    for template in _templates():
        if not values.get(template.get("needs", "domain")):
            continue
        for own in _each(template, facts):
            yield _record(template, facts, values | own)


def _values(facts: DomainFacts) -> dict[str, str]:
    dmarc_reports = _uri("rua", facts.dmarc_reports_to) + _uri("ruf", facts.dmarc_failures_to)
    return {
        "domain": facts.domain.lower(),
        "return_path_domain": facts.return_path_domain.lower(),
        "return_path_mx": facts.return_path_mx.lower(),
        "spf_include": (facts.spf_include or "").lower(),
        "spf_by_mx": "" if facts.spf_include else "yes",
        "dmarc_policy": facts.dmarc_policy,
        "dmarc_reports": dmarc_reports,
        "tls_reports": _uri("rua", facts.tls_reports_to),
    }


def _uri(tag: str, mailbox: str | None) -> str:
    """The end of a record that asks for reports; RFC 7489 §6.2: comma and exclamation mark end a URI, as the
    semicolon ends the tag (RFC 8460 §3)."""
    if not mailbox:
        return ""
    written = mailbox.replace(",", "%2C").replace("!", "%21").replace(";", "%3B")
    return f"; {tag}=mailto:{written}"


def _each(template: Mapping[str, Any], facts: DomainFacts) -> list[dict[str, str]]:
    """One filling for each key, or a single one for a record that is there once."""
    if template.get("each") != "dkim_key":
        return [{}]
    return [
        {"selector": key.selector.lower(), "key_type": key.key_type, "public_key": key.public_key}
        for key in facts.keys
    ]


def _record(template: Mapping[str, Any], facts: DomainFacts, values: Mapping[str, str]) -> Record:
    return Record(
        purpose=Purpose(template["purpose"]),
        name=template["name"].format_map(values),
        type=template["type"],
        value=template["value"].format_map(values),
        ttl_seconds=facts.ttl_seconds,
        zone=values["domain"],
        why=template["why"].format_map(values),
    )
