"""POST .../cancel and .../retry: a tenant changes its own messages only, and may repeat itself."""

from __future__ import annotations

import pytest
from sqlalchemy import Table

from mailer import clock, ids
from mailer.identity import tenants
from mailer.store.tables import sending_domain, stream
from tests.accept.http.conftest import LETTER, Door, bearer
from tests.support.mailroom import BOUNCED, HEARD_451, HOUR, deferral


async def sent(door: Door) -> str:
    return str((await door.send(LETTER)).headers["location"])


async def test_a_message_is_cancelled_before_it_is_sent(door: Door) -> None:
    path = await sent(door)

    answer = await door.client.post(f"{path}/cancel")

    [recipient] = (await door.get(path)).json()["recipients"]
    assert answer.status_code == 200
    assert answer.json()["cancelled"] == [recipient["id"]]
    assert recipient["state"] == "cancelled"


async def test_a_bounced_recipient_is_tried_anew(door: Door) -> None:
    path = await sent(door)
    door.room.settle(door.room.claim(), BOUNCED, HEARD_451)
    door.rings.clear()

    answer = await door.client.post(f"{path}/retry")

    first, second = (await door.get(path)).json()["recipients"]
    assert answer.json()["anew"] == [{"recipient_id": second["id"], "retry_of": first["id"]}]
    assert second["retry_of"] == first["id"]
    assert (first["state"], second["state"]) == ("bounced", "queued")
    assert len(door.rings) == 1


async def test_one_that_waits_is_due_at_once(door: Door) -> None:
    path = await sent(door)
    door.room.settle(door.room.claim(), deferral(clock.now() + HOUR), HEARD_451)

    answer = await door.client.post(f"{path}/retry")

    [recipient] = (await door.get(path)).json()["recipients"]
    assert answer.json()["due_now"] == [recipient["id"]]
    assert recipient["wait_reason"] == "retry_asked"


@pytest.mark.parametrize("action", ["cancel", "retry"])
async def test_another_tenants_message_is_not_there(door: Door, action: str) -> None:
    path = await sent(door)
    stranger = bearer(door.keyring.issue(to=door.keyring.globex))

    answer = await door.client.post(f"{path}/{action}", headers=stranger)
    unknown = await door.client.post(f"/v1/messages/{ids.show('msg', 5)}/{action}", headers=stranger)

    assert answer.status_code == unknown.status_code == 404
    assert (await door.get(path)).json()["recipients"][0]["state"] == "queued"


@pytest.mark.parametrize("action", ["cancel", "retry"])
async def test_a_key_that_may_only_read_changes_nothing(door: Door, action: str) -> None:
    path = await sent(door)
    reader = bearer(door.keyring.issue(scopes=("read",)))

    answer = await door.client.post(f"{path}/{action}", headers=reader)

    assert (answer.status_code, answer.json()["type"]) == (403, "/problems/forbidden")
    assert (await door.get(path)).json()["recipients"][0]["state"] == "queued"


# ---- some recipients only


@pytest.mark.parametrize(("action", "done"), [("cancel", "cancelled"), ("retry", "due_now")])
async def test_only_the_recipients_named_are_changed(door: Door, action: str, done: str) -> None:
    accepted = (await door.send({**LETTER, "to": ["ada@a.example", "bob@b.example"]})).json()
    door.room.settle(door.room.claim(), deferral(clock.now() + HOUR), HEARD_451)
    second = accepted["recipients"][1]["id"]

    answer = await door.client.post(f"/v1/messages/{accepted['id']}/{action}", json={"recipients": [second]})

    assert answer.json()[done] == [second]


@pytest.mark.parametrize("action", ["cancel", "retry"])
@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"recipients": []}, "/recipients"),
        ({"recipients": [ids.show("rcpt", 5)]}, "/recipients/0"),
        ({"recipients": ["rcpt_zzzzzzzzzzzzz"]}, "/recipients/0"),
        ({"recipients": ["ada@example.org"]}, "/recipients/0"),
        ({}, "/recipients"),
        ({"recipient": "x"}, "/recipients"),
        ({"recipients": [5]}, "/recipients/0"),
    ],
)
async def test_a_body_that_names_no_recipient_of_the_message_changes_nothing(
    door: Door, action: str, body: dict[str, object], pointer: str
) -> None:
    path = await sent(door)

    answer = await door.client.post(f"{path}/{action}", json=body)

    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-field")
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert (await door.get(path)).json()["recipients"][0]["state"] == "queued"


# ---- limits


@pytest.mark.parametrize("action", ["cancel", "retry"])
@pytest.mark.parametrize("limits", [{"streams": ("broadcast",)}, {"domains": ("other.example",)}])
async def test_a_key_changes_only_what_it_might_have_sent(
    door: Door, action: str, limits: dict[str, tuple[str, ...]]
) -> None:
    path = await sent(door)
    limited = bearer(door.furnished_key(**limits))

    answer = await door.client.post(f"{path}/{action}", headers=limited)

    assert (answer.status_code, answer.json()["type"]) == (403, "/problems/key-limited")
    assert (await door.get(path)).json()["recipients"][0]["state"] == "queued"


@pytest.mark.parametrize(
    ("table", "state", "fault"),
    [(stream, "archived", (422, "stream-archived")), (sending_domain, "revoked", (403, "from-not-allowed"))],
)
async def test_what_failed_is_not_accepted_anew_where_nothing_may_be_sent(
    door: Door, table: Table, state: str, fault: tuple[int, str]
) -> None:
    path = await sent(door)
    door.room.settle(door.room.claim(), BOUNCED, HEARD_451)
    with door.room.store.write() as c:
        c.execute(table.update().values(state=state))

    answer = await door.client.post(f"{path}/retry")

    assert (answer.status_code, answer.json()["type"].removeprefix("/problems/")) == fault
    assert len((await door.get(path)).json()["recipients"]) == 1


@pytest.mark.parametrize("action", ["cancel", "retry"])
async def test_a_suspended_tenant_changes_nothing(door: Door, action: str) -> None:
    path = await sent(door)
    tenants.suspend(door.room.store, "acme")
    fresh = bearer(door.keyring.issue())

    answer = await door.client.post(f"{path}/{action}", headers=fresh)

    assert (answer.status_code, answer.json()["type"]) == (403, "/problems/tenant-suspended")
