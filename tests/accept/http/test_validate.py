"""POST /v1/messages/validate: all that is wrong at once, what would be sent, and nothing is written."""

from __future__ import annotations

import base64
from datetime import timedelta
from email import message_from_bytes, policy
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from mailer import clock
from mailer.store import tables
from tests.accept.http.conftest import LETTER, Door, bearer
from tests.accept.http.test_send import fault_of

FILE = {"filename": "a.pdf", "content": base64.b64encode(b"%PDF" * 60).decode()}


async def validate(door: Door, body: Any = LETTER, **headers: str) -> httpx.Response:
    return await door.client.post("/v1/messages/validate", json=body, headers=headers)


async def finding(door: Door, **change: Any) -> dict[str, Any]:
    answer = await validate(door, {**LETTER, **change})
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def places(found: dict[str, Any]) -> list[str]:
    return [problem["pointer"] for problem in found["problems"]]


def words(found: dict[str, Any]) -> list[str]:
    return [warning["warning"] for warning in found["warnings"]]


def broadcast(door: Door) -> None:
    with door.room.store.write() as c:
        c.execute(
            tables.stream.insert().values(
                id=door.room.new_id(), tenant_id=door.room.tenant_id, name="news", kind="broadcast",
                in_doubt="retry", created_at=clock.now(),
            )
        )  # fmt: skip


# ---- what would be sent


async def test_it_tells_what_would_be_sent(door: Door) -> None:
    later = clock.now() + timedelta(hours=1)
    found = await finding(
        door, to=["Ada <ada@example.org>"], bcc="max@bücher.example", html="<p>hi</p>", tags=["a"],
        metadata={"order": "1"}, attachments=[FILE], send_at=later.isoformat(),
    )  # fmt: skip

    message = found["message"]
    assert (found["valid"], found["problems"], found["warnings"]) == (True, [], [])
    assert message["from"] == "shop@acme.example"
    assert message["recipients"] == [
        {"address": "ada@example.org", "kind": "to", "domain": "example.org"},
        {"address": "max@xn--bcher-kva.example", "kind": "bcc", "domain": "xn--bcher-kva.example"},
    ]
    assert (message["stream"], message["subject"], message["tags"]) == ("transactional", "hello", ["a"])
    assert "To: Ada <ada@example.org>\r\n" in message["headers"]
    assert "cher" not in message["headers"]
    assert [(p["content_type"], p.get("filename")) for p in message["parts"]] == [
        ("text/plain", None), ("text/html", None), ("application/pdf", "a.pdf"),
    ]  # fmt: skip
    assert message["due_at"] == later.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert message["expires_at"] is None
    assert message["dkim"]["domain"] == "acme.example"


async def test_it_foresees_what_sending_then_makes(door: Door) -> None:
    change = {"html": "<p>Grüße</p>", "attachments": [FILE], "subject": "Grüße"}

    message = (await finding(door, **change))["message"]
    await door.send({**LETTER, **change})

    with door.room.store.read() as c:
        row = c.execute(select(tables.content)).one()
    sent = message_from_bytes(row.headers + b"\r\n" + row.body, policy=policy.default)
    foreseen = message_from_bytes(message["headers"].encode(), policy=policy.default)
    assert message["size_bytes"] == row.size_bytes
    assert foreseen.keys() == sent.keys()
    assert foreseen["subject"] == sent["subject"]
    sizes = [len(p.get_payload()) for p in sent.walk() if not p.is_multipart()]  # type: ignore[arg-type]
    assert [p["size_bytes"] for p in message["parts"]] == sizes


async def test_the_selectors_are_those_of_the_active_keys(door: Door) -> None:
    with door.room.store.write() as c:
        domain_id = c.execute(
            select(tables.sending_domain.c.id).where(tables.sending_domain.c.name == "acme.example")
        ).scalar_one()
        for selector, state in (("s1", "active"), ("s2", "retired")):
            c.execute(
                tables.dkim_key.insert().values(
                    id=door.room.new_id(), domain_id=domain_id, selector=selector, algorithm="rsa-sha256",
                    private_key=b"", public_key="", state=state, created_at=clock.now(),
                )
            )  # fmt: skip

    message = (await finding(door))["message"]

    assert message["dkim"]["selectors"] == ["s1"]


# ---- what is wrong


async def test_it_tells_all_that_is_wrong_at_once(door: Door) -> None:
    found = await finding(
        door,
        **{"from": "nobody"},
        to=["ada@example.org", "nobody", "a@", "b@x.example"],
        cc="c@@x.example",
        reply_to=["x"],
        subject="a\nb",
        headers={"X-Ok": "1", "Bcc": "eve@x.example", "X-Bad": "a\nb"},
        attachments=[FILE, {**FILE, "content": "?"}, {**FILE, "filename": "a\nb"}],
        stream="other",
        send_at="2090-01-01T00:00:00Z",
        expires_at="2020-01-01T00:00:00Z",
    )

    assert (found["valid"], found["message"]) == (False, None)
    assert places(found) == [
        "/to/1", "/to/2", "/cc", "/from", "/reply_to/0", "/subject", "/headers/Bcc", "/headers/X-Bad",
        "/attachments/1/content", "/attachments/2/filename", "/send_at", "/expires_at", "/stream",
    ]  # fmt: skip
    assert {p["type"] for p in found["problems"]} == {"/problems/invalid-field", "/problems/unknown-stream"}
    assert all(p["doc"] == p["type"] and p["status"] == 422 for p in found["problems"])


async def test_what_is_not_of_the_right_kind_hides_nothing_else(door: Door) -> None:
    found = await finding(
        door, to=["ada@example.org", 5, {"adress": "b@x.example"}], cc=["nobody"], tags=["a b", "ok", 7],
        metadata={"order": 4711}, attachments=[{"filename": "a"}, {**FILE, "size": 1}], colour="red",
        subject="a\nb", send_at="tomorrow",
    )  # fmt: skip

    assert places(found) == [
        "/to/1", "/to/2/adress", "/tags/0", "/tags/2", "/metadata", "/attachments/0/content",
        "/attachments/1/size", "/colour", "/send_at", "/cc/0", "/subject",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "fault", "pointer"),
    [
        ({"to": None}, "no-recipients", "/to"),
        ({"to": [f"u{n}@x.example" for n in range(11)]}, "too-many-recipients", "/to"),
        ({"from": "ceo@globex.example"}, "from-not-allowed", "/from"),
        ({"stream": "other"}, "unknown-stream", "/stream"),
        ({"text": None}, "invalid-field", "/text"),
        ({"text": "x" * 130_000}, "message-too-large", None),
        ({"from": None}, "invalid-field", "/from"),
    ],
)
async def test_every_refusal_of_sending_is_foreseen(
    door: Door, change: dict[str, Any], fault: str, pointer: str | None
) -> None:
    found = await finding(door, **change)
    refused = await door.send({**LETTER, **change})

    [problem] = found["problems"]
    assert (problem["type"], problem.get("pointer")) == (f"/problems/{fault}", pointer)
    assert fault_of(refused) == (problem["status"], fault, pointer)
    assert problem["detail"] == refused.json()["detail"]


async def test_a_missing_from_is_no_stranger(door: Door) -> None:
    answer = await validate(door, {k: v for k, v in LETTER.items() if k != "from"} | {"stream": "other"})

    assert places(answer.json()) == ["/from", "/stream"]


async def test_another_tenants_domain_is_foreign_here_too(door: Door) -> None:
    theirs = door.keyring.issue(to=door.keyring.globex)

    answer = await validate(door, LETTER, **bearer(theirs))

    assert places(answer.json()) == ["/from"]


# ---- what had better be otherwise


@pytest.mark.parametrize(
    ("change", "word", "pointer"),
    [
        ({"text": None, "html": "<p>a</p>"}, "no-text-part", "/text"),
        ({"subject": " "}, "empty-subject", "/subject"),
        (
            {"from": {"address": "shop@acme.example", "name": "ceo@bank.example"}},
            "from-name-is-address",
            "/from",
        ),
        ({"to": "дора@example.org"}, "needs-smtputf8", None),
        ({"html": "<p>" + "x" * 105_000}, "html-clipped", "/html"),
        ({"html": "<script>a()</script>"}, "html-stripped", "/html"),
        ({"html": '<img src="data:image/png;base64,AA==">'}, "data-image", "/html"),
        ({"html": '<img src="cid:logo">'}, "unknown-content-id", "/html"),
        (
            {"attachments": [FILE, {**FILE, "filename": "a.pdf.EXE"}]},
            "executable-attachment",
            "/attachments/1/filename",
        ),
        ({"attachments": [{**FILE, "content_id": "logo"}]}, "unused-content-id", "/attachments/0/content_id"),
        (
            {"headers": {"List-Unsubscribe": "<https://acme.example/u>"}},
            "unsubscribe-without-one-click",
            "/headers",
        ),
        ({"stream": "news"}, "broadcast-without-unsubscribe", "/headers"),
    ],
)
async def test_what_receivers_dislike_is_a_warning(
    door: Door, change: dict[str, Any], word: str, pointer: str | None
) -> None:
    broadcast(door)

    found = await finding(door, **change)

    assert found["valid"]
    assert [(w["warning"], w.get("pointer")) for w in found["warnings"]] == [(word, pointer)]


async def test_a_broadcast_as_receivers_want_it_warns_of_nothing(door: Door) -> None:
    broadcast(door)
    headers = {
        "List-Unsubscribe": "<https://acme.example/u>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }

    assert words(await finding(door, stream="news", headers=headers)) == []


async def test_warnings_come_beside_problems(door: Door) -> None:
    found = await finding(door, to="nobody", subject="")

    assert (places(found), words(found)) == (["/to"], ["empty-subject"])


# ---- a dry run


def rows(door: Door) -> dict[str, int]:
    with door.room.store.read() as c:
        return {
            name: c.execute(select(func.count()).select_from(table)).scalar_one()
            for name, table in tables.metadata.tables.items()
        }


@pytest.mark.parametrize(
    "change", [{}, {"to": "nobody"}, {"attachments": [{**FILE, "content": "A" * 100_000}]}]
)
async def test_nothing_is_written(door: Door, change: dict[str, Any]) -> None:
    folder = door.room.store.body_folder
    before = rows(door)

    await finding(door, **change)
    await validate(door, {**LETTER, **change}, **{"Idempotency-Key": "k"})

    assert rows(door) == before
    assert folder is None or not folder.exists() or not list(folder.iterdir())
    assert door.rings == []


@pytest.mark.parametrize(
    ("body", "media_type", "expected"),
    [
        (b"{", "application/json", (400, "malformed-request", None)),
        (b"[]", "application/json", (422, "invalid-field", "")),
        (b"{}", "text/plain", (415, "unsupported-media-type", None)),
        (b"x" * 300_000, "application/json", (413, "request-too-large", None)),
    ],
)
async def test_what_cannot_be_read_is_refused_as_sending_refuses_it(
    door: Door, body: bytes, media_type: str, expected: tuple[int, str, str | None]
) -> None:
    headers = {"content-type": media_type}

    tried = await door.client.post("/v1/messages/validate", content=body, headers=headers)
    sent = await door.client.post("/v1/messages", content=body, headers=headers)

    assert fault_of(tried) == fault_of(sent) == expected


async def test_who_may_not_send_may_not_try(door: Door) -> None:
    reader = door.keyring.issue(scopes=("read",))

    assert fault_of(await validate(door, LETTER, **bearer(reader)))[:2] == (403, "forbidden")
    assert fault_of(await validate(door, LETTER, Authorization="Bearer x"))[:2] == (401, "unauthenticated")


# ---- templates


async def stored(door: Door, **words: Any) -> None:
    key = bearer(door.keyring.issue(scopes=("templates",)))
    made = await door.client.post(
        "/v1/templates", json={"name": "shipped", "publish": True, **words}, headers=key
    )
    assert made.status_code == 201


def by_template(**template: Any) -> dict[str, Any]:
    return {"from": "shop@acme.example", "to": "ada@example.org", "template": template}


async def test_it_tells_what_a_template_makes(door: Door) -> None:
    await stored(door, subject="{{ name }}, it is on its way", html="<p>Dear {{ name }}</p>")

    answer = await validate(door, by_template(name="shipped", data={"name": "Ada"}))

    found = answer.json()
    assert (found["valid"], found["problems"], found["warnings"]) == (True, [], [])
    assert found["message"]["subject"] == "Ada, it is on its way"
    assert [part["content_type"] for part in found["message"]["parts"]] == ["text/plain", "text/html"]


async def test_every_missing_variable_is_a_problem_and_nothing_is_said_of_the_words(door: Door) -> None:
    await stored(door, subject="{{ name }}", text="{{ order.number }} {{ name }}")

    found = (await validate(door, {**by_template(name="shipped"), "to": ["ada@example.org", "x"]})).json()

    assert places(found) == ["/template/data/name", "/template/data/order/number", "/to/1"]
    assert found["problems"][1]["detail"] == "`order.number` is not in the data (text, line 1)"
    assert words(found) == []


@pytest.mark.parametrize(
    ("template", "pointer", "fault"),
    [
        ({"name": "nowhere"}, "/template", "unknown-template"),
        ({"name": "shipped", "version": 7}, "/template", "unknown-template"),
        ({}, "/template", "invalid-field"),
        ({"name": "shipped", "data": 5}, "/template/data", "invalid-field"),
        ({"nmae": "shipped"}, "/template/nmae", "invalid-field"),
    ],
)
async def test_what_is_wrong_with_a_template_brings_no_other_fault(
    door: Door, template: dict[str, Any], pointer: str, fault: str
) -> None:
    await stored(door, subject="a", text="b")

    found = (await validate(door, by_template(**template))).json()

    [problem] = found["problems"]
    assert (problem["type"], problem["pointer"]) == (f"/problems/{fault}", pointer)
    assert words(found) == []


async def test_another_tenants_template_is_not_there(door: Door) -> None:
    await stored(door, subject="a", text="b")
    theirs = door.keyring.issue(to=door.keyring.globex)

    found = (await validate(door, by_template(name="shipped"), **bearer(theirs))).json()

    assert "/problems/unknown-template" in {problem["type"] for problem in found["problems"]}
