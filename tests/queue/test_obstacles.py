"""Each cause is put in place for real, and the explanation names it, until when, and what it would take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace
from sqlalchemy import update

from mailer import clock, ids
from mailer.events import RecipientState, WaitReason
from mailer.policy.limits import Rate
from mailer.policy.sites import SiteRules
from mailer.queue import allowances, claim, explain, holds, incarnations, metering, paced, permits
from mailer.queue.actions import BRAKE, Doer
from mailer.queue.claim import Terms
from mailer.queue.enqueue import NewMessage
from mailer.queue.holds import NewHold
from mailer.queue.metering import Tolls
from mailer.queue.obstacles import Knowledge, Look, Obstacle, Waiting
from mailer.queue.selection import Selection
from mailer.store.tables import recipient
from tests.support.mailroom import DELIVERED, HEARD_250, HEARD_451, HOUR, Mailroom, deferral, register

OPERATOR = Knowledge(for_operator=True)


def obstacles(
    room: Mailroom, m: NewMessage, knowledge: Knowledge = OPERATOR, *, now: datetime | None = None
) -> dict[str, Obstacle]:
    """Of its first recipient, by kind."""
    found = explain.explain(room.store, room.tenant_id, m.id, knowledge, now=now or clock.now())
    assert found is not None
    return {o.kind: o for o in found[0].obstacles}


def accepted(room: Mailroom, *domains: str) -> NewMessage:
    m = room.message(*domains)
    room.accept(m)
    return m


def resolved(room: Mailroom, site: str = "mx:mx.example") -> None:
    """Delivers one message, from which the lane of example.org learns its site."""
    room.accept(room.message())
    room.settle(room.claim(), DELIVERED, replace(HEARD_250, site=site))


def place(room: Mailroom, doer: Doer, until: datetime | None, **wanted: object) -> str:
    new = NewHold(Selection(**wanted), "complaints", until, 0)
    made = holds.place(room.store, new, doer, new_id=room.new_id, now=clock.now())
    return ids.show("hold", made.id)


def test_what_nothing_hinders_has_no_obstacle(room: Mailroom) -> None:
    resolved(room)
    m = accepted(room)

    assert obstacles(room, m) == {}


def test_what_has_ended_has_none(room: Mailroom) -> None:
    m = accepted(room)
    place(room, Doer("ann"), None)
    room.settle(room.claim(), DELIVERED)

    assert obstacles(room, m) == {}


# ---- holds


@pytest.mark.parametrize(
    "wanted",
    [{}, {"domain": "example.org"}, {"site": "mx:mx.example"}, {"stream": "transactional"}],
)
def test_a_hold_is_named_with_its_reason_and_its_end(room: Mailroom, wanted: dict[str, object]) -> None:
    resolved(room)
    m = accepted(room)
    until = clock.now() + HOUR
    name = place(room, Doer("ann"), until, **wanted)

    found = obstacles(room, m)["held"]

    assert (found.until, found.remedy) == (until, f"release {name}")
    assert found.what.startswith("the operator holds")
    assert found.what.endswith("complaints")
    assert found.facts["placed_by"] == "ann"


def test_the_brake_is_named_and_what_ends_it(room: Mailroom) -> None:
    m = accepted(room)
    place(room, BRAKE, clock.now() + HOUR, stream="transactional")

    found = obstacles(room, m)["held"]

    assert found.what.startswith("the brake holds")
    assert found.what.endswith("complaints")
    assert found.facts["by"] == "the brake"
    assert "`mailer brake override`" in (found.remedy or "")


def test_a_hold_of_other_mail_is_not_named(room: Mailroom) -> None:
    m, other = accepted(room), accepted(room)
    for wanted in ({"message_id": other.id}, {"domain": "a.example"}, {"site": "x"}, {"tenant_id": 5}):
        place(room, Doer("ann"), None, **wanted)
    place(room, Doer("ann"), None, recipient_id=other.recipients[0].id)

    assert "held" not in obstacles(room, m)
    assert "held" in obstacles(room, other)


def test_a_tenant_hears_who_holds_its_mail_and_not_who_gave_the_command(room: Mailroom) -> None:
    m = accepted(room)
    place(room, Doer("ann on host7"), None)
    own = place(room, Doer("key", room.tenant_id), None, tenant_id=room.tenant_id)

    found = explain.explain(room.store, room.tenant_id, m.id, Knowledge(), now=clock.now())

    assert found is not None
    first, second = (o for o in found[0].obstacles if o.kind == "held")
    assert "ann" not in str(first)
    assert second.what.startswith("its tenant holds")
    assert second.facts["hold"] == own


# ---- time


def test_a_retry_is_named_with_the_last_reply_and_its_time(room: Mailroom) -> None:
    m = accepted(room)
    due = clock.now() + HOUR
    room.settle(room.claim(), deferral(due), HEARD_451)

    found = obstacles(room, m)

    assert found.keys() == {"retry"}
    assert (found["retry"].until, found["retry"].facts) == (due, {"reason": "refused"})
    assert "451 4.7.1 later" in found["retry"].what


def test_a_chosen_time_is_named(room: Mailroom) -> None:
    m = accepted(room)
    due = clock.now() + HOUR
    with room.store.write() as c:
        c.execute(
            update(recipient).values(
                state=RecipientState.DEFERRED, wait_reason=WaitReason.SCHEDULED, due_at=due
            )
        )

    assert obstacles(room, m)["scheduled"].until == due


def test_mail_that_nobody_wakes_is_named(room: Mailroom) -> None:
    m = accepted(room)
    room.settle(room.claim(), deferral(clock.now() + HOUR), HEARD_451)
    later = clock.now() + 2 * HOUR

    without = obstacles(room, m, now=later)["not_woken"]
    register(room.store, role="sweeper")

    assert without.remedy == "start a sweeper: none lives"
    assert obstacles(room, m, now=later)["not_woken"].facts == {"sweepers": 1}


def test_a_fault_is_named(room: Mailroom) -> None:
    m = accepted(room)
    with room.store.write() as c:
        c.execute(
            update(recipient).values(
                state=RecipientState.HELD, wait_reason=WaitReason.HELD, last_reply="its body is missing"
            )
        )

    assert "its body is missing" in obstacles(room, m)["fault"].what


# ---- workers


def test_that_no_worker_lives_is_named(room: Mailroom) -> None:
    m = accepted(room)
    incarnations.end(room.store, room.worker.id, now=clock.now())

    assert "mailer worker" in obstacles(room, m)["no_worker"].remedy


def test_what_a_worker_has_in_hand_is_named(room: Mailroom) -> None:
    m = accepted(room)
    room.claim()

    alive = obstacles(room, m)["in_hand"]
    incarnations.fence(room.store, room.worker.id, now=clock.now())

    assert alive.what == "the worker with pid 1 on here has it in hand"
    assert obstacles(room, m)["in_hand"].what.endswith("and is dead")
    assert obstacles(room, m, Knowledge())["in_hand"].what == "a worker has it in hand and is dead"


def test_a_domain_that_was_never_resolved_is_named_and_one_with_a_route_is_not(room: Mailroom) -> None:
    m = accepted(room)

    assert "example.org" in obstacles(room, m)["unresolved"].what
    assert "unresolved" not in obstacles(room, m, Knowledge(site_of=lambda _: "route:hub:25"))


# ---- connections and turns


def test_connections_that_are_all_granted_are_named_with_their_holders_and_rule(room: Mailroom) -> None:
    text = '\n[provider.big]\nmx = ["big.example"]\nconnections = 2\nsource = "assumed"'
    rules = SiteRules.parse({"sites.toml": text})
    resolved(room, "provider:big")
    m = accepted(room)
    permits.acquire(room.store, room.worker.id, {"provider:big": 2})

    found = obstacles(room, m, Knowledge(rules=rules, for_operator=True))["connections"]
    told = obstacles(room, m, Knowledge(rules=rules))["connections"]

    assert found.rule == "sites.toml:2"
    assert found.facts == {
        "site": "provider:big", "limit": 2, "granted": 2,
        "workers": [{"host": "here", "pid": 1, "connections": 2}],
    }  # fmt: skip
    assert told.facts.keys() == {"site", "limit", "granted"}


def test_where_no_rule_is_the_setting_is_named(room: Mailroom) -> None:
    resolved(room)
    m = accepted(room)
    permits.acquire(room.store, room.worker.id, {"mx:mx.example": 3})

    found = obstacles(room, m, Knowledge(connections_per_site=3))["connections"]

    assert found.rule is None
    assert "MAILER_CONNECTIONS_PER_SITE" in found.what


def test_connections_of_which_some_are_free_are_no_obstacle(room: Mailroom) -> None:
    resolved(room)
    m = accepted(room)
    permits.acquire(room.store, room.worker.id, {"mx:mx.example": 2})

    assert obstacles(room, m, Knowledge(connections_per_site=3)) == {}


def test_what_stands_before_it_is_counted(room: Mailroom) -> None:
    resolved(room)
    first, _, third = (accepted(room) for _ in range(3))

    assert "backlog" not in obstacles(room, first)
    assert obstacles(room, third)["backlog"].facts == {"ahead_in_lane": 2, "waiting_at_site": 3}
    assert obstacles(room, third, Knowledge())["backlog"].facts == {"ahead_in_lane": 2}


# ---- other parts


def test_other_parts_bring_their_own(room: Mailroom) -> None:
    until = clock.now() + timedelta(minutes=3)

    def suspended(_look: Look, w: Waiting) -> list[Obstacle]:
        return [Obstacle(kind="suspended", what=f"{w.site} is suspended", until=until, remedy="wait")]

    m = accepted(room)

    assert obstacles(room, m, Knowledge(also=(suspended,)))["suspended"].what == (
        "domain:example.org is suspended"
    )


def test_a_recipient_is_explained_by_its_own_id(room: Mailroom) -> None:
    m = accepted(room)

    assert explain.message_with(room.store, m.recipients[0].id) == m.id
    assert explain.message_with(room.store, 5) is None


# ---- ceilings over time, and what sites refuse

CEILED = """
[provider.slow]
mx = ["slow.example"]
messages_per_hour = 1
source = "assumed"
"""


def ceiled() -> Knowledge:
    return Knowledge(rules=SiteRules.parse({"own.toml": CEILED}), also=paced.FINDERS)


def sent_one(room: Mailroom, knowledge: Knowledge, site: str, limits: Mapping[str, Sequence[Rate]]) -> None:
    """One message was claimed for the site, under these limits."""
    resolved(room, site)
    accepted(room)
    lanes = [lane.lane_id for lane in claim.waiting_lanes(room.store, limit=9)]
    tolls = Tolls(rates=limits, of_lane={i: list(limits) for i in lanes}, monotonic=clock.monotonic)
    [_one] = claim.claim(
        room.store, room.worker.id, dict.fromkeys(lanes, 1), max_bytes=1 << 20, new_id=room.new_id,
        now=clock.now(), terms=Terms(tolls=tolls),
    )  # fmt: skip


def test_a_sites_ceiling_is_named_with_its_rule_and_when_it_opens(room: Mailroom) -> None:
    sent_one(room, ceiled(), "provider:slow", {"site:|provider:slow": [Rate(3600, 1)]})

    found = obstacles(room, accepted(room), ceiled())["ceiling"]

    assert found.what == "its site is sent 1/hour at most, and so much was sent"
    assert found.rule == "own.toml:2"
    assert found.until is not None
    assert timedelta(minutes=59) < found.until - clock.now() < timedelta(minutes=63)


def test_a_tenants_ceiling_is_named(room: Mailroom) -> None:
    allowances.allow(room.store, "tenant", room.tenant_id, [Rate(60, 1)], now=clock.now())
    sent_one(room, ceiled(), "mx:mx.example", {f"tenant:{room.tenant_id}": [Rate(60, 1)]})

    found = obstacles(room, accepted(room), ceiled())["ceiling"]

    assert (found.what, found.rule) == ("its tenant sends 1/minute at most, and so much was sent", None)


DIALLED = """
[provider.slow]
mx = ["slow.example"]
connections_per_minute = 2
source = "assumed"
"""


def dialled(room: Mailroom, *addresses: str) -> None:
    """A connection was opened to the site from each of our addresses."""
    with room.store.write() as connection:
        names = [f"connects:{address}|provider:slow" for address in addresses]
        rates = {name: [Rate(60, 2)] for name in names}
        till = metering.Till(connection, rates, now=clock.now(), monotonic=clock.monotonic)
        for name in names:
            till.take([name])
        till.close()


def test_new_connections_that_are_used_up_are_named_with_the_rule_and_until_when(room: Mailroom) -> None:
    rules = SiteRules.parse({"own.toml": DIALLED})
    resolved(room, "provider:slow")
    recipient = accepted(room)
    found = []
    for addresses in ((), ("192.0.2.1",), ("192.0.2.1", "192.0.2.2"), ("192.0.2.2",)):
        dialled(room, *addresses)
        for for_operator in (False, True):
            known = Knowledge(rules=rules, also=paced.FINDERS, for_operator=for_operator)
            found.append(obstacles(room, recipient, known).get("new_connections"))

    # As long as one of the addresses may open one more, mail does not wait for it.
    assert found[:6] == [None] * 6
    mine, operators = found[6:]
    assert mine is not None
    assert operators is not None
    assert (
        mine.what
        == "its site takes 2/minute new connections from an address of ours, and so many were opened"
    )
    assert mine.rule == "own.toml:2"
    assert mine.until is not None
    assert timedelta(seconds=50) < mine.until - clock.now() < timedelta(seconds=70)
    assert mine.facts == {"limit": "2/minute", "over": "connections"}
    assert operators.facts["egress_ips"] == ["192.0.2.1", "192.0.2.2"]


def test_another_sites_connections_are_no_obstacle(room: Mailroom) -> None:
    """Nor is a name that ends alike, where a wildcard of the database would match."""
    rules = SiteRules.parse({"own.toml": DIALLED.replace("slow", "s-w")})
    resolved(room, "provider:s_w")
    recipient = accepted(room)
    with room.store.write() as connection:
        rates = {"connects:|provider:s-w": [Rate(60, 1)], "connects:|route:x|provider:s_w": [Rate(60, 1)]}
        till = metering.Till(connection, rates, now=clock.now(), monotonic=clock.monotonic)
        till.take(rates)
        till.close()

    assert obstacles(room, recipient, Knowledge(rules=rules, also=paced.FINDERS)) == {}


def test_a_ceiling_with_room_is_no_obstacle(room: Mailroom) -> None:
    resolved(room, "provider:slow")

    assert obstacles(room, accepted(room), ceiled()) == {}
