"""Which messages offer to unsubscribe, by HTTP: the stream's kind, the message's wish, and its own fields."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from mailer import clock
from mailer.accept.http.app import HttpParts
from mailer.compose.bodyurl import STAND_IN
from mailer.compose.subscriber import read_token
from mailer.compose.unsubscribe import Links
from mailer.queue import bodies
from mailer.store.tables import content, message, recipient, stream
from tests.accept.http.conftest import LETTER, Door, Keyring, working_parts

SECRET = bytes(range(32))
URL = "https://mail.acme.example"
LINKS = Links(URL, [SECRET], by_mail=True)
OWN = {"List-Unsubscribe": "<https://acme.example/u>"}
ONE_CLICK = {"List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}
PLACE = "{{unsubscribe_url}}"


@pytest.fixture
def links() -> Links:
    return LINKS


@pytest.fixture
def parts(keyring: Keyring, tmp_path: Path, rings: list[None], links: Links) -> Iterator[HttpParts]:
    with working_parts(keyring.room, tmp_path, ring=lambda: rings.append(None), links=links) as working:
        yield working


@pytest.fixture
def door(door: Door) -> Door:
    door.furnished_key(streams=("news",))
    return door


def offered(door: Door) -> list[str | None]:
    with door.room.store.read() as c:
        return list(c.execute(select(message.c.unsubscribe).order_by(message.c.id)).scalars())


def urls_of(door: Door, shown: str) -> dict[str, str]:
    """Address -> URL in the body of its message."""
    with door.room.store.read() as c:
        rows = c.execute(
            select(recipient.c.id, recipient.c.address, message.c.content_id).join(
                message, message.c.id == recipient.c.message_id
            )
        ).all()
    found = {}
    for row in rows:
        body = bodies.load(door.room.store, [row.content_id])[row.content_id].body.decode()
        if f"{URL}/u/" in body:
            token = body.partition(f"{URL}/u/")[2].partition(shown)[0].replace("=\r\n", "")
            whom = read_token(token, [SECRET])
            assert whom is not None
            assert (whom.recipient_id, whom.tenant_id) == (row.id, door.room.tenant_id)
            found[row.address] = whom.address
    return found


@pytest.mark.parametrize(
    ("given", "unsubscribe"),
    [
        ({}, None),
        ({"unsubscribe": True}, "link"),
        ({"unsubscribe": False}, None),
        ({"stream": "news"}, "link"),
        ({"stream": "news", "unsubscribe": True}, "link"),
        ({"stream": "news", "headers": OWN}, None),
        ({"stream": "news", "headers": {**OWN, **ONE_CLICK}}, None),
        ({"headers": {**OWN, **ONE_CLICK}}, None),
    ],
)
async def test_broadcast_mail_offers_it_and_other_mail_when_asked(
    door: Door, given: dict[str, Any], unsubscribe: str | None
) -> None:
    answer = await door.send({**LETTER, **given})

    assert answer.status_code == 202
    assert offered(door) == [unsubscribe]


@pytest.mark.parametrize(
    ("given", "pointer"),
    [
        ({"stream": "news", "unsubscribe": False}, "/unsubscribe"),
        ({"unsubscribe": True, "headers": OWN}, "/unsubscribe"),
        ({"headers": ONE_CLICK}, "/headers"),
        ({"stream": "news", "headers": ONE_CLICK}, "/headers"),
        ({"headers": {"List-Unsubscribe": "<mailto:u@acme.example>", **ONE_CLICK}}, "/headers"),
        ({"unsubscribe": "yes"}, "/unsubscribe"),
        ({"stream": "news", "text": PLACE, "cc": "bob@example.org"}, "/to"),
    ],
)
async def test_what_cannot_be_is_refused_with_its_place(
    door: Door, given: dict[str, Any], pointer: str
) -> None:
    answer = await door.send({**LETTER, **given})

    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-field")
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert offered(door) == []


async def test_a_stream_may_refuse_fields_of_a_messages_own(door: Door) -> None:
    with door.room.store.write() as c:
        c.execute(update(stream).where(stream.c.name == "news").values(own_unsubscribe="refuse"))

    answer = await door.send({**LETTER, "stream": "news", "headers": OWN})
    without = await door.send({**LETTER, "stream": "news"})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/headers"
    assert without.status_code == 202


@pytest.mark.parametrize(
    "words",
    [
        {"text": f"Leave: {PLACE} ."},
        {"text": "x", "html": f'<p><a href="{PLACE}">leave</a></p>', "inline_css": True},
        {"text": None, "html": f'<p><a href="{PLACE}">leave</a></p>', "auto_text": True},
    ],
)
async def test_a_literal_body_of_broadcast_mail_has_its_recipients_url(door: Door, words: Any) -> None:
    answer = await door.send({**LETTER, "stream": "news", **words})

    assert answer.status_code == 202
    assert set(urls_of(door, _end(words))) == {"ada@example.org"}


def _end(words: Any) -> str:
    return ">" if words.get("auto_text") else '"' if words.get("html") else " "


async def test_a_template_has_the_url_and_each_copy_of_a_batch_its_own(door: Door) -> None:
    body = {
        "message": {"from": "shop@acme.example", "stream": "news", "subject": "hi {{name}}",
                    "text": "Leave: {{ unsubscribe_url }} ."},
        "recipients": [{"to": f"{name}@example.org", "data": {"name": name}} for name in ("ada", "bob")],
    }  # fmt: skip

    answer = await door.client.post("/v1/messages/batch", json=body)

    assert answer.json()["accepted"] == 2
    found = urls_of(door, " ")
    assert found == {"ada@example.org": "ada@example.org", "bob@example.org": "bob@example.org"}


async def test_data_of_the_senders_own_goes_before(door: Door) -> None:
    body = {
        "message": {"from": "shop@acme.example", "subject": "hi", "text": "{{unsubscribe_url}}"},
        "recipients": [{"to": "ada@example.org", "data": {"unsubscribe_url": "https://acme.example/own"}}],
    }

    answer = await door.client.post("/v1/messages/batch", json=body)

    assert answer.json()["accepted"] == 1
    with door.room.store.read() as c:
        assert b"https://acme.example/own" in c.execute(select(content.c.body)).scalar_one()


@pytest.mark.parametrize("subject", ["hi", "{{unsubscribe_url}}"])
async def test_a_template_that_speaks_of_it_needs_mail_that_offers_it(door: Door, subject: str) -> None:
    stream_name = "transactional" if subject == "hi" else "news"
    body = {
        "message": {"from": "shop@acme.example", "subject": subject, "text": PLACE, "stream": stream_name},
        "recipients": [{"to": "ada@example.org"}],
    }

    answer = await door.client.post("/v1/messages/batch", json=body)

    [result] = answer.json()["results"]
    assert result["problem"]["type"] == "/problems/template-failed"


async def test_transactional_mail_may_speak_of_the_words_themselves(door: Door) -> None:
    answer = await door.send({**LETTER, "text": f"write {PLACE} into it"})

    assert answer.status_code == 202
    with door.room.store.read() as c:
        assert PLACE.encode() in c.execute(select(content.c.body)).scalar_one()


async def test_a_whole_message_has_its_url_too(door: Door) -> None:
    raw = (
        "From: shop@acme.example\r\nTo: ada@example.org\r\nX-Mailer-Stream: news\r\n"
        f"Content-Type: text/plain\r\n\r\nLeave: {PLACE} .\r\n"
    )

    answer = await door.client.post(
        "/v1/messages/raw", content=raw, headers={"Content-Type": "message/rfc822"}
    )

    assert answer.status_code == 202
    assert urls_of(door, " ") == {"ada@example.org": "ada@example.org"}


async def test_of_a_whole_message_the_header_field_at_fault_is_named(door: Door) -> None:
    head = "From: shop@acme.example\r\nTo: ada@example.org\r\nX-Mailer-Stream: news\r\n"
    fields = {
        "X-Mailer-Unsubscribe: no": "X-Mailer-Unsubscribe",
        "List-Unsubscribe-Post: List-Unsubscribe=One-Click": "List-Unsubscribe-Post",
    }

    found = {}
    for field in fields:
        answer = await door.client.post(
            "/v1/messages/raw", content=f"{head}{field}\r\n\r\nhi", headers={"Content-Type": "message/rfc822"}
        )
        assert answer.status_code == 422
        found[field] = answer.json()["errors"][0]["header"]
    assert found == fields


@pytest.mark.parametrize("links", [Links(None, [SECRET], by_mail=False)])
async def test_without_a_public_url_what_needs_it_is_refused_and_broadcast_mail_is_warned_of(
    door: Door,
) -> None:
    asked = await door.send({**LETTER, "unsubscribe": True})
    spoken = await door.send({**LETTER, "stream": "news", "text": PLACE})
    plain = await door.send({**LETTER, "stream": "news"})
    tried = await door.client.post("/v1/messages/validate", json={**LETTER, "stream": "news"})

    assert (asked.status_code, spoken.status_code, plain.status_code) == (422, 422, 202)
    assert "MAILER_PUBLIC_URL" in asked.json()["detail"]
    assert [w["warning"] for w in tried.json()["warnings"]] == ["broadcast-without-unsubscribe"]


async def test_a_dry_run_finds_what_sending_would(door: Door) -> None:
    good = await door.client.post(
        "/v1/messages/validate", json={**LETTER, "stream": "news", "text": f"Leave: {PLACE}"}
    )
    bad = await door.client.post(
        "/v1/messages/validate",
        json={**LETTER, "stream": "news", "text": PLACE, "to": ["a@example.org", "b@example.org"]},
    )

    assert (good.json()["valid"], good.json()["warnings"]) == (True, [])
    assert STAND_IN not in good.text
    assert not bad.json()["valid"]
    assert offered(door) == []


async def test_the_first_message_of_a_stream_costs_a_question_and_no_other(door: Door) -> None:
    for _ in range(2):
        answer = await door.send({**LETTER, "stream": "news", "text": f"{PLACE} ."})
        assert answer.status_code == 202

    assert offered(door) == ["link", "link"]
    assert clock.now() is not None
