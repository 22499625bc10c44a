"""/v1/brake: the operator sees who is paused, and lets go."""

from __future__ import annotations

from typing import Any

import pytest

from mailer import clock, ids
from mailer.config.load import brake_rules
from mailer.identity.api_keys import SCOPES
from mailer.policy.brake import Counts
from mailer.queue import brake, braking
from mailer.queue.pieces import Means
from mailer.store.tables import stream
from tests.accept.http.conftest import Door, bearer
from tests.accept.http.test_egress_routes import Operator, fault

LATER = "2099-12-01T00:00:00Z"
ROUTES = [
    ("GET", "/v1/brake", None),
    ("POST", "/v1/brake/override", {"tenant": "acme", "until": LATER, "reason": "x"}),
    ("POST", "/v1/brake/clear", {"tenant": "acme", "reason": "x"}),
]


@pytest.fixture
def operator(door: Door) -> Operator:
    return Operator(door)


@pytest.fixture
def paused(door: Door) -> Means:
    """The stream `news` of acme is."""
    room = door.room
    news = room.new_id()
    means = Means(room.store, room.new_id, room.worker.process_number, clock.now)
    with room.store.write() as c:
        c.execute(
            stream.insert().values(
                id=news, tenant_id=room.tenant_id, name="news", kind="broadcast", in_doubt="retry",
                created_at=clock.now(),
            )
        )  # fmt: skip
        counts = {(room.tenant_id, news): Counts(delivered=100, bounced=900)}
        braking.count(c, counts, process_number=1, now=clock.now())
    assert [c.stream for c in brake.judge(means, brake_rules(None))] == ["news"]
    return means


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
async def test_only_the_operator_reaches_it(door: Door, method: str, path: str, body: Any) -> None:
    key = door.keyring.issue(scopes=SCOPES)

    answer = await door.client.request(method, path, json=body, headers=bearer(key))

    assert answer.status_code == 403


async def test_a_paused_stream_is_seen_let_go_and_judged_again(operator: Operator, paused: Means) -> None:
    [before] = (await operator.ask("GET", "/brake")).json()["streams"]
    order = {"tenant": "acme", "stream": "news", "until": LATER, "reason": "the list was cleaned"}
    let_go = await operator.ask("POST", "/brake/override", order)
    [after] = (await operator.ask("GET", "/brake")).json()["streams"]
    clear = {"tenant": "acme", "stream": "news", "reason": "it was not"}
    cleared = [(await operator.ask("POST", "/brake/clear", clear)).status_code for _ in range(2)]

    assert (before["tenant"], before["stream"], before["mark"], before["paused"]) == (
        "acme", "news", "pause", True,
    )  # fmt: skip
    assert "90.00% hard bounces" in before["reason"]
    assert let_go.json() == {"let_go": 1}
    assert (after["paused"], after["override"]["reason"]) == (False, "the list was cleaned")
    assert ids.parse("key", after["override"]["set_by"])
    assert cleared == [204, 404]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"until": "2020-01-01T00:00:00Z"}, (422, "invalid-field", "/until")),
        ({"until": None}, (422, "invalid-field", "/until")),
        ({"reason": "two\nlines"}, (422, "invalid-field", "/reason")),
        ({"stream": None}, (422, "invalid-field", "/stream")),
        ({"everything": True}, (422, "invalid-field", "/everything")),
        ({"tenant": "nobody"}, (404, "not-found", None)),
        ({"stream": "none"}, (404, "not-found", None)),
    ],
)
async def test_what_cannot_be_done_changes_nothing(
    operator: Operator, paused: Means, change: dict[str, Any], expected: tuple[int, str, str | None]
) -> None:
    order = {"tenant": "acme", "stream": "news", "until": LATER, "reason": "x", **change}

    answer = await operator.ask("POST", "/brake/override", order)

    assert fault(answer) == expected
    [still] = (await operator.ask("GET", "/brake")).json()["streams"]
    assert (still["paused"], still["override"]) == (True, None)


async def test_the_metrics_count_warned_and_paused_streams(door: Door, paused: Means) -> None:
    told = (await door.get("/metrics")).text

    assert 'mailer_braked_streams{state="paused"} 1.0' in told
    assert 'mailer_braked_streams{state="warned"} 0.0' in told


async def test_the_tenant_is_told_by_an_event_without_a_message(door: Door, paused: Means) -> None:
    door.number_events()

    [event] = (await door.get("/v1/events?type=stream_paused")).json()["events"]

    assert (event["type"], event["message_id"], event["recipient_id"]) == ("stream_paused", None, None)
    assert event["data"].keys() == {"stream", "reason", "until"}
