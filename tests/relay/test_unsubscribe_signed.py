"""Each copy's own List-Unsubscribe fields: signed, the same on every attempt, and never two."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from datetime import UTC, datetime

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mailer import clock
from mailer.compose.dkim import Algorithm, SigningKey, body_hash
from mailer.compose.subscriber import Subscriber, read_mail_token, read_token
from mailer.compose.unsubscribe import Links
from mailer.compose.verp import constant_keys
from mailer.queue.bodies import StoredContent
from mailer.queue.claim import Claimed
from mailer.relay.carrier import Consignment
from mailer.relay.signing import KeyRing, Signer
from mailer.store import Store

NOON = datetime(2026, 3, 9, 12, tzinfo=UTC)
PRIVATE = Ed25519PrivateKey.generate()
KEY = SigningKey("s1", Algorithm.ED25519, PRIVATE)
SECRET = bytes(range(32))
LINKS = Links("https://mail.acme.example", [SECRET], by_mail=True)
OWN = b"List-Unsubscribe: <https://acme.example/own>\r\n"
HEADERS = b"From: shop@acme.example\r\nTo: ada@example.org\r\nSubject: hello\r\n"
BODY = b"hi\r\n"


@dataclass(frozen=True)
class Domain:
    name: str = "acme.example"
    keys: tuple[SigningKey, ...] = (KEY,)


def sent(
    store: Store,
    *,
    stream_id: int | None = 9,
    headers: bytes = HEADERS,
    recipient_id: int = 2,
    **facts: object,
) -> bytes:
    signer = Signer(
        store,
        KeyRing(lambda _: Domain(), clock.monotonic),
        token_keys=lambda: constant_keys(bytes(32)),
        now=lambda: NOON,
        links=LINKS,
    )
    claimed = Claimed(
        attempt_id=1, recipient_id=recipient_id, message_id=3, tenant_id=4, lane_id=5, domain="example.org",
        address="ada@example.org", attempts=0, version=1, first_due_at=NOON, expires_at=None, size_bytes=99,
        in_doubt=False, content_id=6, domain_id=7, return_path_domain="bounce.acme.example",
        on_doubt="retry", stream_kind="broadcast", stream_id=8, subscribed_to=stream_id,
    )  # fmt: skip
    made = signer.consign(claimed, StoredContent(headers, BODY, body_hash(BODY), False, False))
    assert isinstance(made, Consignment)
    return made.content


def published(name: bytes, timeout: float = 5) -> bytes:
    raw = PRIVATE.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return b"v=DKIM1; k=ed25519; p=" + base64.b64encode(raw)


def test_the_signature_covers_both_fields_and_another_verifier_passes_it(store: Store) -> None:
    """RFC 8058 §4."""
    content = sent(store)

    covered = re.sub(rb"\s", b"", content.partition(b"bh=")[0]).partition(b";h=")[2].rstrip(b";").split(b":")
    assert dkim.verify(content, dnsfunc=published)
    assert {b"list-unsubscribe", b"list-unsubscribe-post", b"x-mailer-ref"} <= set(covered)


@pytest.mark.parametrize(
    ("old", "new"), [(b"/u/A", b"/u/B"), (b"One-Click", b"Two-Click"), (b"mailto:unsub", b"mailto:resub")]
)
def test_a_changed_field_breaks_the_signature(store: Store, old: bytes, new: bytes) -> None:
    content = sent(store)

    assert old in content
    assert not dkim.verify(content.replace(old, new), dnsfunc=published)


def test_the_fields_name_this_recipient_and_the_stream_of_its_message(store: Store) -> None:
    content = sent(store).replace(b"\r\n ", b" ")

    token, local = re.findall(rb"/u/([\w-]+)>.*<mailto:([^@]+)@bounce\.acme\.example", content)[0]
    assert read_token(token.decode(), [SECRET]) == Subscriber(4, 9, 2, "ada@example.org")
    assert read_mail_token(local.decode(), [SECRET]) == 2


def test_every_attempt_bears_the_same_and_every_recipient_its_own(store: Store) -> None:
    first, again, other = sent(store), sent(store), sent(store, recipient_id=3)

    assert first.partition(b"X-Mailer-Ref")[2] == again.partition(b"X-Mailer-Ref")[2]
    assert _field(first) != _field(other)


def test_a_message_with_its_own_keeps_the_one(store: Store) -> None:
    content = sent(store, stream_id=None, headers=HEADERS + OWN)

    assert content.count(b"\r\nList-Unsubscribe:") == 1
    assert OWN in content
    assert b"List-Unsubscribe-Post" not in content
    assert dkim.verify(content, dnsfunc=published)


def _field(content: bytes) -> bytes:
    return content.replace(b"\r\n ", b" ").partition(b"\r\nList-Unsubscribe:")[2].partition(b"\r\n")[0]
