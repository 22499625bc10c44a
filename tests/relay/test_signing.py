"""Copies of a claim are signed together, and what is wrong with one stays with that one."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from msgspec.structs import replace

from mailer import clock
from mailer.compose.dkim import Algorithm, SigningKey, body_hash
from mailer.compose.verp import constant_keys
from mailer.queue.bodies import StoredContent
from mailer.queue.claim import Claimed
from mailer.relay.carrier import Consignment
from mailer.relay.signing import KeyRing, Signer, Unready
from mailer.store import Store, StoreUnavailable
from tests.support.claims import claim_at

KEY = SigningKey("s1", Algorithm.RSA, generate_private_key(65537, 2048))
AWAY, KEYLESS, TORN = 91, 92, 93  # ids of domains
NOW = clock.now()
GOOD = claim_at(NOW)
CONTENT = StoredContent(b"From: a@acme.example\r\n", b"hello\r\n", body_hash(b"hello\r\n"), False, False)


class TornKey:
    """A key that does not sign."""

    def sign(self, *_args: object) -> bytes:
        raise ValueError("torn")


class Domain:
    name = "acme.example"

    def __init__(self, keys: Sequence[SigningKey]) -> None:
        self.keys = keys


def domain_of(domain_id: int) -> Domain | None:
    if domain_id == AWAY:
        raise StoreUnavailable("away")
    if domain_id == TORN:
        return Domain([SigningKey("s1", Algorithm.RSA, TornKey())])  # type: ignore[arg-type]
    return Domain([] if domain_id == KEYLESS else [KEY])


@pytest.fixture
def signer(store: Store) -> Signer:
    keys = KeyRing(domain_of, clock.monotonic)
    return Signer(store, keys, token_keys=lambda: constant_keys(bytes(32)), now=lambda: NOW)


def claims(*domain_ids: int) -> list[Claimed]:
    return [replace(GOOD, attempt_id=n, recipient_id=n, domain_id=i) for n, i in enumerate(domain_ids, 1)]


def test_each_gets_what_it_would_get_alone(signer: Signer) -> None:
    claimed = claims(*[7] * 9)

    made = signer.consign_all(claimed, {6: CONTENT})

    assert made == [(one, signer.consign(one, CONTENT)) for one in claimed]
    assert all(isinstance(one, Consignment) for _, one in made)


def test_a_body_without_a_hash_is_hashed_where_it_is_signed(signer: Signer) -> None:
    [claimed] = claims(7)

    made = signer.consign(claimed, replace(CONTENT, body_hash=""))

    assert made == signer.consign(claimed, CONTENT)


def test_what_is_wrong_with_one_stays_with_it(signer: Signer) -> None:
    """A domain whose keys cannot be looked up now goes back; the rest of a claim is signed."""
    claimed = claims(7, AWAY, 7, KEYLESS, 7, TORN, 7, 7)
    claimed[-1] = replace(claimed[-1], content_id=404)

    made = dict((one.attempt_id, what) for one, what in signer.consign_all(claimed, {6: CONTENT}))

    assert sorted(made) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [n for n, what in made.items() if isinstance(what, Consignment)] == [1, 3, 5, 7]
    assert made[2] is None
    reasons = {n: what.reason for n, what in made.items() if isinstance(what, Unready)}
    assert reasons == {
        4: "the sending domain has no active DKIM key",
        6: "the message could not be signed",
        8: "the message's content is missing from the store",
    }


def test_a_bug_before_the_signature_stays_with_its_message(signer: Signer) -> None:
    odd = replace(CONTENT, headers=None)  # type: ignore[arg-type]
    claimed = claims(7, 7, 7)
    claimed[1] = replace(claimed[1], content_id=66)

    made = dict((one.attempt_id, what) for one, what in signer.consign_all(claimed, {6: CONTENT, 66: odd}))

    assert isinstance(made[1], Consignment)
    assert isinstance(made[3], Consignment)
    assert isinstance(made[2], Unready)
    assert made[2].content_missing


def test_nothing_is_signed_where_nothing_was_claimed(signer: Signer) -> None:
    assert signer.consign_all([], {}) == []
