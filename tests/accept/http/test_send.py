"""POST /v1/messages: what is accepted is on disk, what is refused says why and where."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from mailer import clock, ids
from mailer.accept.budget import ByteBudget
from mailer.accept.http.app import HttpParts, create_app
from mailer.accept.submission import Fault, Receipt, Submission, SubmissionError
from mailer.identity import tenants
from mailer.queue import read
from mailer.store import Store
from mailer.store.tables import content, message, recipient
from tests.accept.http.conftest import LETTER, LIMITS, Door, Keyring, bearer
from tests.support.mailroom import HOUR


def rows(store: Store) -> int:
    with store.read() as c:
        return len(c.execute(select(message.c.id)).all()) + len(c.execute(select(recipient.c.id)).all())


def headers_of(store: Store) -> str:
    with store.read() as c:
        return bytes(c.execute(select(content.c.headers)).scalar_one()).decode()


def fault_of(answer: httpx.Response) -> tuple[int, str, str | None]:
    """Status, type and pointer, of what must be a problem document."""
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == answer.status_code
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert problem["doc"] == problem["type"]  # a page that is there: test_operation.py
    [error] = problem.get("errors", [{}])
    return answer.status_code, problem["type"].removeprefix("/problems/"), error.get("pointer")


async def test_a_202_names_a_message_that_is_on_disk(door: Door) -> None:
    answer = await door.send()

    view = read.message_of(door.room.store, door.room.tenant_id, ids.parse("msg", answer.json()["id"]))
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/messages/{answer.json()['id']}"
    assert view is not None
    assert answer.json()["recipients"] == [
        {"id": ids.show("rcpt", view.recipients[0].id), "address": "ada@example.org"}
    ]
    assert len(door.rings) == 1


@pytest.mark.parametrize(
    "to",
    [
        "ada@example.org",
        "Ada <ada@example.org>",
        {"address": "ada@example.org"},
        {"address": "ada@example.org", "name": "Ada, Countess"},
        ["ada@example.org"],
        [{"address": "ada@example.org", "name": None}],
    ],
)
async def test_an_address_may_be_given_in_any_usual_form(door: Door, to: Any) -> None:
    answer = await door.send({**LETTER, "to": to})

    assert [r["address"] for r in answer.json()["recipients"]] == ["ada@example.org"]


async def test_internationalised_addresses_and_domains_are_taken(door: Door) -> None:
    answer = await door.send({**LETTER, "to": ["дора@example.org", "max@bücher.example"]})

    assert [r["address"] for r in answer.json()["recipients"]] == [
        "дора@example.org",
        "max@xn--bcher-kva.example",
    ]


async def test_a_mailbox_named_twice_gets_one_copy_by_its_first_field(door: Door) -> None:
    answer = await door.send(
        {**LETTER, "to": ["a@x.example", "A <a@X.example>"], "cc": "a@x.example", "bcc": ["b@x.example"]}
    )

    with door.room.store.read() as c:
        kinds = c.execute(select(recipient.c.address, recipient.c.kind)).all()
    assert answer.status_code == 202
    assert kinds == [("a@x.example", "to"), ("b@x.example", "bcc")]
    assert "Cc:" not in headers_of(door.room.store)


@pytest.mark.parametrize(
    ("to", "length"), [(["ada@example.org"], 0), (["ada@example.org", "bob@example.org"], 44)]
)
async def test_only_a_body_that_goes_to_many_is_hashed_before_it_is_signed(
    door: Door, to: list[str], length: int
) -> None:
    await door.send({**LETTER, "to": to})

    with door.room.store.read() as c:
        assert len(c.execute(select(content.c.body_hash)).scalar_one()) == length


async def test_bcc_stands_in_no_header_field(door: Door) -> None:
    await door.send({**LETTER, "bcc": "secret@example.org"})

    assert "secret@" not in headers_of(door.room.store)


async def test_everything_given_is_kept(door: Door) -> None:
    answer = await door.send(
        {
            **LETTER, "reply_to": "Help <help@acme.example>",
            "headers": [{"name": "X-Order", "value": "4711"}], "tags": ["order"],
            "metadata": {"order": "4711"}, "stream": "transactional",
        }
    )  # fmt: skip

    seen = (await door.get(answer.headers["location"])).json()
    assert (seen["tags"], seen["metadata"], seen["stream"]) == (["order"], {"order": "4711"}, "transactional")
    assert "Reply-To: Help <help@acme.example>\r\nSubject: hello\r\n" in headers_of(door.room.store)
    assert "X-Order: 4711\r\n" in headers_of(door.room.store)


INVALID = "invalid-field"


@pytest.mark.parametrize(
    ("change", "status", "fault", "pointer"),
    [
        ({"from": "no address"}, 422, INVALID, "/from"),
        ({"from": None}, 422, INVALID, "/from"),
        ({"from": {"address": "a@x.example", "name": "A\nBcc: b@x.example"}}, 422, INVALID, "/from/name"),
        ({"from": {"address": "A <a@x.example>"}}, 422, INVALID, "/from/address"),
        ({"from": {"adress": "a@x.example"}}, 422, INVALID, "/from/adress"),
        ({"from": "ceo@globex.example"}, 403, "from-not-allowed", "/from"),
        ({"to": ["ada@example.org", "b@x.example\r\nBcc: c@x.example"]}, 422, INVALID, "/to/1"),
        ({"to": ["ada@example.org", 7]}, 422, INVALID, "/to/1"),
        ({"to": "a@x.example, b@x.example"}, 422, INVALID, "/to"),
        ({"to": "user@[127.0.0.1]"}, 422, INVALID, "/to"),
        ({"to": []}, 422, "no-recipients", "/to"),
        ({"to": None}, 422, "no-recipients", "/to"),
        ({"cc": [f"u{n}@x.example" for n in range(10)]}, 422, "too-many-recipients", "/cc"),
        ({"reply_to": ["x@"]}, 422, INVALID, "/reply_to/0"),
        ({"reply_to": ["a@x.example"] * 26}, 422, INVALID, "/reply_to"),
        ({"subject": "hello\r\nBcc: b@x.example"}, 422, INVALID, "/subject"),
        ({"subject": "hello\x00"}, 422, INVALID, "/subject"),
        ({"text": None}, 422, INVALID, "/text"),
        ({"text": 1}, 422, INVALID, "/text"),
        ({"headers": {"X-A": "1\nX-B: 2"}}, 422, INVALID, "/headers/X-A"),
        ({"headers": {"X/~A": ""}}, 422, INVALID, "/headers"),
        ({"headers": {"a/b~": "\n"}}, 422, INVALID, "/headers/a~1b~0"),
        ({"headers": {"Bcc": "b@x.example"}}, 422, INVALID, "/headers/Bcc"),
        ({"headers": {"DKIM-Signature": "v=1"}}, 422, INVALID, "/headers/DKIM-Signature"),
        ({"headers": [{"name": "X: Y", "value": "1"}]}, 422, INVALID, "/headers/0"),
        ({"headers": [{"name": "References", "value": "<a@b>"}] * 2}, 422, INVALID, "/headers"),
        ({"tags": ["a"] * 11}, 422, INVALID, "/tags"),
        ({"tags": ["two words"]}, 422, INVALID, "/tags/0"),
        ({"tags": ["a\n"]}, 422, INVALID, "/tags/0"),
        ({"metadata": {"k": 1}}, 422, INVALID, "/metadata"),
        ({"metadata": {"k": "v" * 501}}, 422, INVALID, "/metadata"),
        ({"stream": "newsletter"}, 422, "unknown-stream", "/stream"),
        ({"subjct": "hello"}, 422, INVALID, "/subjct"),
        ({"text": "x" * 130_000}, 413, "message-too-large", None),
    ],
)
async def test_a_refusal_names_the_fault_and_points_at_it(
    door: Door, change: dict[str, Any], status: int, fault: str, pointer: str | None
) -> None:
    answer = await door.send({**LETTER, **change})

    assert fault_of(answer) == (status, fault, pointer)
    assert rows(door.room.store) == 0


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff\xfe{\x00}\x00", 400),
        (b'{"from":"\xff"}', 400),
        (b'{"from":"\\ud800"}', 400),
        (b'{"from":"a@x.example"} {}', 400),
        (b"[]", 422),
        (b"null", 422),
        (b"[" * 100_000, 422),
        (b'{"metadata":' + b'{"a":' * 50_000, 422),
    ],
)
async def test_a_body_that_is_no_send_request_is_the_senders_fault(
    door: Door, raw: bytes, status: int
) -> None:
    answer = await door.client.post("/v1/messages", content=raw, headers={"Content-Type": "application/json"})

    assert fault_of(answer)[0] == status


async def test_a_header_name_that_is_no_name_is_refused_before_composing(door: Door) -> None:
    answer = await door.send({**LETTER, "headers": {"X Order": "1"}})

    assert fault_of(answer) == (422, "invalid-field", "/headers/X Order")


# ---- once, and once only


async def test_a_repeated_idempotency_key_gets_the_first_answer_octet_for_octet(door: Door) -> None:
    first = await door.send(**{"Idempotency-Key": "order-4711"})
    second = await door.send(**{"Idempotency-Key": "order-4711"})

    assert (second.status_code, second.content) == (202, first.content)
    assert second.headers["location"] == first.headers["location"]
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert rows(door.room.store) == 2


async def test_an_idempotency_key_with_another_body_is_refused(door: Door) -> None:
    await door.send(**{"Idempotency-Key": "order-4711"})
    answer = await door.send({**LETTER, "text": "other"}, **{"Idempotency-Key": "order-4711"})

    assert fault_of(answer)[:2] == (422, "idempotency-key-reused")
    assert rows(door.room.store) == 2


async def test_a_refusal_is_not_remembered_under_its_idempotency_key(door: Door) -> None:
    await door.send({**LETTER, "to": "nobody"}, **{"Idempotency-Key": "order-4711"})
    answer = await door.send(**{"Idempotency-Key": "order-4711"})

    assert answer.status_code == 202


@pytest.mark.parametrize("key", ["", "two words", "k" * 256])
async def test_a_malformed_idempotency_key_is_refused(door: Door, key: str) -> None:
    answer = await door.send(**{"Idempotency-Key": key})

    assert fault_of(answer)[:2] == (400, "malformed-request")


# ---- who


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic YTpi",
        "Bearer mk_123",
        "Bearer " + "x" * 10_000,
        "mk_1 Bearer",
        "Bearer \xe9",
    ],
)
async def test_without_a_good_key_nothing_is_accepted(door: Door, authorization: str) -> None:
    answer = await door.client.post(
        "/v1/messages", json=LETTER, headers={"Authorization": authorization.encode("latin-1")}
    )

    assert fault_of(answer)[:2] == (401, "unauthenticated")
    assert answer.headers["www-authenticate"] == 'Bearer realm="mailer"'


async def test_a_key_that_may_only_read_may_not_send(door: Door) -> None:
    key = door.keyring.issue(scopes=("read",))
    answer = await door.send(**bearer(key))

    assert fault_of(answer)[:2] == (403, "forbidden")


async def test_a_suspended_tenant_may_look_but_not_send(door: Door) -> None:
    sent = await door.send()
    tenants.suspend(door.room.store, "acme")
    key = door.keyring.issue()

    refused = await door.send(**bearer(key))
    seen = await door.get(sent.headers["location"], key=key)

    assert fault_of(refused)[:2] == (403, "tenant-suspended")
    assert seen.status_code == 200


async def test_another_tenants_sending_domain_is_refused(door: Door) -> None:
    key = door.keyring.issue(to=door.keyring.globex)
    answer = await door.send(**bearer(key))

    assert fault_of(answer)[:2] == (403, "from-not-allowed")


# ---- the body


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": ""},
        {"Content-Encoding": "gzip"},
    ],
)
async def test_only_plain_json_is_taken(door: Door, headers: dict[str, str]) -> None:
    answer = await door.send(**headers)

    assert fault_of(answer)[:2] == (415, "unsupported-media-type")
    assert answer.headers["accept"] == "application/json"


@pytest.mark.parametrize(
    "media_type", ["application/json; charset=utf-8", "Application/JSON", "application/json ;x"]
)
async def test_parameters_and_case_of_the_media_type_do_not_matter(door: Door, media_type: str) -> None:
    answer = await door.send(**{"Content-Type": media_type})

    assert answer.status_code == 202


async def test_a_body_announced_too_large_is_refused_unread(door: Door) -> None:
    async def never() -> AsyncIterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    answer = await door.client.post(
        "/v1/messages", content=never(),
        headers={"Content-Type": "application/json", "Content-Length": str(LIMITS.request_bytes + 1)},
    )  # fmt: skip

    assert fault_of(answer)[:2] == (413, "request-too-large")


async def test_a_body_that_grows_too_large_is_refused(door: Door) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 65536

    answer = await door.client.post(
        "/v1/messages", content=endless(), headers={"Content-Type": "application/json"}
    )

    assert fault_of(answer)[:2] == (413, "request-too-large")


async def test_a_body_that_does_not_come_is_given_up_and_the_connection_closed(
    parts: HttpParts, keyring: Keyring
) -> None:
    async def stuck() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    hasty = replace(parts, body_limits=replace(LIMITS, grace_seconds=0.05))
    answer = await post(hasty, keyring, content=stuck())

    assert fault_of(answer)[:2] == (408, "request-timeout")
    assert answer.headers["connection"] == "close"


async def test_without_room_in_memory_a_submission_is_put_off(parts: HttpParts, keyring: Keyring) -> None:
    answer = await post(replace(parts, budget=ByteBudget(64)), keyring)

    assert fault_of(answer)[:2] == (503, "busy")
    assert int(answer.headers["retry-after"]) > 0
    assert rows(parts.store) == 0


# ---- when we fail


class Failing:
    """An intake that raises what it was given."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.noted: list[SubmissionError] = []

    async def take(self, submission: Submission) -> Receipt:
        raise self.error

    def refuse(self, tenant_id: int, error: SubmissionError) -> None:
        self.noted.append(error)


async def post(
    parts: HttpParts, keyring: Keyring, content: bytes | AsyncIterator[bytes] | None = None
) -> httpx.Response:
    """A letter, or other content, sent to an application of `parts`."""
    transport = httpx.ASGITransport(app=create_app(parts))
    headers = {**bearer(keyring.issue()), "Content-Type": "application/json"}
    body = json.dumps(LETTER).encode() if content is None else content
    async with httpx.AsyncClient(transport=transport, base_url="http://mailer.test") as client:
        return await client.post("/v1/messages", content=body, headers=headers)


async def test_a_database_that_does_not_answer_means_try_again(parts: HttpParts, keyring: Keyring) -> None:
    intake = Failing(SubmissionError(Fault.UNAVAILABLE, "try again"))
    answer = await post(replace(parts, intake=intake), keyring)

    assert fault_of(answer)[:2] == (503, "unavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert intake.noted == []


async def test_our_own_failure_tells_strangers_nothing_but_the_request_id(
    parts: HttpParts, keyring: Keyring
) -> None:
    with capture_logs() as logged:
        answer = await post(replace(parts, intake=Failing(ZeroDivisionError("the secret detail"))), keyring)

    assert fault_of(answer)[:2] == (500, "internal")
    assert "secret detail" not in answer.text
    assert "ZeroDivision" not in answer.text
    assert [line["event"] for line in logged] == ["http.failed", "http.answered"]
    assert {line["request_id"] for line in logged} == {answer.json()["request_id"]}


# ---- what a refusal leaves behind


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"to": "nobody"}, "invalid-field"),
        ({"to": []}, "no-recipients"),
        ({"from": "ceo@globex.example"}, "from-not-allowed"),
        ({"stream": "newsletter"}, "unknown-stream"),
        ({"text": "x" * 130_000}, "message-too-large"),
    ],
)
async def test_a_refused_submission_leaves_one_rejected_event_and_no_rows(
    door: Door, change: dict[str, Any], reason: str
) -> None:
    await door.send({**LETTER, **change})
    # The committer writes in order: once this one is on disk, so is the rejection before it.
    await door.send()
    door.number_events()

    told = (await door.get("/v1/events")).json()["events"]
    assert [e["type"] for e in told] == ["rejected", "accepted"]
    assert told[0]["data"]["fault"] == reason
    assert told[0]["message_id"] is None


async def test_a_stranger_leaves_no_event(door: Door) -> None:
    await door.send(**{"Authorization": "Bearer nonsense"})
    await door.send()
    door.number_events()

    told = (await door.get("/v1/events")).json()["events"]
    assert [e["type"] for e in told] == ["accepted"]


# ---- times


async def test_a_send_time_ahead_is_waited_for(door: Door) -> None:
    later = clock.now() + 3 * HOUR

    path = (await door.send({**LETTER, "send_at": later.isoformat()})).headers["location"]

    seen = (await door.get(path)).json()
    assert (seen["recipients"][0]["state"], seen["recipients"][0]["wait_reason"]) == ("deferred", "scheduled")
    assert door.room.claim() == []


async def test_a_send_time_in_the_past_means_at_once(door: Door) -> None:
    await door.send({**LETTER, "send_at": "2020-01-01T00:00:00Z"})

    assert len(door.room.claim()) == 1


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"send_at": "2090-01-01T00:00:00Z"}, "/send_at"),
        ({"send_at": "2026-12-01T06:00:00"}, "/send_at"),
        ({"send_at": "tomorrow"}, "/send_at"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "/expires_at"),
        ({"expires_at": "9999-12-31T23:59:59-23:59"}, "/expires_at"),
    ],
)
async def test_a_time_that_cannot_be_is_refused(door: Door, change: dict[str, str], pointer: str) -> None:
    answer = await door.send({**LETTER, **change})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer


async def test_a_message_may_not_expire_before_it_is_sent(door: Door) -> None:
    sent_at, gone_at = clock.now() + 2 * HOUR, clock.now() + HOUR

    answer = await door.send({**LETTER, "send_at": sent_at.isoformat(), "expires_at": gone_at.isoformat()})

    assert answer.json()["errors"][0]["pointer"] == "/expires_at"


@pytest.mark.parametrize(
    ("given", "kept", "says_no"),
    [
        ({}, None, False),
        ({"tls": None}, None, False),
        ({"tls": "required"}, "required", False),
        ({"tls": "requiretls"}, "requiretls", False),
        ({"tls": "optional"}, "optional", True),
        ({"headers": {"TLS-Required": "No"}}, "optional", True),
        ({"tls": "optional", "headers": {"TLS-Required": "No"}}, "optional", True),
        ({"tls": "required", "headers": {"TLS-Required": "No"}}, "required", True),
    ],
)
async def test_what_is_wanted_of_tls_is_kept(door: Door, given: Any, kept: str | None, says_no: bool) -> None:
    """RFC 8689 §5: for the hosts behind the next one it stands in the header."""
    answer = await door.send({**LETTER, **given})

    [claimed] = door.room.claim()
    assert (answer.status_code, claimed.tls) == (202, kept)
    assert headers_of(door.room.store).count("TLS-Required: No") == says_no


async def test_what_nobody_can_want_of_tls_is_pointed_at(door: Door) -> None:
    assert fault_of(await door.send({**LETTER, "tls": "always"})) == (422, "invalid-field", "/tls")
