"""8-bit mail to a peer without 8BITMIME: encoded and signed anew, or refused with the reason."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes, policy

import dkim
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mailer import clock
from mailer.compose.dkim import Algorithm, SigningKey, body_hash
from mailer.compose.verp import constant_keys
from mailer.policy.outcome import Accepted, Unsuitable
from mailer.queue.bodies import StoredContent
from mailer.relay.carrier import Consignment
from mailer.relay.signing import KeyRing, Signer
from mailer.store import Store
from tests.support.claims import claim_at
from tests.support.scripted_smtp import ScriptedPeer
from tests.support.smtp_client import carrier_to

NOON = datetime(2026, 3, 9, 12, tzinfo=UTC)
PRIVATE = Ed25519PrivateKey.generate()
KEY = SigningKey("s1", Algorithm.ED25519, PRIVATE)
HEADERS = (
    b"From: shop@acme.example\r\nTo: ada@example.org\r\nSubject: hello\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
)
BODY = "Grüße aus Köln\r\n".encode()


@dataclass(frozen=True)
class Domain:
    name: str = "acme.example"
    keys: tuple[SigningKey, ...] = (KEY,)


def consignment(store: Store, headers: bytes = HEADERS) -> Consignment:
    keys = KeyRing(lambda _: Domain(), clock.monotonic)
    signer = Signer(store, keys, token_keys=lambda: constant_keys(bytes(32)), now=lambda: NOON)
    claimed = claim_at(NOON)
    content = StoredContent(headers, BODY, body_hash(BODY), is_8bit=True, needs_utf8=False)
    made = signer.consign(claimed, content)
    assert isinstance(made, Consignment)
    return made


def published(name: bytes, timeout: float = 5) -> bytes:
    raw = PRIVATE.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return b"v=DKIM1; k=ed25519; p=" + base64.b64encode(raw)


async def test_a_peer_without_8bitmime_gets_the_same_text_in_seven_bits(store: Store) -> None:
    async with ScriptedPeer(extensions=["x", "PIPELINING"]) as peer, carrier_to(peer.port) as carrier:
        report = await carrier.deliver(consignment(store))

    [content] = peer.contents
    assert isinstance(report.outcome, Accepted)
    assert content.isascii()
    assert message_from_bytes(content, policy=policy.default).get_content().splitlines() == ["Grüße aus Köln"]
    assert dkim.verify(content, dnsfunc=published)
    assert any("7 bits" in step.text for step in report.steps if step.who == "note")


async def test_a_peer_with_8bitmime_gets_it_as_it_was_written(store: Store) -> None:
    async with ScriptedPeer(extensions=["x", "8BITMIME"]) as peer, carrier_to(peer.port) as carrier:
        await carrier.deliver(consignment(store))

    [content] = peer.contents
    assert content.endswith(BODY)


async def test_what_its_submitter_signed_is_not_touched(store: Store) -> None:
    signed = HEADERS + b"DKIM-Signature: v=1; a=rsa-sha256; d=acme.example; s=x; h=from; bh=; b=\r\n"
    async with ScriptedPeer(extensions=["x"]) as peer, carrier_to(peer.port) as carrier:
        report = await carrier.deliver(consignment(store, signed))

    assert isinstance(report.outcome, Unsuitable)
    assert report.outcome.status == "5.6.3"
    assert "signature" in report.outcome.cause
