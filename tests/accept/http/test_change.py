"""POST .../cancel and .../retry: a tenant changes its own messages only, and may repeat itself."""

from __future__ import annotations

import pytest

from mailer import clock, ids
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
