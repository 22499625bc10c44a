"""GET /v1/messages: a tenant's own messages, newest first, as filtered; every page leads to the next."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest

from mailer import clock
from mailer.identity import tenants
from tests.accept.http.conftest import LETTER, Door, bearer
from tests.support.mailroom import BOUNCED, DELIVERED

LIST = "/v1/messages"


async def sent(door: Door, **change: object) -> str:
    answer = await door.send({**LETTER, **change})
    assert answer.status_code == 202
    return str(answer.json()["id"])


async def listed(door: Door, query: str = "") -> list[str]:
    answer = await door.get(f"{LIST}?{query}")
    assert answer.status_code == 200, answer.text
    return [m["id"] for m in answer.json()["messages"]]


async def test_a_message_in_the_list_tells_what_it_is_and_how_it_stands(door: Door) -> None:
    sent_id = await sent(door, to=["a@a.example", "b@b.example"], tags=["order"], metadata={"order": "4711"})
    door.room.settle([c for c in door.room.claim() if c.domain == "a.example"], DELIVERED)

    answer = (await door.get(LIST)).json()
    [message] = answer["messages"]
    times = [message.pop(name) for name in ("accepted_at", "due_at")]
    assert message.pop("size_bytes") > 0
    assert message == {
        "id": sent_id, "from": "shop@acme.example", "subject": "hello", "stream": "transactional",
        "tags": ["order"], "metadata": {"order": "4711"}, "states": {"delivered": 1, "leased": 1},
    }  # fmt: skip
    assert all(at.endswith("Z") for at in times)
    assert answer["next_cursor"] is None


async def test_cursors_lead_through_the_list_while_mail_comes_in(door: Door) -> None:
    made = [await sent(door) for _ in range(5)]
    pages: list[list[str]] = []
    cursor: str | None = ""
    while cursor is not None:
        answer = (await door.get(f"{LIST}?limit=2" + (f"&cursor={cursor}" if cursor else ""))).json()
        pages.append([m["id"] for m in answer["messages"]])
        cursor = answer["next_cursor"]
        await sent(door)

    assert pages == [made[:2:-1], made[2:0:-1], made[:1]]


async def test_every_filter_narrows_the_list(door: Door) -> None:
    one = await sent(door, to="Ada@Bücher.Example", tags=["order"])
    two = await sent(door, to="ada@bücher.example")
    door.room.settle([c for c in door.room.claim() if c.address.startswith("Ada")], BOUNCED)

    assert await listed(door) == [two, one]
    assert await listed(door, "state=bounced") == [one]
    assert await listed(door, "state=leased&state=queued") == [two]
    assert await listed(door, f"recipient={quote('Ada@BÜCHER.example')}") == [one]
    assert await listed(door, "recipient=ada@xn--bcher-kva.example") == [two]
    assert await listed(door, f"domain={quote('Bücher.example')}") == [two, one]
    assert await listed(door, "tag=order") == [one]
    assert await listed(door, "stream=transactional&from_domain=ACME.example") == [two, one]
    assert await listed(door, "stream=broadcast") == []


async def test_times_are_read_with_their_offset(door: Door) -> None:
    made = await sent(door)
    hour_ago = (clock.now() - timedelta(hours=1)).isoformat()
    in_an_hour = (clock.now() + timedelta(hours=1)).isoformat().replace("+00:00", "Z")

    assert await listed(door, f"after={quote(hour_ago)}&before={in_an_hour}") == [made]
    assert await listed(door, f"before={quote(hour_ago)}") == []
    assert await listed(door, f"after={in_an_hour}") == []
    assert await listed(door, "after=9999-12-31T23:59:59Z") == []
    assert await listed(door, "before=0001-01-01T00:00:00Z") == []


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("state=sent", "state"),
        ("recipient=nobody", "recipient"),
        ("recipient=a%00@b.example", "recipient"),
        ("domain=none", "domain"),
        ("from_domain=%00", "from_domain"),
        ("tag=a%20b", "tag"),
        ("tag=%00", "tag"),
        ("tag=", "tag"),
        ("stream=%00", "stream"),
        ("after=yesterday", "after"),
        ("after=2026-01-01T00:00:00", "after"),
        ("after=1767225600", "after"),
        ("before=2026-02-31T00:00:00Z", "before"),
        ("before=9999-12-31T23:59:59-23:59", "before"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=1.0", "limit"),
        ("tags=a", "tags"),
        ("cursor=", "cursor"),
        ("cursor=AAAAAAAAAAAAAAAAAAAA", "cursor"),
        (f"cursor={'A' * 65}", "cursor"),
        ("cursor=%C3%A9", "cursor"),
    ],
)
async def test_a_bad_filter_is_named(door: Door, query: str, parameter: str) -> None:
    answer = await door.get(f"{LIST}?{query}")

    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-field")
    assert answer.json()["errors"][0]["parameter"] == parameter


async def test_a_cursor_is_refused_with_other_filters_than_its_own(door: Door) -> None:
    for _ in range(2):
        await sent(door, tags=["a"])
    cursor = (await door.get(f"{LIST}?limit=1&tag=a")).json()["next_cursor"]

    other = await door.get(f"{LIST}?limit=1&cursor={cursor}")
    same = await door.get(f"{LIST}?tag=a&limit=9&cursor={cursor}")
    assert other.json()["errors"] == [
        {
            "parameter": "cursor",
            "detail": "is not a cursor that was given out for this list and these filters",
        }
    ]
    assert (same.status_code, len(same.json()["messages"])) == (200, 1)


# ---- isolation


async def test_a_tenant_lists_only_its_own_messages(door: Door) -> None:
    await sent(door, tags=["order"])
    stranger = door.keyring.issue(to=door.keyring.globex)

    for query in (
        "",
        "tag=order",
        "recipient=ada@example.org",
        "from_domain=acme.example",
        "domain=example.org",
    ):
        answer: dict[str, Any] = (await door.get(f"{LIST}?{query}", key=stranger)).json()
        assert answer == {"messages": [], "next_cursor": None}


async def test_a_cursor_of_another_tenant_opens_none_of_its_messages(door: Door) -> None:
    for _ in range(2):
        await sent(door)
    cursor = (await door.get(f"{LIST}?limit=1")).json()["next_cursor"]

    answer = await door.get(f"{LIST}?cursor={cursor}", key=door.keyring.issue(to=door.keyring.globex))

    assert answer.json() == {"messages": [], "next_cursor": None}


async def test_who_may_list(door: Door) -> None:
    sender = await door.get(LIST, key=door.keyring.issue(scopes=("send",)))
    nobody = await door.client.get(LIST, headers={"Authorization": ""})
    tenants.suspend(door.room.store, "acme")
    suspended = await door.client.get(LIST, headers=bearer(door.keyring.issue()))

    assert [a.status_code for a in (sender, nobody, suspended)] == [403, 401, 200]
