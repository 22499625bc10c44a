"""Attachments of POST /v1/messages: base64 as programs write it, faults with their place, memory."""

from __future__ import annotations

import base64
import json
import os
import tracemalloc
from collections.abc import AsyncIterator
from dataclasses import replace
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from mailer.accept.budget import ByteBudget
from mailer.accept.http.app import create_app
from mailer.accept.http.body import BodyLimits
from mailer.config import Settings
from mailer.store import Store
from mailer.store.tables import content
from tests.accept.http.conftest import LETTER, Door, Keyring, bearer, working_parts
from tests.accept.http.test_send import fault_of

MIB = 1024 * 1024
HELLO = base64.b64encode(b"hello").decode()


def stored(store: Store) -> EmailMessage:
    """The message that lies in the database."""
    with store.read() as c:
        row = c.execute(select(content.c.headers, content.c.body)).one()
    message = message_from_bytes(row.headers + b"\r\n" + row.body, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def attaching(*files: dict[str, Any]) -> dict[str, Any]:
    return {**LETTER, "attachments": list(files)}


async def test_a_file_arrives_as_it_was_given(door: Door) -> None:
    answer = await door.send(attaching({"filename": "Grüße.txt", "content": HELLO}))

    [file] = stored(door.room.store).iter_attachments()
    assert answer.status_code == 202
    assert (file.get_filename(), file.get_content()) == ("Grüße.txt", "hello")


async def test_an_image_is_shown_in_the_html(door: Door) -> None:
    image = {"filename": "logo.png", "content": HELLO, "content_id": "logo"}

    answer = await door.send({**attaching(image), "html": '<img src="cid:logo">'})

    assert answer.status_code == 202
    message = stored(door.room.store)
    assert [p.get_content_type() for p in message.walk()] == [
        "multipart/alternative", "text/plain", "multipart/related", "text/html", "image/png",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("written", "what"),
    [
        (b"aGVsbG8/Pz8+", "as RFC 4648 has it"),
        (b"aGVsbG8_Pz8-", "base64url"),
        (rb"aGVsbG8\/Pz8+", "PHP: json_encode"),
        (rb"aGVsbG8/Pz8\u002B", ".NET: System.Text.Json"),
        (rb"aGVs\nbG8/\nPz8+\n", "Ruby: Base64.encode64; Python: encodebytes"),
        (rb"aGVs\r\nbG8/\r\nPz8+", "PHP: chunk_split"),
        (b" aGVsbG8/ Pz8+", "pasted"),
    ],
)
async def test_base64_is_taken_as_programs_write_it(door: Door, written: bytes, what: str) -> None:
    body = (
        json.dumps(attaching({"filename": "a.bin", "content": "?"}))
        .encode()
        .replace(b'"?"', b'"%b"' % written)
    )

    answer = await door.client.post(
        "/v1/messages", content=body, headers={"content-type": "application/json"}
    )

    [file] = stored(door.room.store).iter_attachments()
    assert answer.status_code == 202, what
    assert file.get_content() == b"hello???>"


@pytest.mark.parametrize(("text", "octets"), [("", b""), ("YQ", b"a"), ("YWI", b"ab"), ("YQ==", b"a")])
async def test_padding_may_lack(door: Door, text: str, octets: bytes) -> None:
    await door.send(attaching({"filename": "a.bin", "content": text}))

    [file] = stored(door.room.store).iter_attachments()
    assert file.get_content() == octets


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"content": "aGVsbG8!"}, "/attachments/1/content"),
        ({"content": "aGVsbG8=YQ=="}, "/attachments/1/content"),
        ({"content": "Y"}, "/attachments/1/content"),
        ({"content": "YQ="}, "/attachments/1/content"),
        ({"content": "Y=Q="}, "/attachments/1/content"),
        ({"content": "aGVsbÖ8="}, "/attachments/1/content"),
        ({"content": "data:text/plain;base64,aGVsbG8="}, "/attachments/1/content"),
        ({"content": "\\"}, "/attachments/1/content"),
        ({"content": 5}, "/attachments/1/content"),
        ({"content": None}, "/attachments/1/content"),
        ({"content": ["YQ=="]}, "/attachments/1/content"),
        ({"filename": "a\r\nBcc: eve@example.org"}, "/attachments/1/filename"),
        ({"filename": "a\u2028b"}, "/attachments/1/filename"),
        ({"filename": ""}, "/attachments/1/filename"),
        ({"filename": "x" * 256}, "/attachments/1/filename"),
        ({"filename": None}, "/attachments/1/filename"),
        ({"content_type": "pdf"}, "/attachments/1/content_type"),
        ({"content_type": "text/plain\r\nBcc: eve@example.org"}, "/attachments/1/content_type"),
        ({"content_type": "multipart/mixed"}, "/attachments/1/content_type"),
        ({"content_type": "message/partial"}, "/attachments/1/content_type"),
        ({"content_type": "message/rfc822", "content": "/w=="}, "/attachments/1/content"),
        ({"content_id": "a b"}, "/attachments/1/content_id"),
        ({"content_id": "twice"}, "/attachments/1/content_id"),
        ({"content_id": "<twice>"}, "/attachments/1/content_id"),
        ({"content_id": "x" * 300}, "/attachments/1/content_id"),
        ({"disposition": "hidden"}, "/attachments/1/disposition"),
        ({"path": "/etc/passwd"}, "/attachments/1/path"),
    ],
)
async def test_a_fault_has_its_place(door: Door, change: dict[str, Any], pointer: str) -> None:
    first = {"filename": "a.txt", "content": HELLO, "content_id": "twice"}

    answer = await door.send(attaching(first, {"filename": "b.txt", "content": HELLO, **change}))

    assert fault_of(answer) == (422, "invalid-field", pointer)
    assert "eve@" not in answer.text
    assert door.room.claim() == []


async def test_more_files_than_anybody_means_are_refused(door: Door) -> None:
    file = {"filename": "a.txt", "content": ""}

    most, more = await door.send(attaching(*[file] * 100)), await door.send(attaching(*[file] * 101))

    assert most.status_code == 202
    assert fault_of(more) == (422, "invalid-field", "/attachments")


async def test_files_count_as_they_are_sent(door: Door) -> None:
    """The limit here is 128 KiB; 100 KiB are 137 in base64."""
    octets = base64.b64encode(bytes(100 * 1024)).decode()

    answer = await door.send(attaching({"filename": "a.bin", "content": octets}))

    assert fault_of(answer)[:2] == (413, "message-too-large")


# ---- large ones


async def request_with(filename: str, octets: bytes, *, escape: bool) -> AsyncIterator[bytes]:
    """A request in pieces, so that whoever sends it holds it no second time."""
    envelope = json.dumps(attaching({"filename": filename, "content": "?"}))
    head, tail = envelope.encode().split(b"?")
    yield head
    for start in range(0, len(octets), 48 * 1024):
        piece = base64.b64encode(octets[start : start + 48 * 1024])
        yield piece.replace(b"/", b"\\/") if escape else piece
    yield tail


async def length_of(pieces: AsyncIterator[bytes]) -> int:
    return sum([len(piece) async for piece in pieces])


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("escape", [True, False])
async def test_a_large_file_stands_in_memory_less_than_three_times(
    keyring: Keyring, tmp_path: Path, declared: bool, escape: bool
) -> None:
    """20 MB: as JSON 27, decoded 20, as sent 27; never all three, nor one of them twice."""
    octets = os.urandom(20_000_000)
    headers = {**bearer(keyring.issue()), "content-type": "application/json", "idempotency-key": "k"}
    if declared:
        headers["content-length"] = str(await length_of(request_with("a.bin", octets, escape=escape)))
    with working_parts(keyring.room, tmp_path, ring=lambda: None, message_bytes=36 * MIB) as parts:
        roomy = replace(parts, body_limits=BodyLimits(request_bytes=40 * MIB), budget=ByteBudget(256 * MIB))
        transport = httpx.ASGITransport(app=create_app(roomy))
        async with httpx.AsyncClient(transport=transport, base_url="http://mailer.test") as client:
            await client.post("/v1/messages", json=LETTER, headers=bearer(keyring.issue()))
            tracemalloc.start()
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            request = request_with("a.bin", octets, escape=escape)
            answer = await client.post("/v1/messages", content=request, headers=headers)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()

    assert answer.status_code == 202
    assert peak - before < 3 * len(octets)


async def test_the_largest_message_fits_through_the_largest_request(keyring: Keyring, tmp_path: Path) -> None:
    """By default 36 MiB as sent and 40 MiB a request: who is refused is refused for the message's size."""
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    message_bytes = defaults["max_message_mb"] * MIB
    # Lines of base64 are 76 characters of three quarters as many octets, and a line end.
    octets = bytes((message_bytes - 2000) * 57 // 78)
    with working_parts(keyring.room, tmp_path, ring=lambda: None, message_bytes=message_bytes) as parts:
        roomy = replace(
            parts,
            body_limits=BodyLimits(request_bytes=defaults["max_request_mb"] * MIB),
            budget=ByteBudget(defaults["byte_budget_mb"] * MIB),
        )
        transport = httpx.ASGITransport(app=create_app(roomy))
        async with httpx.AsyncClient(transport=transport, base_url="http://mailer.test") as client:
            answers = [
                await client.post(
                    "/v1/messages",
                    content=request_with("a.bin", file, escape=False),
                    headers={**bearer(keyring.issue()), "content-type": "application/json"},
                )
                for file in (octets, octets + bytes(3000))
            ]

    with keyring.room.store.read() as c:
        size = c.execute(select(content.c.size_bytes)).scalar_one()
    assert answers[0].status_code == 202
    assert message_bytes - 2000 < size <= message_bytes
    assert fault_of(answers[1])[:2] == (413, "message-too-large")
