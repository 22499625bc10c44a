"""Our signatures as other people's verifiers judge them (RFC 6376, RFC 8463)."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import HealthCheck, example, given, settings
from msgspec import structs

from mailer.compose.address import parse_mailbox
from mailer.compose.dkim import (
    Algorithm,
    Letter,
    SigningKey,
    SigningKeyError,
    body_hash,
    load_private_key,
    sign,
)
from mailer.compose.headers import per_recipient_prefix
from mailer.compose.mime import Draft, compose
from mailer.compose.verp import make_token
from tests.compose.drafts import drafts
from tests.compose.verifiers import OpenDkim, dkimpy_verdicts, record

AT = datetime(2025, 11, 22, 9, 5, 3, tzinfo=UTC)  # verifiers refuse a t= in the future
DOMAIN = "b.example"
RSA_KEY = SigningKey("r2026", Algorithm.RSA, rsa.generate_private_key(65537, 2048))
ED25519_KEY = SigningKey("e2026", Algorithm.ED25519, ed25519.Ed25519PrivateKey.generate())
RECORDS = {f"{key.selector}._domainkey.{DOMAIN}": record(key) for key in (RSA_KEY, ED25519_KEY)}
BENCH_CHECK = Path(__file__).parents[1] / "bench" / "dkimcheck.py"
# RFC 6376 §5.4.2: a name once for each field signed, and once more where none may be added.
ALWAYS = "from:from:to:to:cc:reply-to:subject:subject:date:date:message-id:message-id:mime-version"

LETTER = Draft(
    from_=parse_mailbox("Zoë <zoe@b.example>"),
    to=(parse_mailbox('"Smith, Bob" <bob@c.example>'),),
    cc=(parse_mailbox("carol@c.example"),),
    reply_to=(parse_mailbox("help@b.example"),),
    subject="Grüße " * 20,
    text="Hello,  Bob\t\n.\n..\n-- \n \n\n\n",
    html="<p>Grüße</p>\n" * 30,
    headers=(
        ("List-Unsubscribe", "<https://b.example/u/1>, <mailto:u@b.example>"),
        ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
        ("Feedback-ID", "a:b:c:d"),
        ("X-Long", "word " * 60 + "end"),
    ),
)


@pytest.fixture(scope="module")
def opendkim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenDkim]:
    verifier = OpenDkim(RECORDS, tmp_path_factory.mktemp("dkim"))
    yield verifier
    verifier.close()


def _sign(headers: bytes, body: bytes, *keys: SigningKey) -> bytes:
    [fields] = sign([Letter(headers, body_hash(body), domain=DOMAIN, keys=keys, at=AT)])
    return fields


def _sent(draft: Draft, *keys: SigningKey) -> bytes:
    """The whole message of one recipient, as the worker puts it together."""
    composed = compose(
        draft, message_id="<msg_0123456789abc@b.example>", date=AT, boundary="=_msg_0123456789abc"
    )
    block = per_recipient_prefix(make_token(7, bytes(32))) + composed.headers
    return _sign(block, composed.body, *keys) + block + b"\r\n" + composed.body


def _tags(message: bytes) -> dict[str, str]:
    """Tags of the first signature, white space left out."""
    field = re.match(rb"DKIM-Signature:((?:[^\r]|\r\n[ \t])*)\r\n", message)
    assert field is not None
    pairs = re.sub(r"\s", "", field[1].decode()).split(";")
    return dict(pair.split("=", 1) for pair in pairs)


@given(drafts())
@example(LETTER)
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_two_other_verifiers_pass_both_signatures_of_every_message(opendkim: OpenDkim, draft: Draft) -> None:
    message = _sent(draft, RSA_KEY, ED25519_KEY)

    assert dkimpy_verdicts(message, RECORDS) == [True, True]
    assert opendkim.verdicts(message) == [True, True]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"zoe@b.example", b"eve@b.example"),
        (b"Subject: ", b"Subject: Re: "),
        (b"Message-ID: ", b"X-Message-ID: "),
        (b"X-Mailer-Ref: a", b"X-Mailer-Ref: b"),
        (b"One-Click", b"Two-Click"),
        (b"a:b:c:d", b"a:b:c:e"),
        (b"Hello, ", b"Goodbye, "),
        (b"From: ", b"From: eve@d.example\r\nFrom: "),
        (b"MIME-Version: ", b"Subject: another\r\nMIME-Version: "),
        (b"MIME-Version: ", b"Content-Type: text/html\r\nMIME-Version: "),
        (b"MIME-Version: ", b"Reply-To: eve@d.example\r\nMIME-Version: "),
    ],
)
def test_a_change_of_what_readers_see_breaks_both_signatures(
    opendkim: OpenDkim, old: bytes, new: bytes
) -> None:
    """The last four add a field (RFC 6376 §8.15): over-signing is what notices."""
    message = _sent(LETTER, RSA_KEY, ED25519_KEY)
    changed = message.replace(old, new, 1)

    assert changed != message
    assert dkimpy_verdicts(changed, RECORDS) == [False, False]
    assert opendkim.verdicts(changed) == [False, False]


def test_white_space_changed_on_the_way_breaks_nothing(opendkim: OpenDkim) -> None:
    """RFC 6376 §3.4.2, §3.4.4: what relaxed is for."""
    message = _sent(LETTER, RSA_KEY, ED25519_KEY)
    head, body = message.split(b"\r\n\r\n", 1)
    changed = (
        head.replace(b"From: ", b"FROM:\t ")
        + b"\r\n\r\n"
        + body.replace(b"=20\r\n", b"=20  \r\n")
        + b"\r\n\r\n"
    )

    assert dkimpy_verdicts(changed, RECORDS) == [True, True]
    assert opendkim.verdicts(changed) == [True, True]


def test_a_list_may_add_its_own_unsubscribe_field(opendkim: OpenDkim) -> None:
    added = b"List-Unsubscribe: <mailto:leave@list.example>\r\nDKIM-Signature: "
    note = _with_headers(())

    message = _sent(note, RSA_KEY).replace(b"DKIM-Signature: ", added, 1)

    assert dkimpy_verdicts(message, RECORDS) == [True]
    assert opendkim.verdicts(message) == [True]


def test_the_bench_kits_verifier_passes_a_doubly_signed_message(tmp_path: Path) -> None:
    key, message = tmp_path / "key.pem", tmp_path / "message.eml"
    key.write_bytes(_pem(RSA_KEY.private, PrivateFormat.TraditionalOpenSSL))
    message.write_bytes(_sent(LETTER, RSA_KEY, ED25519_KEY).replace(b"\r\n.", b"\r\n.."))

    check = subprocess.run(
        [sys.executable, BENCH_CHECK, key, message], capture_output=True, text=True, check=False
    )

    assert check.stdout == f"{message}: ok\n"


def test_rsa_stands_first_whatever_the_order_of_keys() -> None:
    """RFC 8463 §6: verifiers that look at one signature alone know RSA."""
    signatures = _sign(b"From: a@b.example\r\n", b"", ED25519_KEY, RSA_KEY)

    assert re.findall(rb"a=([a-z0-9-]+);", signatures) == [b"rsa-sha256", b"ed25519-sha256"]


def test_without_keys_there_is_no_signature() -> None:
    assert _sign(b"From: a@b.example\r\n", b"") == b""


def test_the_tags_say_who_signed_what_and_when() -> None:
    tags = _tags(_sent(_with_headers(()), RSA_KEY))

    assert tags | {"b": "", "bh": ""} == {
        "v": "1",
        "a": "rsa-sha256",
        "c": "relaxed/relaxed",
        "d": "b.example",
        "s": "r2026",
        "t": str(int(AT.timestamp())),
        "h": f"{ALWAYS}:content-type:content-type:content-transfer-encoding:x-mailer-ref",
        "bh": "",
        "b": "",
    }


def test_what_is_sometimes_there_is_signed_when_it_is() -> None:
    """From, To and their like once more than they occur; List-* as they are, since lists add their own."""
    tags = _tags(_sent(LETTER, RSA_KEY))

    assert tags["h"] == (
        "from:from:to:to:cc:cc:reply-to:reply-to:subject:subject:date:date:message-id:message-id:mime-version:"
        "content-type:content-type:x-mailer-ref:list-unsubscribe:list-unsubscribe-post:feedback-id"
    )


def test_the_signature_fields_are_short_lines_of_ascii() -> None:
    signatures = _sign(b"From: a@b.example\r\n" * 60, b"", RSA_KEY, ED25519_KEY)

    lines = signatures.decode("ascii").split("\r\n")
    assert lines.pop() == ""
    assert max(map(len, lines)) <= 78
    assert [line for line in lines if not line.startswith(("DKIM-Signature: ", " "))] == []


@pytest.mark.parametrize(
    "block",
    [
        b"From:a@b.example\r\n",
        b"FROM: \t a@b.example \r\n",
        b"From: a@b.example\r\nSubject:\r\n\tfolded\r\n  twice \r\n",
        b"From: a@b.example\r\nSubject: gr\xc3\xbc\xc3\x9fe \xff\r\n",
        b"From: a@b.example\r\nTo: 1@c.example\r\nTo: 2@c.example\r\n",
        b"From: a@b.example\r\nSubject: \r\nCc:\r\n",
    ],
)
def test_any_header_block_can_be_signed(opendkim: OpenDkim, block: bytes) -> None:
    message = _sign(block, b"Hi\r\n", RSA_KEY, ED25519_KEY) + block + b"\r\nHi\r\n"

    assert dkimpy_verdicts(message, RECORDS) == [True, True]
    assert opendkim.verdicts(message) == [True, True]


def test_the_body_hash_is_that_of_the_rfcs_example() -> None:
    """RFC 8463 §A.3."""
    body = b"Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n"

    assert body_hash(body) == "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8="


def test_the_hash_of_no_body_is_that_of_nothing() -> None:
    """RFC 6376 §3.4.4."""
    assert body_hash(b"") == body_hash(b"\r\n\r\n") == "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_a_key_loads_from_either_form_of_pem(form: PrivateFormat, trusted: bool) -> None:
    loaded = load_private_key(_pem(RSA_KEY.private, form), trusted=trusted)

    assert isinstance(loaded, rsa.RSAPrivateKey)
    assert loaded.private_numbers() == RSA_KEY.private.private_numbers()


def test_an_ed25519_key_loads() -> None:
    loaded = load_private_key(_pem(ED25519_KEY.private, PrivateFormat.PKCS8))

    assert isinstance(loaded, ed25519.Ed25519PrivateKey)


def _pem(
    key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey,
    form: PrivateFormat,
    encryption: KeySerializationEncryption | None = None,
) -> bytes:
    return key.private_bytes(Encoding.PEM, form, encryption or NoEncryption())


def _of_size(bits: int) -> rsa.RSAPrivateKey:
    """An RSA key of the right size and no other merit: to make a true one of many bits takes seconds."""
    p, q = (1 << bits // 2) - 1, (1 << bits // 2) - 3
    public = rsa.RSAPublicNumbers(65537, p * q)
    numbers = rsa.RSAPrivateNumbers(p, q, p * q // 3 | 1, 3, 5, 7, public)
    return numbers.private_key(unsafe_skip_rsa_key_validation=True)


@pytest.mark.parametrize(
    ("pem", "sentence"),
    [
        (b"", "not a private key in PEM form"),
        (b"nonsense", "not a private key in PEM form"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "not a private key in PEM form"),
        (_pem(RSA_KEY.private, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")), "passphrase"),
        (_pem(ec.generate_private_key(ec.SECP256R1()), PrivateFormat.PKCS8), "neither RSA nor Ed25519"),
        (_pem(_of_size(4104), PrivateFormat.PKCS8), "1024 to 4096 bits"),
    ],
)
def test_a_key_dkim_cannot_sign_with_is_refused(pem: bytes, sentence: str) -> None:
    with pytest.raises(SigningKeyError, match=sentence):
        load_private_key(pem)


def test_a_damaged_key_is_refused_when_it_is_taken_in() -> None:
    """Its signatures would never verify; found at upload, not by the first receiver."""
    numbers = RSA_KEY.private.private_numbers()
    damaged = rsa.RSAPrivateNumbers(
        numbers.p, numbers.q, numbers.d ^ 2, numbers.dmp1, numbers.dmq1, numbers.iqmp, numbers.public_numbers
    ).private_key(unsafe_skip_rsa_key_validation=True)

    with pytest.raises(SigningKeyError):
        load_private_key(_pem(damaged, PrivateFormat.PKCS8))


def _with_headers(headers: tuple[tuple[str, str], ...]) -> Draft:
    return Draft(LETTER.from_, LETTER.to, (), (), "Hello", "Hello\n", None, headers)


# ---- many at once

OTHER_RSA = SigningKey("o2026", Algorithm.RSA, rsa.generate_private_key(65537, 2048))
SHORT_RSA = SigningKey("k2026", Algorithm.RSA, rsa.generate_private_key(65537, 1024))
ODD_RSA = SigningKey("d2026", Algorithm.RSA, rsa.generate_private_key(65537, 1536))
KEY_SETS = (
    (RSA_KEY, ED25519_KEY),
    (OTHER_RSA,),
    (ED25519_KEY,),
    (RSA_KEY, SHORT_RSA),
    (ODD_RSA, RSA_KEY),
    (),
)


def letters(number: int) -> list[Letter]:
    return [
        Letter(
            b"From: a@b.example\r\nSubject: the %d.\r\n" % n, body_hash(b"%d\r\n" % n),
            f"d{n % 3}.example", KEY_SETS[n % len(KEY_SETS)], AT,
        )
        for n in range(number)
    ]  # fmt: skip


@pytest.mark.parametrize("number", [0, 1, 2, 3, 8, 9, 50])
def test_letters_signed_together_are_signed_as_each_alone(number: int) -> None:
    together = letters(number)

    assert sign(together) == [sign([letter])[0] for letter in together]


def test_what_cannot_be_signed_together_is_signed_one_by_one(capfd: pytest.CaptureFixture[str]) -> None:
    """The lanes of one key fail as they would on a processor with a fault."""
    broken = SigningKey(RSA_KEY.selector, Algorithm.RSA, RSA_KEY.private)
    if broken.batch is not None and OTHER_RSA.batch is not None:
        broken.batch.addresses[0] = OTHER_RSA.batch.addresses[0]
    mine = [Letter(b"Subject: %d\r\n" % n, body_hash(b""), DOMAIN, (RSA_KEY,), AT) for n in range(8)]
    theirs = [structs.replace(letter, keys=(broken,)) for letter in mine]

    assert sign(theirs) == sign(mine)
    assert ("sign.batch_failed" in capfd.readouterr().out) == (broken.batch is not None)
