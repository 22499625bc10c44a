"""The queue at a glance says what the rows say."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from mailer import clock
from mailer.policy.sites import SiteRules
from mailer.queue import backlog, incarnations, opened, permits
from mailer.queue.backlog import By, Overview, Row, Wanted
from mailer.queue.obstacles import Knowledge
from tests.support.mailroom import (
    BOUNCED,
    DELIVERED,
    HEARD_250,
    HEARD_451,
    HOUR,
    RELEASED,
    Mailroom,
    deferral,
    register,
)

OPERATOR = Knowledge(for_operator=True)


def look(
    room: Mailroom, by: By = By.SITE, knowledge: Knowledge = OPERATOR, owner: int | None = None
) -> Overview:
    return backlog.look(room.store, Wanted(by=by, owner_id=owner), knowledge, now=clock.now())


def rows(overview: Overview) -> dict[str, Row]:
    return {row.name: row for row in overview.rows}


def busy(room: Mailroom) -> None:
    """a.example: 1 delivered, 1 deferred, 2 queued, 1 leased; b.example: 2 queued, never resolved."""
    room.accept(*(room.message("a.example") for _ in range(3)))
    delivered, refused, bounced = room.claim()
    room.settle([delivered], DELIVERED)
    room.settle([refused], deferral(clock.now() + HOUR), HEARD_451)
    room.settle([bounced], BOUNCED, replace(HEARD_451, code=550, reply="550 5.1.1 no"))
    room.accept(room.message("a.example"))
    room.claim()
    room.accept(*(room.message("a.example") for _ in range(2)))
    room.accept(*(room.message("b.example") for _ in range(2)))


def test_sites_are_counted_with_what_came_of_the_last_minute(room: Mailroom) -> None:
    began = clock.now()
    busy(room)

    seen = look(room)

    a, b = rows(seen)["mx:mx.example"], rows(seen)["domain:b.example"]
    assert (a.queued, a.deferred, a.leased, a.waiting) == (2, 1, 1, 3)
    assert (a.ended, a.errors, dict(a.outcomes)) == (
        3, 2, {"accepted": 1, "refused 4yz": 1, "refused 5yz": 1},
    )  # fmt: skip
    assert (b.queued, b.deferred, b.leased, b.ended) == (2, 0, 0, 0)
    assert a.oldest_at is not None
    assert began - timedelta(seconds=1) <= a.oldest_at <= clock.now()
    assert [row.name for row in seen.rows] == ["mx:mx.example", "domain:b.example"]
    assert (seen.totals.queued, seen.totals.ended, seen.totals.is_partial) == (4, 3, False)
    assert seen.window_seconds == 60


@pytest.mark.parametrize(("by", "names"), [(By.DOMAIN, {"a.example", "b.example"}), (By.TENANT, {"acme"})])
def test_domains_and_tenants_are_counted_alike(room: Mailroom, by: By, names: set[str]) -> None:
    busy(room)

    seen = look(room, by)

    assert rows(seen).keys() == names
    assert (seen.totals.queued, seen.totals.deferred, seen.totals.leased, seen.totals.ended) == (4, 1, 1, 3)
    assert rows(seen)[min(names)].ended == 3


def test_the_site_of_a_route_is_its_domains(room: Mailroom) -> None:
    busy(room)

    seen = look(room, knowledge=Knowledge(site_of=lambda d: "route:hub:25" if d == "b.example" else None))

    assert rows(seen)["route:hub:25"].queued == 2


def test_a_tenant_sees_its_own_and_no_connections(room: Mailroom) -> None:
    busy(room)
    permits.acquire(room.store, room.worker.id, {"mx:mx.example": 5})

    mine, theirs = look(room, owner=room.tenant_id), look(room, owner=room.tenant_id + 1)

    assert (mine.totals.queued, mine.totals.leased, mine.totals.ended) == (4, 1, 3)
    assert rows(mine)["mx:mx.example"].granted is None
    assert theirs.rows == []


def test_connections_that_are_granted_stand_beside_their_limit(room: Mailroom) -> None:
    busy(room)
    other = register(room.store)
    text = '[provider.big]\nmx = ["mx.example"]\nconnections = 4\none_site = false\nsource = "assumed"'
    limits = {"mx:mx.example": 4}
    permits.acquire(room.store, room.worker.id, limits)
    permits.acquire(room.store, other.id, limits)

    seen = rows(look(room, knowledge=Knowledge(rules=SiteRules.parse({"s": text}))))

    assert (seen["mx:mx.example"].granted, seen["mx:mx.example"].limit) == (4, 4)
    assert (seen["domain:b.example"].granted, seen["domain:b.example"].limit) == (0, 20)


def test_connections_in_use_are_forgotten_with_their_worker(room: Mailroom) -> None:
    busy(room)
    other = register(room.store)
    for me in (room.worker.id, other.id):
        opened.report(room.store, me, {"mx:mx.example": 3, "mx:elsewhere.example": 1})
    both = rows(look(room))["mx:mx.example"].in_use
    opened.report(room.store, other.id, {"mx:mx.example": 2})
    fewer = rows(look(room))["mx:mx.example"].in_use
    incarnations.fence(room.store, other.id, now=clock.now())

    one = rows(look(room))

    assert (both, fewer) == (6, 5)
    assert one["mx:mx.example"].in_use == 3
    assert one["domain:b.example"].in_use == 0


def test_a_release_is_no_attempt_and_what_is_unroutable_is_its_domains(room: Mailroom) -> None:
    room.accept(room.message("a.example"), room.message("b.example"))
    first, second = room.claim()
    nowhere = replace(HEARD_250, outcome="unroutable", site=None, code=None, reply="no MX")
    room.settle([first], RELEASED)
    room.settle([second], deferral(clock.now() + HOUR), nowhere)

    seen = rows(look(room))

    assert dict(seen["domain:b.example"].outcomes) == {"unroutable": 1}
    assert sum(row.ended for row in seen.values()) == 1


def test_beyond_its_bounds_it_says_at_least(room: Mailroom, monkeypatch: pytest.MonkeyPatch) -> None:
    room.accept(*(room.message(f"d{n % 3}.example") for n in range(60)))
    monkeypatch.setattr(backlog, "MOST_COUNTED", 36)

    counted = look(room)
    monkeypatch.setattr(backlog, "MOST_LANES", 2)
    monkeypatch.setattr(backlog, "MOST_COUNTED", 1000)
    few = look(room)

    assert [(row.queued, row.is_partial) for row in counted.rows] == [(12, True)] * 3
    assert [(row.queued, row.is_partial) for row in few.rows] == [(20, True)] * 2


def test_where_more_ended_than_is_read_the_window_is_shorter(
    room: Mailroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    room.accept(*(room.message() for _ in range(5)))
    room.settle(room.claim(), DELIVERED)
    monkeypatch.setattr(backlog, "MOST_ATTEMPTS", 3)

    seen = look(room)

    assert seen.totals.ended <= 3
    assert seen.window_seconds < 60
