"""The operator: made once, by whoever comes first, and found only while it can sign."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from mailer import clock
from mailer.identity import custody, domains, operator, tenants
from mailer.identity.names import NameTaken
from mailer.identity.vault import Vault
from mailer.ids import IdMaker
from mailer.store import Store

NOW = clock.now()


def ensure(store: Store, vault: Vault, new_id: IdMaker, domain: str = "op.example") -> None:
    operator.ensure(store, vault, domain, return_path_prefix="bounce", new_id=new_id, now=clock.now())


def test_it_has_a_tenant_a_stream_and_a_domain_that_signs(
    store: Store, vault: Vault, new_id: IdMaker
) -> None:
    ensure(store, vault, new_id)

    found = operator.find(store, "op.example")
    assert found is not None
    assert tenants.named(store, "operator").id == found.tenant_id
    signing = custody.signing_keys(store, vault, found.domain_id)
    assert signing is not None
    assert [key.algorithm for key in signing.keys] == ["rsa-sha256", "ed25519-sha256"]


def test_again_it_stays_as_it_was(store: Store, vault: Vault, new_id: IdMaker) -> None:
    ensure(store, vault, new_id)
    before = operator.find(store, "op.example"), domains.described(store, "op.example")

    ensure(store, vault, new_id)

    assert (operator.find(store, "op.example"), domains.described(store, "op.example")) == before


def test_processes_that_start_together_make_it_once(store: Store, vault: Vault, new_id: IdMaker) -> None:
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: ensure(store, vault, new_id), range(4)))

    assert len(tenants.listed(store)) == 1
    assert len(domains.described(store, "op.example")[1]) == 2


def test_a_domain_of_another_tenant_is_not_taken(store: Store, vault: Vault, new_id: IdMaker) -> None:
    tenants.create(store, "acme", in_doubt="retry", new_id=new_id, now=NOW)
    new = domains.NewDomain(name="op.example", return_path_prefix="bounce")
    domains.create(store, vault, "acme", new, new_id=new_id, now=NOW)

    with pytest.raises(NameTaken, match="MAILER_OPERATOR_DOMAIN"):
        ensure(store, vault, new_id)

    assert operator.find(store, "op.example") is None


@pytest.mark.parametrize("domain", [None, "other.example"])
def test_without_its_domain_there_is_none(
    store: Store, vault: Vault, new_id: IdMaker, domain: str | None
) -> None:
    ensure(store, vault, new_id)

    assert operator.find(store, domain) is None


def test_revoked_it_is_not_found(store: Store, vault: Vault, new_id: IdMaker) -> None:
    ensure(store, vault, new_id)

    domains.revoke(store, "op.example")

    assert operator.find(store, "op.example") is None


def test_a_domain_may_follow_another(store: Store, vault: Vault, new_id: IdMaker) -> None:
    """The setting was changed: what the old one signed is still verified by its records."""
    ensure(store, vault, new_id)

    ensure(store, vault, new_id, "new.example")

    old, new = operator.find(store, "op.example"), operator.find(store, "new.example")
    assert old is not None and new is not None
    assert old.tenant_id == new.tenant_id


@pytest.mark.parametrize("wish", ["dsn", "events"])
def test_a_tenant_says_what_its_submitters_hear(store: Store, new_id: IdMaker, wish: str) -> None:
    tenants.create(store, "acme", in_doubt="retry", failure_notices="events", new_id=new_id, now=NOW)

    changed = tenants.set_failure_notices(store, "acme", wish)

    assert changed.failure_notices == wish
    assert [t.failure_notices for t in tenants.listed(store)] == [wish]


def test_by_default_they_get_dsns(store: Store, new_id: IdMaker) -> None:
    assert tenants.create(store, "acme", in_doubt="retry", new_id=new_id, now=NOW).failure_notices == "dsn"
    assert tenants.named(store, "acme").failure_notices == "dsn"
