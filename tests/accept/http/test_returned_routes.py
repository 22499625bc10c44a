"""/v1/returned: each tenant sees what came back of its own mail, as it came and as it was understood."""

from __future__ import annotations

import pytest

from mailer import clock, ids
from mailer.queue import returned
from mailer.queue.returned import Arrived, Meaning
from tests.accept.http.conftest import Door, bearer
from tests.support.mailroom import register

CONTENT = b"Return-Path: <>\r\nSubject: no\r\n\r\n\xff raw\r\n"


def keep(door: Door, *, tenant_id: int | None, read: bool = True, bounce_class: str = "mailbox-full",
         verified: bool = True) -> str:  # fmt: skip
    room = door.room
    arrived = Arrived(
        id=room.new_id(), kind="return-path", address="x@bounce.acme.example", token_of=None, reverse_path="",
        peer="192.0.2.1",
    )  # fmt: skip
    returned.keep(room.store, room.new_id(), CONTENT, [arrived], now=clock.now())
    if read:
        me = register(room.store, role="returns").id
        returned.claim(room.store, me, most=100, now=clock.now())
        meaning = Meaning(
            bounce_class=bounce_class, matched_by="address", is_verified=verified,
            findings={"event": "bounced"}, tenant_id=tenant_id, message_id=5, recipient_id=6,
        )  # fmt: skip
        with room.store.write() as connection:
            assert returned.settle(connection, me, arrived.id, meaning, now=clock.now())
    return ids.show("ret", arrived.id)


async def test_what_came_back_is_listed_newest_first_in_pages(door: Door) -> None:
    made = [keep(door, tenant_id=door.room.tenant_id) for _ in range(3)]

    first = (await door.client.get("/v1/returned?limit=2")).json()
    rest = (await door.client.get(f"/v1/returned?limit=2&cursor={first['next_cursor']}")).json()

    assert [one["id"] for one in first["returned"] + rest["returned"]] == made[::-1]
    assert rest["next_cursor"] is None
    shown = first["returned"][0]
    assert shown.pop("received_at").endswith("Z")
    assert shown == {
        "id": made[2], "kind": "return-path", "address": "x@bounce.acme.example", "reverse_path": "",
        "size_bytes": len(CONTENT), "state": "read", "bounce_class": "mailbox-full", "matched_by": "address",
        "is_verified": True, "message_id": ids.show("msg", 5), "recipient_id": ids.show("rcpt", 6),
        "findings": {"event": "bounced"},
    }  # fmt: skip


async def test_it_is_found_by_what_it_is(door: Door) -> None:
    tenant_id = door.room.tenant_id
    full = keep(door, tenant_id=tenant_id)
    forged = keep(door, tenant_id=tenant_id, bounce_class="complaint", verified=False)

    async def found(query: str) -> list[str]:
        return [one["id"] for one in (await door.client.get(f"/v1/returned?{query}")).json()["returned"]]

    assert await found("bounce_class=mailbox-full") == [full]
    assert await found("verified=false") == [forged]
    assert await found("verified=true&kind=return-path") == [full]
    assert await found("kind=complaints") == []


async def test_it_is_given_out_octet_for_octet_and_harmless(door: Door) -> None:
    made = keep(door, tenant_id=door.room.tenant_id)

    one = await door.client.get(f"/v1/returned/{made}")
    raw = await door.client.get(f"/v1/returned/{made}/raw")

    assert one.json()["id"] == made
    assert (raw.content, raw.headers["content-type"]) == (CONTENT, "message/rfc822")
    assert "sandbox" in raw.headers["content-security-policy"]


async def test_another_tenants_and_nobodys_are_not_there(door: Door) -> None:
    theirs = keep(door, tenant_id=door.keyring.globex.id)
    nobodys = keep(door, tenant_id=None)
    unread = keep(door, tenant_id=None, read=False)

    assert (await door.client.get("/v1/returned")).json()["returned"] == []
    for one in (theirs, nobodys, unread):
        for path in (f"/v1/returned/{one}", f"/v1/returned/{one}/raw"):
            answer = await door.client.get(path)
            assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")


async def test_it_needs_a_key_that_may_read(door: Door) -> None:
    key = door.keyring.issue(scopes=("send",))

    assert (await door.client.get("/v1/returned", headers=bearer(key))).status_code == 403
    assert (await door.client.get("/v1/returned", headers={"Authorization": ""})).status_code == 401


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("cursor=msg_0000000000005", "cursor"), ("limit=0", "limit"), ("limit=1001", "limit"),
        ("kind=other", "kind"), ("bounce_class=bad", "bounce_class"), ("verified=maybe", "verified"),
        ("unknown=1", "unknown"),
    ],
)  # fmt: skip
async def test_a_question_that_makes_no_sense_is_refused(door: Door, query: str, field: str) -> None:
    answer = await door.client.get(f"/v1/returned?{query}")

    assert answer.status_code == 422
    assert field in answer.text


async def test_what_nobody_has_read_yet_is_a_metric(door: Door) -> None:
    keep(door, tenant_id=None, read=False)
    keep(door, tenant_id=None, read=False)

    told = (await door.client.get("/metrics", headers={"Authorization": ""})).text

    assert "mailer_returned_unread 2.0" in told
    assert "mailer_suppressions_under_review 0.0" in told
