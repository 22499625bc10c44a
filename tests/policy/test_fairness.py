"""Deficit round robin over (tenant, site), as an operator reads it and for any backlog."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mailer.policy.egress import BROADCAST, TRANSACTIONAL
from mailer.policy.fairness import Flow, ReadyLane, Room, Share, share_out

A, B = 1, 2


def lane(lane_id: int, tenant_id: int, site: str, kind: str = TRANSACTIONAL) -> ReadyLane:
    return ReadyLane(lane_id, tenant_id, f"d{lane_id}.example", site, kind=kind)


def dealt(
    lanes: list[ReadyLane], *, room: Mapping[str, int], total: int, first: Flow | None = None, kept: int = 0
) -> Share:
    """kept: of each site's room and of the total, what broadcast mail may not take."""
    rooms = {site: Room(n, n - kept) for site, n in room.items()}
    return share_out(lanes, room=rooms, total=Room(total, total - kept), first=first)


def test_two_tenants_share_a_site_evenly() -> None:
    share = dealt([lane(1, A, "s"), lane(2, B, "s")], room={"s": 10}, total=100)

    assert share.quotas == {1: 5, 2: 5}


def test_many_lanes_of_one_tenant_weigh_no_more_than_one_lane_of_another() -> None:
    lanes = [lane(i, A, "s") for i in range(1, 10)] + [lane(99, B, "s")]

    share = dealt(lanes, room={"s": 100}, total=10)

    assert share.quotas[99] == 5


def test_a_full_site_leaves_its_turns_to_the_others() -> None:
    lanes = [lane(1, A, "full"), lane(2, A, "free")]

    share = dealt(lanes, room={"full": 0, "free": 50}, total=10)

    assert share.quotas == {2: 10}


def test_who_was_left_out_stands_first_next_time() -> None:
    lanes = [lane(1, A, "s"), lane(2, B, "s")]

    first = dealt(lanes, room={"s": 1}, total=10)
    second = dealt(lanes, room={"s": 1}, total=10, first=first.next_flow)

    assert (first.quotas, second.quotas) == ({1: 1}, {2: 1})


def test_broadcast_mail_leaves_the_kept_room_to_what_may_come() -> None:
    share = dealt([lane(1, A, "s", BROADCAST)], room={"s": 8}, total=100, kept=2)

    assert share.quotas == {1: 6}


def test_transactional_mail_takes_the_kept_room_and_comes_first() -> None:
    lanes = [lane(1, A, "s", BROADCAST), lane(2, B, "s")]

    share = dealt(lanes, room={"s": 2}, total=100, kept=2)

    assert share.quotas == {2: 2}


def test_neither_kind_starves_the_other() -> None:
    lanes = [lane(1, A, "s", BROADCAST), lane(2, B, "s")]

    share = dealt(lanes, room={"s": 100}, total=100)

    assert share.quotas == {2: 80, 1: 20}
    assert list(share.quotas) == [2, 1]


def by_ip(lane_id: int, tenant_id: int, **shares: float) -> list[ReadyLane]:
    """One lane of a pool, once for each of its IPs (a, b, ...)."""
    base = lane(lane_id, tenant_id, "s")
    ids = {name: number for number, name in enumerate(shares, 1)}
    return [replace(base, egress=n, egress_id=ids[n], share=share) for n, share in shares.items()]


def test_a_pools_lane_is_split_over_its_ips_by_their_shares() -> None:
    room = {"ip:a|s": 100, "ip:b|s": 100}

    share = dealt(by_ip(1, A, a=0.25, b=0.75), room=room, total=80)

    assert share.quotas == {1: 80}
    assert share.by_ip == {1: {1: 20, 2: 60}}


def test_what_one_ip_has_no_room_for_goes_to_the_other() -> None:
    share = dealt(by_ip(1, A, a=0.5, b=0.5), room={"ip:a|s": 10, "ip:b|s": 100}, total=80)

    assert share.by_ip == {1: {1: 10, 2: 70}}


def test_a_tenant_with_many_ips_has_no_more_turns_than_one_without() -> None:
    lanes = [*by_ip(1, A, a=0.25, b=0.25, c=0.25, d=0.25), lane(2, B, "t")]
    room = {"ip:a|s": 100, "ip:b|s": 100, "ip:c|s": 100, "ip:d|s": 100, "t": 100}

    share = dealt(lanes, room=room, total=80)

    assert share.quotas == {1: 40, 2: 40}


KINDS = st.sampled_from([TRANSACTIONAL, BROADCAST])
LANES = st.lists(st.tuples(st.integers(1, 4), st.sampled_from("stuv"), KINDS), min_size=1, max_size=30).map(
    lambda rows: [lane(i, *row) for i, row in enumerate(rows)]
)
ROOM = st.fixed_dictionaries({s: st.integers(-5, 50) for s in "stuv"})


@given(lanes=LANES, room=ROOM, total=st.integers(0, 200))
def test_never_over_the_room_nor_the_total_and_nothing_left_lying(
    lanes: list[ReadyLane], room: dict[str, int], total: int
) -> None:
    share = dealt(lanes, room=room, total=total)

    site_of = {x.lane_id: x.site for x in lanes}
    used = {s: sum(n for i, n in share.quotas.items() if site_of[i] == s) for s in room}
    usable = sum(max(0, room[s]) for s in {x.site for x in lanes})
    assert all(used[s] <= max(0, room[s]) for s in room)
    assert sum(used.values()) == min(total, usable)


@given(lanes=LANES, room=ROOM, total=st.integers(0, 200), kept=st.integers(0, 20))
def test_broadcast_mail_never_takes_what_is_kept(
    lanes: list[ReadyLane], room: dict[str, int], total: int, kept: int
) -> None:
    share = dealt(lanes, room=room, total=total, kept=kept)

    broadcast = {x.lane_id: x.site for x in lanes if x.kind == BROADCAST}
    taken = {s: sum(n for i, n in share.quotas.items() if broadcast.get(i) == s) for s in room}
    assert all(taken[s] <= max(0, room[s] - kept) for s in room)
    assert sum(taken.values()) <= max(0, total - kept)
