"""MTA-STS: what a domain's policy says and which MX hosts it names (RFC 8461 §3). Pure.

_mta-sts.example.org.  TXT  "v=STSv1; id=20261124T1200;"
https://mta-sts.example.org/.well-known/mta-sts.txt
    version: STSv1
    mode: enforce
    mx: mx1.example.org
    mx: *.mail.example.net
    max_age: 604800
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass

LONGEST_AGE = 31_557_600  # seconds, a year (RFC 8461 §3.2)
MOST_OCTETS = 64 * 1024  # of a policy (RFC 8461 §3.3 suggests this bound)

_VERSION = "v=STSv1"
_ID = re.compile(r"[A-Za-z0-9]{1,32}")
_RECORD_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
_RECORD_VALUE = re.compile(r"[!-:<>-~]+")  # no "=", no ";", no space (RFC 8461 §3.1)
_POLICY_NAME = _RECORD_NAME
_POLICY_VALUE = re.compile("[!-~\x80-\U0010ffff]+(?: +[!-~\x80-\U0010ffff]+)*")
_AGE = re.compile(r"[0-9]{1,10}")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_MX = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")


class StsError(ValueError):
    """Not a policy, or not a record; the text says what is wrong with it."""


class StsMode(enum.StrEnum):
    """RFC 8461 §5."""

    ENFORCE = "enforce"  # no delivery to a host that fails
    TESTING = "testing"  # failures are reported, and the mail is delivered
    NONE = "none"  # the domain has no policy any more


@dataclass(frozen=True, slots=True, kw_only=True)
class StsPolicy:
    """mx: host names and "*." patterns in lower case; empty only where mode is none.

    max_age  seconds that it holds from its fetch on
    lines    its text without line ends, as reports quote it (RFC 8460 §4.4)
    """

    mode: StsMode
    mx: tuple[str, ...]
    max_age: int
    lines: tuple[str, ...] = ()

    def names(self, host: str) -> bool:
        """Whether an MX host may take the domain's mail; "*." stands for one label (RFC 8461 §4.1)."""
        name = host.lower().rstrip(".")
        parent = name.partition(".")[2]
        return name in self.mx or (bool(parent) and f"*.{parent}" in self.mx)


def record_id(texts: Sequence[str]) -> str | None:
    """The policy's id by the TXT records of _mta-sts, each with its strings joined; None: no policy.

    Records of other versions do not count; two that do make none (RFC 8461 §3.1).
    """
    ours = [text for text in texts if re.match(rf"{_VERSION}[ \t]*(?:;|$)", text)]
    if len(ours) != 1:
        return None
    try:
        return parse_record(ours[0])
    except StsError:
        return None


def parse_record(text: str) -> str:
    """The id that a TXT record gives. Raises StsError."""
    version, *fields = (part.strip(" \t") for part in text.split(";"))
    if version != _VERSION:
        raise StsError("not an STSv1 record")
    if fields and not fields[-1]:
        fields.pop()  # a delimiter may end it
    found: str | None = None
    for field in fields:
        name, _, value = field.partition("=")
        if name == "id":
            if not _ID.fullmatch(value):
                raise StsError("id must be 1 to 32 letters and digits")
            found = value if found is None else found
        elif not (_RECORD_NAME.fullmatch(name) and _RECORD_VALUE.fullmatch(value)):
            raise StsError(f"{field[:40]!r} is no field")
    if found is None:
        raise StsError("no id")
    return found


def parse_policy(text: str) -> StsPolicy:
    """The policy in the text of mta-sts.txt, whose lines end in LF or CRLF. Raises StsError.

    Of a field that stands there twice the first one holds, but for mx (RFC 8461 §3.2).
    """
    lines = [line.removesuffix("\r").rstrip(" \t") for line in text.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    said: dict[str, str] = {}
    hosts: list[str] = []
    for line in lines:
        name, colon, value = line.partition(":")
        value = value.lstrip(" \t")
        if not colon or not _POLICY_NAME.fullmatch(name) or not _POLICY_VALUE.fullmatch(value):
            raise StsError(f"{line[:60]!r} is no field")
        if name == "mx":
            hosts.append(_host(value))
        else:
            said.setdefault(name, value)
    if said.get("version") != "STSv1":
        raise StsError("version is not STSv1")
    mode = _mode(said.get("mode"))
    if not hosts and mode is not StsMode.NONE:
        raise StsError(f"no mx, which mode {mode} needs")
    return StsPolicy(mode=mode, mx=tuple(hosts), max_age=_age(said.get("max_age")), lines=tuple(lines))


def _mode(value: str | None) -> StsMode:
    try:
        return StsMode(value or "")
    except ValueError:
        raise StsError("mode is not enforce, testing or none") from None


def _age(value: str | None) -> int:
    if value is None or not _AGE.fullmatch(value) or int(value) > LONGEST_AGE:
        raise StsError(f"max_age is not a number of seconds up to {LONGEST_AGE}")
    return int(value)


def _host(value: str) -> str:
    if not _MX.fullmatch(value) or len(value) > 255:
        raise StsError(f"mx {value[:60]!r} is no host name or pattern")
    return value.lower()
