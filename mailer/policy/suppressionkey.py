"""By what an entry is found: a keyed hash of an address or a domain.

Beside the hash stands what it was made of, which can be taken away: a person who is erased stays suppressed,
and without the installation's secret nobody can try addresses out. The key is the local part without regard
to case and the domain's A-labels; tags ("+shop") and dots stay, since only the receiver knows what they mean
(RFC 5321 §2.3.11).
"""

from __future__ import annotations

import enum
import hmac
import unicodedata
from base64 import urlsafe_b64encode
from dataclasses import dataclass

_HASH_BYTES = 16
_DOMAINS_KEPT = 10_000


class What(enum.StrEnum):
    """What an entry is about."""

    ADDRESS = "address"
    DOMAIN = "domain"  # everybody there
    SUBDOMAINS = "subdomains"  # everybody there, and at all domains beneath


@dataclass(frozen=True, slots=True)
class Target:
    """An address or a domain, with its hash. address: None of a domain."""

    what: What
    key_hash: str
    address: str | None
    domain: str


def canonical(address: str) -> str:
    """The form of a forward-path (its domain in A-labels) that all its spellings share."""
    local, _, domain = address.rpartition("@")
    if local.isascii():
        return f"{local.lower()}@{domain.lower()}"
    return f"{unicodedata.normalize('NFC', local.casefold())}@{domain.lower()}"


class Keys:
    """Makes hashes. Safe to share between threads."""

    def __init__(self, secret: bytes) -> None:
        """secret: the vault's for the purpose `PURPOSE`."""
        self._mac = hmac.new(secret, digestmod="sha256")  # copied for each: half the work is in its key
        self._of_domain: dict[str, tuple[str, ...]] = {}

    def address(self, address: str) -> Target:
        key = canonical(address)
        return Target(What.ADDRESS, self._hash(key), key, key.rpartition("@")[2])

    def domain(self, domain: str, *, subdomains: bool = False) -> Target:
        """domain: A-labels."""
        name = domain.lower()
        if subdomains:
            return Target(What.SUBDOMAINS, self._hash(f".{name}"), None, name)
        return Target(What.DOMAIN, self._hash(f"@{name}"), None, name)

    def covering(self, address: str) -> tuple[str, ...]:
        """Hashes of all entries that would stop mail to `address`."""
        key = canonical(address)
        return (self._hash(key), *self._above(key.rpartition("@")[2]))

    def _above(self, domain: str) -> tuple[str, ...]:
        found = self._of_domain.get(domain)
        if found is None:
            if len(self._of_domain) >= _DOMAINS_KEPT:
                self._of_domain.clear()
            labels = domain.split(".")
            parents = (".".join(labels[at:]) for at in range(len(labels)))
            found = (self._hash(f"@{domain}"), *(self._hash(f".{parent}") for parent in parents))
            self._of_domain[domain] = found
        return found

    def _hash(self, key: str) -> str:
        mac = self._mac.copy()
        mac.update(key.encode())
        return urlsafe_b64encode(mac.digest()[:_HASH_BYTES]).rstrip(b"=").decode()


PURPOSE = "suppression"
