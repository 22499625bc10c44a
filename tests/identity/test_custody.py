from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_public_key,
)
from sqlalchemy import select

from mailer import clock
from mailer.identity import custody, domains, tenants
from mailer.identity.custody import BadKey, KeyPair
from mailer.identity.domains import Domain, NewDomain
from mailer.identity.names import BadName, Unknown
from mailer.identity.vault import SealBroken, Vault
from mailer.ids import IdMaker
from mailer.store import Store
from mailer.store.tables import dkim_key

NOW = clock.now()
PAIRS = custody.generate((), NOW)


def pem_of(private, encryption=None, form: PrivateFormat = PrivateFormat.PKCS8) -> bytes:
    return private.private_bytes(Encoding.PEM, form, encryption or NoEncryption())


@pytest.fixture
def domain(store: Store, vault: Vault, new_id: IdMaker) -> Domain:
    tenants.create(store, "acme", in_doubt="retry", new_id=new_id, now=NOW)
    new = NewDomain(name="acme.example", return_path_prefix="bounce", keys=PAIRS)
    return domains.create(store, vault, "acme", new, new_id=new_id, now=NOW)


def test_fresh_keys_are_an_rsa_of_2048_bits_and_an_ed25519_as_the_dns_wants_them() -> None:
    """RFC 6376 §3.6.1 wants a SubjectPublicKeyInfo, RFC 8463 §4.2 the bare key."""
    rsa, ed25519 = PAIRS

    published = load_der_public_key(base64.b64decode(rsa.public_key))
    assert isinstance(published, RSAPublicKey) and published.key_size == 2048
    assert Ed25519PublicKey.from_public_bytes(base64.b64decode(ed25519.public_key))
    assert (rsa.algorithm, ed25519.algorithm) == ("rsa-sha256", "ed25519-sha256")


def test_selectors_are_never_used_twice() -> None:
    taken = {pair.selector for pair in PAIRS}

    again = {pair.selector for pair in custody.generate(taken, NOW)}

    assert len(taken | again) == 4


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_a_key_in_use_elsewhere_is_taken_in_as_it_is(form: PrivateFormat) -> None:
    private = generate_private_key(65537, 1024)

    pair = custody.read_pem(pem_of(private, form=form), "Mail2026")

    assert (pair.selector, pair.algorithm) == ("mail2026", "rsa-sha256")
    published = load_der_public_key(base64.b64decode(pair.public_key))
    assert isinstance(published, RSAPublicKey)
    assert published.public_numbers() == private.public_key().public_numbers()


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"-----BEGIN PRIVATE KEY-----\nnonsense\n-----END PRIVATE KEY-----\n",
        pem_of(generate_ec(SECP256R1())),
        pem_of(Ed25519PrivateKey.generate(), BestAvailableEncryption(b"pass phrase")),
    ],
    ids=["empty", "damaged", "elliptic curve", "encrypted"],
)
def test_what_dkim_cannot_sign_with_is_refused(pem: bytes) -> None:
    with pytest.raises(BadKey):
        custody.read_pem(pem, "s1")


@pytest.mark.parametrize("selector", ["", "a b", "-a", "a-", "a..b", "ü", "x" * 64, "a;b"])
def test_a_selector_is_made_of_dns_labels(selector: str) -> None:
    with pytest.raises(BadName):
        custody.read_pem(PAIRS[1].private_pem, selector)


def test_the_signer_gets_the_active_keys_rsa_first(store: Store, vault: Vault, domain: Domain) -> None:
    found = custody.signing_keys(store, vault, domain.id)

    assert found is not None
    assert (found.name, found.return_path_domain) == ("acme.example", "bounce.acme.example")
    assert [(key.selector, key.algorithm) for key in found.keys] == [(p.selector, p.algorithm) for p in PAIRS]


def test_private_keys_are_sealed_each_for_its_own_row(store: Store, vault: Vault, domain: Domain) -> None:
    with store.read() as connection:
        sealed = connection.execute(select(dkim_key.c.private_key)).scalars().all()

    assert len(sealed) == 2
    assert not [one for one in sealed if b"PRIVATE" in one]
    with pytest.raises(SealBroken):
        custody.signing_keys(store, Vault(b"x" * 32), domain.id)


def test_a_retired_key_signs_no_more_and_stays_published(store: Store, vault: Vault, domain: Domain) -> None:
    rsa, ed25519 = PAIRS

    custody.retire(store, domain.id, rsa.selector)

    found = custody.signing_keys(store, vault, domain.id)
    assert found is not None and [key.selector for key in found.keys] == [ed25519.selector]
    assert custody.txt_record(store, f"{rsa.selector}._domainkey.acme.example") is not None


def test_retiring_a_selector_that_is_not_there_is_an_error(store: Store, domain: Domain) -> None:
    with pytest.raises(Unknown, match="nothere"):
        custody.retire(store, domain.id, "nothere")


def test_a_revoked_or_unknown_domain_signs_nothing(store: Store, vault: Vault, domain: Domain) -> None:
    domains.revoke(store, "acme.example")

    assert custody.signing_keys(store, vault, domain.id) is None
    assert custody.signing_keys(store, vault, 1) is None


@pytest.mark.parametrize("pair", PAIRS, ids=["rsa", "ed25519"])
def test_the_record_of_a_key_is_found_by_its_name(store: Store, domain: Domain, pair: KeyPair) -> None:
    record = custody.txt_record(store, f"{pair.selector.upper()}._domainkey.ACME.example.")

    algorithm = pair.algorithm.partition("-")[0]
    assert record == f"v=DKIM1; k={algorithm}; p={pair.public_key}"


@pytest.mark.parametrize("name", ["acme.example", "x._domainkey.acme.example", "m._domainkey.other.example"])
def test_no_record_is_made_up(store: Store, domain: Domain, name: str) -> None:
    assert custody.txt_record(store, name) is None
