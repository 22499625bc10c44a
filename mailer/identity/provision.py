"""The first start: a tenant, its streams, a sending domain that can sign, and a key to send with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection

from mailer.identity import api_keys, custody, domains, keys, tenants
from mailer.identity.custody import KeyPair
from mailer.identity.domains import Domain, NewDomain
from mailer.identity.names import NameTaken, Unknown
from mailer.identity.rights import Rights
from mailer.identity.vault import Vault
from mailer.store import Store

_KEY_NAME = "first start"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What must be there after the first start.

    domain         None: no sending domain
    dkim_key_file  None: an RSA and an Ed25519 key are made, unless the domain has keys. An RSA key given
                   for a new domain gets an Ed25519 key beside it: mail bears both signatures
    dkim_selector  of the key in that file
    api_key        a key's text, well-formed
    in_doubt       of the tenant's streams: retry | give-up
    """

    tenant: str
    domain: str | None
    return_path_prefix: str
    api_key: str
    dkim_key_file: Path | None = None
    dkim_selector: str | None = None
    in_doubt: str = "retry"


def provision(
    store: Store, vault: Vault, wish: Wish, *, new_id: Callable[[], int], now: datetime
) -> Domain | None:
    """Everything wished for is there; what was there already stays as it was. Returns the sending domain.

    One transaction, and any number of processes may do it at once. Raises IdentityError: the domain or
    the key belongs to another tenant, a selector to another key, or the key file holds no DKIM key.
    """
    given = _given_keys(wish)
    presented = keys.parse_key(wish.api_key)
    # RSA keys take 0.1 s to make, too long to hold the only writer's lock; rarely they go to waste.
    spare = _spare_keys(store, wish.domain, given, now)
    with store.write() as connection:
        owner = tenants.ensure(connection, wish.tenant, in_doubt=wish.in_doubt, new_id=new_id, now=now).tenant
        api_keys.insert(
            connection, owner, _KEY_NAME, presented, rights=Rights(scopes=api_keys.SCOPES), now=now
        )
        if wish.domain is None:
            return None
        new = NewDomain(name=wish.domain, return_path_prefix=wish.return_path_prefix)
        domain = domains.ensure(connection, owner, new, new_id=new_id, now=now).domain
        if domain.tenant != owner.name:
            raise NameTaken(f"the domain {domain.name} belongs to the tenant {domain.tenant!r}")
        missing = _missing(connection, domain, given, spare)
        custody.take_in(connection, vault, domain.id, missing, new_id=new_id, now=now)
        return domain


def _given_keys(wish: Wish) -> tuple[KeyPair, ...]:
    if wish.dkim_key_file is None:
        return ()
    return (custody.read_pem_file(wish.dkim_key_file, wish.dkim_selector or ""),)


def _spare_keys(
    store: Store, domain: str | None, given: Sequence[KeyPair], now: datetime
) -> Sequence[KeyPair]:
    """What is made for a domain without keys: both kinds, or the Ed25519 one beside an RSA key given."""
    if domain is None or _has_keys(store, domain):
        return ()
    if any(pair.algorithm == custody.ED25519 for pair in given):
        return ()
    rsa, ed25519 = custody.generate({pair.selector for pair in given}, now)
    return (ed25519,) if given else (rsa, ed25519)


def _has_keys(store: Store, name: str) -> bool:
    with store.read() as connection:
        try:
            return bool(custody.published(connection, domains.find(connection, name).id))
        except Unknown:
            return False


def _missing(
    connection: Connection, domain: Domain, given: Sequence[KeyPair], spare: Sequence[KeyPair]
) -> Sequence[KeyPair]:
    """The keys the domain still lacks. A selector published with another key is refused, not replaced."""
    known = {key.selector: key.public_key for key in custody.published(connection, domain.id)}
    for pair in given:
        if known.get(pair.selector, pair.public_key) != pair.public_key:
            raise NameTaken(
                f"the selector {pair.selector} of {domain.name} belongs to another key: choose a new selector"
            )
    wanted = given if known else (*given, *spare)
    return [pair for pair in wanted if pair.selector not in known]
