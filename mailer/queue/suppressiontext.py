"""How entries are written: "ada@example.org", "example.org", "*.example.org" for a domain and all beneath
it."""

from __future__ import annotations

from typing import Any

from mailer.compose.address import AddressError, ordinary_addr_spec, parse_mailbox
from mailer.policy.suppressionkey import Keys, Target, What

_BENEATH = "*."


class BadTarget(ValueError):
    """The text is neither a mailbox nor a domain. The message is a sentence that repeats nothing of the
    text."""


def read_target(keys: Keys, text: str) -> Target:
    """Raises BadTarget."""
    text = text.strip()
    ordinary = ordinary_addr_spec(text)
    if ordinary is not None:
        return keys.address(ordinary)
    local, at, domain = text.rpartition("@")
    try:
        if at and local:
            return keys.address(parse_mailbox(text).addr_spec)
        subdomains = domain.startswith(_BENEATH)
        name = parse_mailbox(f"postmaster@{domain.removeprefix(_BENEATH)}").domain
    except AddressError as error:
        raise BadTarget(str(error)) from None
    return keys.domain(name, subdomains=subdomains)


def written(entry: Any) -> str | None:
    """A row of `suppression` as it is written; None: it was erased."""
    if entry.domain is None:
        return None
    if entry.what == What.ADDRESS:
        return str(entry.address)
    return f"{_BENEATH}{entry.domain}" if entry.what == What.SUBDOMAINS else str(entry.domain)
