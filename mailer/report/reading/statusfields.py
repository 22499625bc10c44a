"""The fields of a delivery status notification, wherever they stand (RFC 3464 §2).

Hosts label the part wrongly, leave out the blank lines between the groups or put more of them, misspell
names, and old ones use names of drafts. So the fields are read one after the other, and where a
recipient's begin is found by what they say.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from mailer.protocol.enhanced import EnhancedStatus, MalformedStatus
from mailer.report.reading.addresses import typed_address
from mailer.report.reading.decoding import plain
from mailer.report.reading.kinds import DeliveryAction

_RECIPIENTS_MOST = 1000
_BLOCK_CHARS = 512 * 1024
_DIAGNOSTIC_CHARS = 4000

_OF_MESSAGE = frozenset(
    {"reporting-mta", "original-envelope-id", "received-from-mta", "dsn-gateway", "arrival-date"}
)
_OF_RECIPIENT = frozenset(
    {
        "final-recipient",
        "original-recipient",
        "x-actual-recipient",
        "action",
        "status",
        "remote-mta",
        "diagnostic-code",
        "last-attempt-date",
        "will-retry-until",
        "final-log-id",
    }
)
# RFC 1894 §2.3 had the same names; earlier drafts, and hosts that kept to them, had these.
_ALIASES = {
    "recipient": "final-recipient",
    "final-rcpt-to": "final-recipient",
    "original-rcpt-to": "original-recipient",
    "mts-recipient": "final-recipient",
    "diagnostic": "diagnostic-code",
    "remote-recipient": "x-actual-recipient",
    "x-envid": "original-envelope-id",
    "original-envelope-identifier": "original-envelope-id",
}
_LIKE = 0.86  # of difflib: one or two letters of a name
_FIELD = re.compile(r"([A-Za-z][A-Za-z0-9_. -]{2,40}?)[ \t]*:[ \t]*(.*)")
_STARTS = re.compile(
    r"^[ \t]*(?:reporting-mta|final-recipient|original-recipient|diagnostic-code|action|status)[ \t]*:",
    re.IGNORECASE | re.MULTILINE,
)
_STATUS = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?![\d.]*\d)")
_COMMENT = re.compile(r"\(([^()]{3,300})\)")
_ACTIONS = {
    "failed": DeliveryAction.FAILED,
    "failure": DeliveryAction.FAILED,
    "fail": DeliveryAction.FAILED,
    "error": DeliveryAction.FAILED,
    "expired": DeliveryAction.FAILED,
    "bounced": DeliveryAction.FAILED,
    "delayed": DeliveryAction.DELAYED,
    "delay": DeliveryAction.DELAYED,
    "deferred": DeliveryAction.DELAYED,
    "delivered": DeliveryAction.DELIVERED,
    "deliverable": DeliveryAction.DELIVERED,
    "relayed": DeliveryAction.RELAYED,
    "expanded": DeliveryAction.EXPANDED,
}


_ADDRESSES = ("final-recipient", "original-recipient", "x-actual-recipient")


@dataclass(slots=True)
class RecipientFields:
    """One recipient's, first values, by canonical name, as they stand."""

    values: dict[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str | None:
        """Final-Recipient, or what stands for it where that is no address (a program, a file, X.400)."""
        final = self.values.get("final-recipient", "")
        found = [typed_address(self.values.get(name, "")) for name in _ADDRESSES]
        if final.lower().lstrip().startswith("x400") or not _is_global(found[0]):
            # Beyond a gateway, or within a host: the address that was sent to is the one people know.
            found = found[1:] + found[:1]
        return next((address for address in found if address is not None), None)

    @property
    def original_address(self) -> str | None:
        return typed_address(self.values.get("original-recipient", ""))

    @property
    def action(self) -> DeliveryAction | None:
        """None: not said, or in a word that nobody knows."""
        word = re.match(r"[\s\"'<]*([A-Za-z]+)", self.values.get("action", ""))
        return None if word is None else _ACTIONS.get(word[1].lower())

    @property
    def has_expired(self) -> bool:
        return self.values.get("action", "").strip().lower().startswith("expired")

    @property
    def status(self) -> EnhancedStatus | None:
        return status_in(self.values.get("status", ""))

    @property
    def diagnostic(self) -> str:
        """The words of Diagnostic-Code, without its type; else those that hosts put behind the status."""
        value = self.values.get("diagnostic-code", "")
        kind, semicolon, rest = value.partition(";")
        text = rest if semicolon and re.fullmatch(r"\s*[A-Za-z0-9_/.-]{1,30}\s*", kind) else value
        if not text.strip():
            comment = _COMMENT.search(self.values.get("status", ""))
            text = "" if comment is None else comment[1]
        return " ".join(plain(text).split())[:_DIAGNOSTIC_CHARS]

    def host(self, name: str) -> str | None:
        return host_of(self.values.get(name, ""))


@dataclass(slots=True)
class StatusFields:
    """message: the fields about the message, by canonical name."""

    message: dict[str, str] = field(default_factory=dict)
    recipients: list[RecipientFields] = field(default_factory=list)


def _is_global(address: str | None) -> bool:
    """Its domain has a dot, or is a literal."""
    domain = "" if address is None else address.rpartition("@")[2]
    return "." in domain or domain.startswith("[")


def has_status_fields(text: str) -> bool:
    """Whether there are at least two different ones at the beginnings of lines."""
    found = {match[0].strip().lower() for match in _STARTS.finditer(text[:_BLOCK_CHARS])}
    return len(found) >= 2


def read_status_fields(text: str) -> StatusFields:
    """What the groups in `text` say. Other lines are passed over."""
    found = StatusFields()
    current = RecipientFields()
    is_apart = False
    for name, value in _fields(text[:_BLOCK_CHARS]):
        if not name:
            is_apart = True
            continue
        if name in _OF_MESSAGE or (name not in _OF_RECIPIENT and not current.values):
            found.message.setdefault(name, value)
            continue
        if _begins_anew(current, name, is_apart=is_apart):
            found.recipients.append(current)
            current = RecipientFields()
            if len(found.recipients) >= _RECIPIENTS_MOST:
                break
        is_apart = False
        current.values.setdefault(name, value)
    if current.values:
        found.recipients.append(current)
    return found


def _begins_anew(current: RecipientFields, name: str, *, is_apart: bool) -> bool:
    """A name that the group has already, or after a blank line a recipient where it has one."""
    if name not in _OF_RECIPIENT or not current.values:
        return False
    names_one = "final-recipient" in current.values or "original-recipient" in current.values
    return names_one and (
        name in current.values or (is_apart and name in {"final-recipient", "original-recipient"})
    )


def _fields(text: str) -> Iterator[tuple[str, str]]:
    """Canonical names and unfolded values; ("", "") for blank lines."""
    name, value = "", ""
    for line in text.split("\n"):
        if line[:1] in {" ", "\t"} and name and line.strip() and not _STARTS.match(line):
            value = f"{value} {line.strip()}"[:_DIAGNOSTIC_CHARS]
            continue
        if name:
            yield name, value
            name = ""
        if not line.strip():
            yield "", ""
            continue
        given = _FIELD.fullmatch(line.strip())
        if given is not None:
            name, value = _canonical(given[1].lower()), given[2]
    if name:
        yield name, value


@functools.lru_cache(maxsize=1024)
def _canonical(name: str) -> str:
    name = re.sub(r"[ _.]+", "-", name.strip())
    known = _OF_MESSAGE | _OF_RECIPIENT
    if name in known:
        return name
    if name in _ALIASES:
        return _ALIASES[name]
    if name.startswith("x-"):
        return name
    near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=_LIKE)
    return near[0] if near else name


def status_in(text: str) -> EnhancedStatus | None:
    """The first enhanced status in `text` (RFC 3463 §2)."""
    match = _STATUS.search(text)
    if match is None:
        return None
    try:
        return EnhancedStatus.parse(f"{int(match[1])}.{int(match[2])}.{int(match[3])}")
    except MalformedStatus:
        return None


def host_of(value: str) -> str | None:
    """The host of a field `dns; host` (RFC 3464 §2.1.2), comments left out."""
    _, semicolon, rest = value.partition(";")
    words = (rest if semicolon else value).split()
    return words[0].strip("<>,;")[:255] if words and words[0].strip("<>,;") else None
