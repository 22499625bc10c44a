from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from mailer import clock
from mailer.identity import api_keys, custody, domains, keys, tenants
from mailer.identity.names import BadName, NameTaken
from mailer.identity.provision import Wish, provision
from mailer.identity.vault import Vault
from mailer.ids import IdMaker
from mailer.store import Store

NOW = clock.now()
KEY = keys.new_key(77).text
WISH = Wish(tenant="default", domain="shop.example", return_path_prefix="bounce", api_key=KEY)
RSA, ED25519 = custody.generate((), NOW)


def everything(store: Store) -> tuple[object, ...]:
    found = [d.name for d in domains.listed(store)]
    published = [domains.described(store, name) for name in found]
    return tenants.listed(store), published, api_keys.listed(store)


def with_file(folder: Path, pem: bytes, selector: str = "mail") -> Wish:
    path = folder / "dkim.pem"
    path.write_bytes(pem)
    return replace(WISH, dkim_key_file=path, dkim_selector=selector)


def test_the_first_start_makes_all_that_sending_needs(store: Store, vault: Vault, new_id: IdMaker) -> None:
    domain = provision(store, vault, WISH, new_id=new_id, now=NOW)

    assert domain is not None and (domain.name, domain.tenant) == ("shop.example", "default")
    signing = custody.signing_keys(store, vault, domain.id)
    assert signing is not None
    assert [key.algorithm for key in signing.keys] == ["rsa-sha256", "ed25519-sha256"]
    assert api_keys.is_good(store, keys.parse_key(KEY), now=NOW)


def test_a_second_start_finds_everything_as_it_was(store: Store, vault: Vault, new_id: IdMaker) -> None:
    provision(store, vault, WISH, new_id=new_id, now=NOW)
    before = everything(store)

    provision(store, vault, WISH, new_id=new_id, now=clock.now())

    assert everything(store) == before


def test_processes_that_start_together_make_everything_once(
    store: Store, vault: Vault, new_id: IdMaker
) -> None:
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(lambda _: provision(store, vault, WISH, new_id=new_id, now=NOW), range(4)))

    assert len({domain and domain.id for domain in made}) == 1
    assert len(domains.described(store, "shop.example")[1]) == 2


def test_what_was_revoked_stays_revoked(store: Store, vault: Vault, new_id: IdMaker) -> None:
    provision(store, vault, WISH, new_id=new_id, now=NOW)
    api_keys.revoke(store, 77, now=NOW)
    domains.revoke(store, "shop.example")

    domain = provision(store, vault, WISH, new_id=new_id, now=NOW)

    assert domain is not None and domain.state == "revoked"
    assert not api_keys.is_good(store, keys.parse_key(KEY), now=NOW)


def test_without_a_domain_only_tenant_and_key_are_made(store: Store, vault: Vault, new_id: IdMaker) -> None:
    assert provision(store, vault, replace(WISH, domain=None), new_id=new_id, now=NOW) is None
    assert not domains.listed(store)


def test_an_rsa_key_file_gets_an_ed25519_key_beside_it(
    store: Store, vault: Vault, new_id: IdMaker, tmp_path: Path
) -> None:
    wish = with_file(tmp_path, RSA.private_pem)

    for _ in range(2):
        provision(store, vault, wish, new_id=new_id, now=NOW)

    given, made = domains.described(store, "shop.example")[1]
    assert (given.selector, given.public_key) == ("mail", RSA.public_key)
    assert made.algorithm == custody.ED25519


def test_an_ed25519_key_file_is_the_only_key_of_a_new_domain(
    store: Store, vault: Vault, new_id: IdMaker, tmp_path: Path
) -> None:
    provision(store, vault, with_file(tmp_path, ED25519.private_pem), new_id=new_id, now=NOW)

    assert [key.algorithm for key in domains.described(store, "shop.example")[1]] == [custody.ED25519]


def test_a_key_file_that_comes_later_joins_the_keys_there(
    store: Store, vault: Vault, new_id: IdMaker, tmp_path: Path
) -> None:
    provision(store, vault, WISH, new_id=new_id, now=NOW)

    provision(store, vault, with_file(tmp_path, ED25519.private_pem), new_id=new_id, now=NOW)

    assert len(domains.described(store, "shop.example")[1]) == 3


def test_another_key_under_a_published_selector_is_refused(
    store: Store, vault: Vault, new_id: IdMaker, tmp_path: Path
) -> None:
    """Verifiers would find the wrong public key for mail that is signed already."""
    provision(store, vault, with_file(tmp_path, RSA.private_pem), new_id=new_id, now=NOW)

    with pytest.raises(NameTaken, match="selector mail"):
        provision(store, vault, with_file(tmp_path, ED25519.private_pem), new_id=new_id, now=NOW)


def test_a_missing_key_file_is_one_sentence_and_nothing_is_made(
    store: Store, vault: Vault, new_id: IdMaker, tmp_path: Path
) -> None:
    wish = replace(WISH, dkim_key_file=tmp_path / "none.pem", dkim_selector="mail")

    with pytest.raises(custody.BadKey, match=r"none\.pem cannot be read: No such file"):
        provision(store, vault, wish, new_id=new_id, now=NOW)

    assert not tenants.listed(store)


def test_a_domain_of_another_tenant_is_refused_and_nothing_is_made(
    store: Store, vault: Vault, new_id: IdMaker
) -> None:
    provision(store, vault, WISH, new_id=new_id, now=NOW)

    with pytest.raises(NameTaken, match="belongs to the tenant 'default'"):
        provision(
            store, vault, replace(WISH, tenant="rival", api_key=keys.new_key(78).text), new_id=new_id, now=NOW
        )

    assert [tenant.name for tenant in tenants.listed(store)] == ["default"]


def test_a_key_id_in_use_is_refused(store: Store, vault: Vault, new_id: IdMaker) -> None:
    provision(store, vault, WISH, new_id=new_id, now=NOW)

    with pytest.raises(NameTaken, match="API key"):
        provision(store, vault, replace(WISH, api_key=keys.new_key(77).text), new_id=new_id, now=NOW)


def test_a_bad_tenant_name_is_refused(store: Store, vault: Vault, new_id: IdMaker) -> None:
    with pytest.raises(BadName):
        provision(store, vault, replace(WISH, tenant=" "), new_id=new_id, now=NOW)
