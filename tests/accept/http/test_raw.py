"""POST /v1/messages/raw: the octets are kept, the envelope is found, and what cannot be sent says why."""

from __future__ import annotations

import base64
import re
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from mailer import clock
from mailer.store import Store
from mailer.store.tables import content, message, recipient
from tests.accept.http.conftest import Door, bearer
from tests.accept.http.test_send import fault_of

HEAD = b"From: Shop <shop@acme.example>\r\nTo: Ada <ada@example.org>\r\nSubject: hello\r\n"
DATED = b"Date: Mon, 09 Mar 2026 12:00:00 +0000\r\nMessage-ID: <1@acme.example>\r\n"
LETTER = HEAD + DATED + b"\r\nhi  \r\n\r\n"


async def post(door: Door, letter: bytes = LETTER, *fields: tuple[str, str]) -> httpx.Response:
    headers = [("Content-Type", "message/rfc822"), *fields]
    return await door.client.post("/v1/messages/raw", content=letter, headers=headers)


async def post_json(door: Door, letter: bytes = LETTER, **envelope: Any) -> httpx.Response:
    body = {"message": base64.b64encode(letter).decode(), **envelope}
    return await door.client.post("/v1/messages/raw", json=body)


def stored(store: Store) -> tuple[bytes, bytes]:
    """Headers below our Received field, and body."""
    with store.read() as c:
        row = c.execute(select(content.c.headers, content.c.body)).one()
    received, rest = re.fullmatch(rb"(Received: .*?\r\n)(?![ \t])(.*)", row.headers, re.DOTALL).groups()  # type: ignore[union-attr]
    assert b"with HTTP id msg_" in received
    return rest, row.body


def envelope_of(store: Store) -> tuple[str, list[tuple[str, str]]]:
    with store.read() as c:
        mail_from = c.execute(select(message.c.mail_from)).scalar_one()
        people = c.execute(select(recipient.c.address, recipient.c.kind).order_by(recipient.c.id)).all()
    return mail_from, [(address, kind) for address, kind in people]


# ---- what is sent


async def test_the_octets_are_kept(door: Door) -> None:
    answer = await post(door)

    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/messages/{answer.json()['id']}"
    assert stored(door.room.store) == (HEAD + DATED, b"hi  \r\n\r\n")
    assert len(door.rings) == 1


async def test_what_is_missing_is_added_and_what_nobody_may_see_goes(door: Door) -> None:
    await post(
        door, HEAD + b"Bcc: eve@example.org\r\nReturn-Path: <x@y.example>\r\nX-Mailer-Tags: a\r\n\r\nhi\r\n"
    )

    headers, _ = stored(door.room.store)
    assert headers.startswith(HEAD + b"Date: ")
    assert b"Message-ID: <msg_" in headers
    assert not re.search(rb"(?i)bcc|return-path|x-mailer", headers)


async def test_octets_above_127_are_kept(door: Door) -> None:
    letter = LETTER.replace(b"hello", "grüße".encode()) + b"gr\xfc\xdfe\r\n"

    answer = await post(door, letter)

    assert answer.status_code == 202
    headers, body = stored(door.room.store)
    assert ("Subject: grüße\r\n".encode() in headers, body) == (True, b"hi  \r\n\r\ngr\xfc\xdfe\r\n")


async def test_a_file_with_line_feeds_gets_whole_line_ends(door: Door) -> None:
    answer = await post(door, LETTER.replace(b"\r\n", b"\n"))

    assert answer.status_code == 202
    assert stored(door.room.store) == (HEAD + DATED, b"hi  \r\n\r\n")


async def test_json_carries_the_same_message(door: Door) -> None:
    people = [f"user{n}@example.org" for n in range(10)]

    answer = await post_json(door, mail_from="app@acme.example", rcpt_to=people)

    assert [r["address"] for r in answer.json()["recipients"]] == people
    assert stored(door.room.store) == (HEAD + DATED, b"hi  \r\n\r\n")
    assert envelope_of(door.room.store) == ("app@acme.example", [(p, "to") for p in people])


async def test_its_own_fields_steer_it(door: Door) -> None:
    later = clock.now() + timedelta(hours=1)
    said = f"X-Mailer-Stream: transactional\r\nX-Mailer-Tags: a, b\r\nX-Mailer-Metadata: order=4711\r\n" \
           f"X-Mailer-Send-At: {later.isoformat()}\r\n"  # fmt: skip

    answer = await post(door, said.encode() + LETTER)

    seen = (await door.get(answer.headers["location"])).json()
    assert (seen["stream"], seen["tags"], seen["metadata"]) == (
        "transactional",
        ["a", "b"],
        {"order": "4711"},
    )
    assert seen["recipients"][0]["wait_reason"] == "scheduled"


# ---- the envelope


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (("bob@x.example",), ["bob@x.example"]),
        (("bob@x.example, Eve <eve@x.example>",), ["bob@x.example", "eve@x.example"]),
        (("bob@x.example", '"Doe, Jo" <jo@x.example>'), ["bob@x.example", "jo@x.example"]),
        (("bob@x.example,bob@X.example",), ["bob@x.example"]),
        (("<max@b\u00fccher.example>",), ["max@xn--bcher-kva.example"]),
        (("old@x.example <new@x.example>",), ["new@x.example"]),
    ],
)
async def test_recipients_stand_in_header_fields(
    door: Door, fields: tuple[str, ...], expected: list[str]
) -> None:
    headers = [(b"content-type", b"message/rfc822"), *((b"x-mailer-rcpt-to", f.encode()) for f in fields)]

    await door.client.post("/v1/messages/raw", content=LETTER, headers=headers)

    assert envelope_of(door.room.store) == ("shop@acme.example", [(address, "to") for address in expected])


async def test_without_an_envelope_the_header_tells_whom_it_is_for(door: Door) -> None:
    """As sendmail -t has it."""
    copies = b"Cc: Team: bob@x.example, Carol <carol@x.example>;, ada@example.org\r\n"
    blind = b"Bcc: eve@x.example,\r\n dan@x.example\r\n"

    await post(door, copies + blind + LETTER)

    assert envelope_of(door.room.store)[1] == [
        ("ada@example.org", "to"),
        ("bob@x.example", "cc"),
        ("carol@x.example", "cc"),
        ("eve@x.example", "bcc"),
        ("dan@x.example", "bcc"),
    ]


@pytest.mark.parametrize(
    ("given", "mail_from"),
    [("app@acme.example", "app@acme.example"), ("App <a@x.example>", "a@x.example"), ("", ""), ("<>", "")],
)
async def test_the_reverse_path_may_be_anybody_or_nobody(door: Door, given: str, mail_from: str) -> None:
    by_field = await post(door, LETTER, ("X-Mailer-Mail-From", given))

    assert by_field.status_code == 202
    assert envelope_of(door.room.store)[0] == mail_from


@pytest.mark.parametrize("given", ["", "<>", "app@acme.example"])
async def test_json_names_the_reverse_path_too(door: Door, given: str) -> None:
    await post_json(door, mail_from=given)

    assert envelope_of(door.room.store)[0] == given.strip("<>")


async def test_the_sender_is_who_sends(door: Door) -> None:
    await post(door, b"Sender: desk@acme.example\r\n" + LETTER)

    assert envelope_of(door.room.store)[0] == "desk@acme.example"


# ---- what is refused

MALFORMED = "malformed-message"
INVALID = "invalid-field"


def place_of(answer: httpx.Response) -> tuple[int, str, str | None]:
    """Status, type and header field at fault."""
    status, fault, _ = fault_of(answer)
    [error] = answer.json().get("errors", [{}])
    return status, fault, error.get("header")


@pytest.mark.parametrize(
    ("letter", "status", "fault", "header"),
    [
        (LETTER + b"a\nb\r\n", 422, MALFORMED, None),
        (LETTER + b"a\rb\r\n", 422, MALFORMED, None),
        (LETTER.replace(b"\r\n", b"\n") + b"a\rb\n", 422, MALFORMED, None),
        (LETTER.replace(b"\r\n", b"\r"), 422, MALFORMED, None),
        (LETTER + b"\0", 422, MALFORMED, None),
        (LETTER + b"x" * 999, 422, MALFORMED, None),
        (b"no field\r\n" + LETTER, 422, MALFORMED, None),
        (b"", 422, MALFORMED, "From"),
        (b"From: a@acme.example\r\n" + LETTER, 422, MALFORMED, "From"),
        (b"X-Mailer-Steam: broadcast\r\n" + LETTER, 422, MALFORMED, "X-Mailer-Steam"),
        (b"X-Mailer-Rcpt-To: bob@x.example\r\n" + LETTER, 422, MALFORMED, "X-Mailer-Rcpt-To"),
        (b"X-Mailer-Send-At: soon\r\n" + LETTER, 422, MALFORMED, "X-Mailer-Send-At"),
        (b"X-Mailer-Send-At: 2090-01-01T00:00:00Z\r\n" + LETTER, 422, INVALID, "X-Mailer-Send-At"),
        (b"X-Mailer-Expires-At: 2020-01-01T00:00:00Z\r\n" + LETTER, 422, INVALID, "X-Mailer-Expires-At"),
        (b"X-Mailer-Stream: other\r\n" + LETTER, 422, "unknown-stream", "X-Mailer-Stream"),
        (b"Received: by a.example\r\n" * 51 + LETTER, 422, MALFORMED, "Received"),
        (
            b"Received: by mailer.example.net with HTTP id msg_0123456789abc; x\r\n" + LETTER,
            422, MALFORMED, "Received",
        ),
        (LETTER.replace(b"shop@acme", b"ceo@globex"), 403, "from-not-allowed", "From"),
        (b"Sender: ceo@globex.example\r\n" + LETTER, 403, "from-not-allowed", "From"),
        (LETTER.replace(b"To: Ada <ada@example.org>", b"To: Ada"), 422, MALFORMED, "To"),
        (LETTER.replace(b"To: Ada <ada@example.org>", b"To: hidden:;"), 422, "no-recipients", "To"),
        (b"Resent-To: eve@x.example\r\n" + LETTER, 422, MALFORMED, None),
        (b"Cc: " + b", ".join(b"u%d@x.example" % n for n in range(10)) + b"\r\n" + LETTER,
         422, "too-many-recipients", "To"),
        (LETTER + b"x\r\n" * 50_000, 413, "message-too-large", None),
    ],
)  # fmt: skip
async def test_what_cannot_be_sent_says_why(
    door: Door, letter: bytes, status: int, fault: str, header: str | None
) -> None:
    answer = await post(door, letter)

    assert place_of(answer) == (status, fault, header)
    assert door.room.claim() == []


@pytest.mark.parametrize(
    ("fields", "fault", "header"),
    [
        ([("X-Mailer-Rcpt-To", "nobody")], INVALID, "X-Mailer-Rcpt-To"),
        ([("X-Mailer-Rcpt-To", "a@x.example; b@x.example")], INVALID, "X-Mailer-Rcpt-To"),
        ([("X-Mailer-Rcpt-To", "")], "no-recipients", "X-Mailer-Rcpt-To"),
        (
            [("X-Mailer-Rcpt-To", f"u{n}@x.example") for n in range(11)],
            "too-many-recipients",
            "X-Mailer-Rcpt-To",
        ),
        ([("X-Mailer-Mail-From", "nobody")], INVALID, "X-Mailer-Mail-From"),
        ([("X-Mailer-Mail-From", "a@x.example")] * 2, INVALID, "X-Mailer-Mail-From"),
    ],
)  # fmt: skip
async def test_an_envelope_that_is_none_is_refused(
    door: Door, fields: list[tuple[str, str]], fault: str, header: str
) -> None:
    answer = await post(door, LETTER, *fields)

    assert place_of(answer) == (422, fault, header)


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"message": "?"}, "/message"),
        ({"message": None}, "/message"),
        ({"rcpt_to": "ada@example.org"}, "/rcpt_to"),
        ({"rcpt_to": ["ada@example.org", "nobody"]}, "/rcpt_to/1"),
        ({"rcpt_to": []}, "/rcpt_to"),
        ({"rcpt_to": ["ada@example.org"] * 11}, "/rcpt_to"),
        ({"mail_from": "nobody"}, "/mail_from"),
        ({"mail_form": ""}, "/mail_form"),
        ({"message": base64.b64encode(b"To: a@x.example\r\n\r\n").decode()}, "/message"),
        ({"message": base64.b64encode(LETTER.replace(b"acme", b"globex")).decode()}, "/message"),
    ],
)
async def test_a_fault_in_json_has_its_place(door: Door, change: dict[str, Any], pointer: str) -> None:
    answer = await post_json(door, **change)

    assert fault_of(answer)[2] == pointer
    assert door.room.claim() == []


async def test_other_media_types_are_refused(door: Door) -> None:
    answer = await door.client.post(
        "/v1/messages/raw", content=LETTER, headers={"content-type": "text/plain"}
    )

    assert fault_of(answer)[:2] == (415, "unsupported-media-type")


async def test_a_key_without_the_scope_is_refused(door: Door) -> None:
    reader = door.keyring.issue(scopes=("read",))

    answer = await post(door, LETTER, *bearer(reader).items())

    assert fault_of(answer)[:2] == (403, "forbidden")


async def test_another_tenant_may_not_send_as_us(door: Door) -> None:
    theirs = door.keyring.issue(to=door.keyring.globex)

    answer = await post(door, LETTER, *bearer(theirs).items())

    assert place_of(answer) == (403, "from-not-allowed", "From")


async def test_a_refusal_leaves_one_rejected_event(door: Door) -> None:
    await post(door, LETTER + b"\0")
    await post(door)
    door.number_events()

    told = (await door.get("/v1/events")).json()["events"]
    assert [e["type"] for e in told] == ["rejected", "accepted"]
    assert told[0]["data"]["fault"] == MALFORMED


# ---- repeats

KEY = ("Idempotency-Key", "k-1")


@pytest.mark.parametrize("letter", [LETTER, b"X-Mailer-Idempotency-Key: k-1\r\n" + LETTER])
async def test_a_repeat_gets_the_first_answer(door: Door, letter: bytes) -> None:
    fields = [KEY] if letter is LETTER else []

    first, second = await post(door, letter, *fields), await post(door, letter, *fields)

    assert first.content == second.content
    assert second.headers["idempotent-replayed"] == "true"
    assert len(door.room.claim()) == 1


async def test_the_same_message_to_somebody_else_is_no_repeat(door: Door) -> None:
    await post(door, LETTER, KEY, ("X-Mailer-Rcpt-To", "ada@example.org"))

    answer = await post(door, LETTER, KEY, ("X-Mailer-Rcpt-To", "bob@example.org"))

    assert fault_of(answer)[:2] == (422, "idempotency-key-reused")


async def test_two_keys_for_one_message_are_refused(door: Door) -> None:
    answer = await post(door, b"X-Mailer-Idempotency-Key: k-2\r\n" + LETTER, KEY)

    assert place_of(answer) == (422, INVALID, "Idempotency-Key")
