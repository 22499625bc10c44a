"""Where the owner of a domain wants reports on TLS to be sent: the TXT record at _smtp._tls (RFC 8460 §3)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

_VERSION = "v=TLSRPTv1"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}", re.ASCII)
_VALUE = re.compile(r"[!-:<>-~]+", re.ASCII)  # %x21-3A, %x3C, %x3E-7E: neither ";" nor "="
_MAILBOX = re.compile(r"[!-?A-~]{1,64}@[A-Za-z0-9._-]{1,255}", re.ASCII)
_MOST = 5  # of each scheme; whoever names more is not to multiply our mail


class RecordError(ValueError):
    """The text is no such record; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Mailboxes and https URLs that a domain's reports go to, each once, in order; others are not kept."""

    mailboxes: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.mailboxes or self.urls)


def wanted_by(texts: Sequence[str]) -> Wanted:
    """By the TXT records of _smtp._tls, each with its strings joined; nothing if they ask for none.

    Records of other versions do not count; two that do make none (RFC 8460 §3).
    """
    ours = [text for text in texts if re.match(rf"{_VERSION}[ \t]*(?:;|$)", text)]
    if len(ours) != 1:
        return Wanted()
    try:
        return parse_record(ours[0])
    except RecordError:
        return Wanted()


def parse_record(text: str) -> Wanted:
    """What the record asks for. Raises RecordError."""
    version, *fields = (part.strip(" \t") for part in text.split(";"))
    if version != _VERSION:
        raise RecordError("not a TLSRPTv1 record")
    if fields and not fields[-1]:
        fields.pop()  # a delimiter may end it
    uris: list[str] = []
    for field in fields:
        name, _, value = field.partition("=")
        if name == "rua":
            uris += _uris(value)
        elif not (_NAME.fullmatch(name) and _VALUE.fullmatch(value)):
            raise RecordError(f"{field[:40]!r} is no field")
    if not uris:
        raise RecordError("no rua")
    mailboxes = (_mailbox(uri) for uri in uris if uri[:7].lower() == "mailto:")
    urls = (uri for uri in uris if _is_https(uri))
    return Wanted(
        tuple(dict.fromkeys(filter(None, mailboxes)))[:_MOST],
        tuple(dict.fromkeys(urls))[:_MOST],
    )


def _uris(value: str) -> list[str]:
    """Between commas; a comma or an exclamation mark of their own is written in per cent."""
    found = [uri.strip(" \t") for uri in value.split(",")]
    if not all(re.match(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]", uri) for uri in found):
        raise RecordError("rua is no list of URIs")
    return found


def _mailbox(uri: str) -> str | None:
    """RFC 6068 §2: what stands behind the question mark is not for us to follow."""
    found = unquote(uri[7:].partition("?")[0])
    return found if _MAILBOX.fullmatch(found) else None


def _is_https(uri: str) -> bool:
    try:
        parts = urlsplit(uri)
        return parts.scheme.lower() == "https" and bool(parts.hostname) and parts.username is None
    except ValueError:
        return False
