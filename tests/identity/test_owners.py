"""Tenants, their domains and their API keys, as an operator makes and revokes them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from mailer import clock
from mailer.identity import api_keys, custody, domains, keys, tenants
from mailer.identity.custody import KeyPair
from mailer.identity.domains import NewDomain
from mailer.identity.names import BadName, NameTaken, Unknown
from mailer.identity.rights import Rights
from mailer.identity.vault import Vault
from mailer.ids import IdMaker
from mailer.store import Store
from mailer.store.tables import stream

NOW = clock.now()
KEYS: tuple[KeyPair, ...] = custody.generate((), NOW)


def make_tenant(store: Store, new_id: IdMaker, name: str = "acme") -> tenants.Tenant:
    return tenants.create(store, name, in_doubt="retry", new_id=new_id, now=NOW)


def make_domain(
    store: Store, vault: Vault, new_id: IdMaker, name: str, tenant: str = "acme"
) -> domains.Domain:
    new = NewDomain(name=name, return_path_prefix="bounce", keys=KEYS)
    return domains.create(store, vault, tenant, new, new_id=new_id, now=NOW)


def test_a_tenant_starts_with_a_transactional_and_a_broadcast_stream(store: Store, new_id: IdMaker) -> None:
    made = tenants.create(store, "  acme ", in_doubt="give-up", new_id=new_id, now=NOW)

    with store.read() as connection:
        found = connection.execute(
            select(stream.c.name, stream.c.kind, stream.c.in_doubt).order_by(stream.c.id)
        )
        rows = [tuple(row) for row in found]
    assert (made.name, made.state) == ("acme", "active")
    assert rows == [("transactional", "transactional", "give-up"), ("broadcast", "broadcast", "give-up")]


def test_a_name_belongs_to_one_tenant(store: Store, new_id: IdMaker) -> None:
    make_tenant(store, new_id)

    with pytest.raises(NameTaken, match="acme"):
        make_tenant(store, new_id)

    assert [tenant.name for tenant in tenants.listed(store)] == ["acme"]


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 201])
def test_a_name_is_one_line_that_is_not_empty(store: Store, new_id: IdMaker, name: str) -> None:
    with pytest.raises(BadName):
        make_tenant(store, new_id, name)


def test_a_tenant_is_suspended_and_resumed_as_often_as_wanted(store: Store, new_id: IdMaker) -> None:
    make_tenant(store, new_id)

    states = []
    for change in (tenants.suspend, tenants.suspend, tenants.resume):
        change(store, "acme")
        states.append(tenants.named(store, "acme").state)

    assert states == ["suspended", "suspended", "active"]


def test_an_unknown_tenant_is_an_error_everywhere(store: Store, vault: Vault, new_id: IdMaker) -> None:
    for act in (
        lambda: tenants.suspend(store, "nobody"),
        lambda: domains.listed(store, "nobody"),
        lambda: make_domain(store, vault, new_id, "acme.example", "nobody"),
        lambda: api_keys.create(store, "nobody", "key", new_id=new_id, now=NOW),
        lambda: api_keys.listed(store, "nobody"),
    ):
        with pytest.raises(Unknown, match="nobody"):
            act()


def test_a_domain_is_kept_as_a_labels_with_a_return_path_below_it(
    store: Store, vault: Vault, new_id: IdMaker
) -> None:
    make_tenant(store, new_id)

    made = make_domain(store, vault, new_id, "Bücher.Example")

    assert (made.name, made.return_path_domain) == ("xn--bcher-kva.example", "bounce.xn--bcher-kva.example")


@pytest.mark.parametrize(
    "name", ["", "localhost", "a@b.example", "bad domain.example", "[192.0.2.1]", "a..example"]
)
def test_what_cannot_stand_in_from_is_no_sending_domain(
    store: Store, vault: Vault, new_id: IdMaker, name: str
) -> None:
    make_tenant(store, new_id)

    with pytest.raises(BadName):
        make_domain(store, vault, new_id, name)


@pytest.mark.parametrize("tenant", ["acme", "rival"])
def test_a_domain_belongs_to_one_tenant(store: Store, vault: Vault, new_id: IdMaker, tenant: str) -> None:
    make_tenant(store, new_id)
    make_tenant(store, new_id, "rival")
    make_domain(store, vault, new_id, "acme.example")

    with pytest.raises(NameTaken, match=r"acme\.example"):
        make_domain(store, vault, new_id, "ACME.example", tenant)


def test_a_revoked_domain_comes_back_to_its_owner_only(store: Store, vault: Vault, new_id: IdMaker) -> None:
    make_tenant(store, new_id)
    make_tenant(store, new_id, "rival")
    first = make_domain(store, vault, new_id, "acme.example")
    domains.revoke(store, "acme.example")

    with pytest.raises(NameTaken):
        make_domain(store, vault, new_id, "acme.example", "rival")
    again = make_domain(store, vault, new_id, "acme.example")

    assert (again.id, again.state) == (first.id, "active")
    assert [key.selector for key in domains.described(store, "acme.example")[1]] == [k.selector for k in KEYS]


def test_domains_are_listed_by_tenant(store: Store, vault: Vault, new_id: IdMaker) -> None:
    make_tenant(store, new_id)
    make_tenant(store, new_id, "rival")
    make_domain(store, vault, new_id, "acme.example")
    make_domain(store, vault, new_id, "rival.example", "rival")

    assert [d.name for d in domains.listed(store)] == ["acme.example", "rival.example"]
    assert [d.name for d in domains.listed(store, "rival")] == ["rival.example"]


def test_a_key_is_stored_as_a_hash_and_good_until_it_is_revoked(store: Store, new_id: IdMaker) -> None:
    make_tenant(store, new_id)
    made = api_keys.create(store, "acme", "shop", new_id=new_id, now=NOW)
    presented = keys.parse_key(made.text)

    was_good = api_keys.is_good(store, presented, now=NOW)
    api_keys.revoke(store, made.key_id, now=NOW)

    [listed] = api_keys.listed(store, "acme")
    assert was_good
    assert (listed.id, listed.name, listed.rights.scopes) == (made.key_id, "shop", ("read", "send"))
    assert listed.revoked_at == NOW
    assert not api_keys.is_good(store, presented, now=NOW)


def test_revoking_again_keeps_the_first_time(store: Store, new_id: IdMaker) -> None:
    make_tenant(store, new_id)
    made = api_keys.create(store, "acme", "shop", new_id=new_id, now=NOW)

    for minutes in (1, 2):
        api_keys.revoke(store, made.key_id, now=NOW + timedelta(minutes=minutes))

    assert api_keys.listed(store)[0].revoked_at == NOW + timedelta(minutes=1)


def test_a_key_is_good_until_the_instant_it_expires(store: Store, new_id: IdMaker) -> None:
    make_tenant(store, new_id)
    end = NOW + timedelta(days=1)
    made = api_keys.create(
        store, "acme", "shop", rights=Rights(scopes=("send",)), expires_at=end, new_id=new_id, now=NOW
    )
    presented = keys.parse_key(made.text)

    good = [api_keys.is_good(store, presented, now=end - timedelta(microseconds=n)) for n in (1, 0)]

    assert good == [True, False]


def test_another_secret_for_a_known_id_is_not_good(store: Store, new_id: IdMaker) -> None:
    make_tenant(store, new_id)
    made = api_keys.create(store, "acme", "shop", new_id=new_id, now=NOW)

    forged = keys.parse_key(keys.new_key(made.key_id).text)

    assert not api_keys.is_good(store, forged, now=NOW)


def test_an_unknown_key_cannot_be_revoked(store: Store) -> None:
    with pytest.raises(Unknown):
        api_keys.revoke(store, 12345, now=NOW)


@pytest.mark.parametrize("scopes", [[], ["admin"], ["send", "admin"]])
def test_scopes_are_known_words(store: Store, new_id: IdMaker, scopes: list[str]) -> None:
    make_tenant(store, new_id)

    with pytest.raises(BadName, match="scopes"):
        api_keys.create(store, "acme", "shop", rights=Rights(scopes=tuple(scopes)), new_id=new_id, now=NOW)
