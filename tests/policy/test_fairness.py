"""Deficit round robin over (tenant, site), as an operator reads it and for any backlog."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mailer.policy.fairness import ReadyLane, share_out

A, B = 1, 2


def lane(lane_id: int, tenant_id: int, site: str) -> ReadyLane:
    return ReadyLane(lane_id, tenant_id, f"d{lane_id}.example", site)


def test_two_tenants_share_a_site_evenly() -> None:
    share = share_out([lane(1, A, "s"), lane(2, B, "s")], room={"s": 10}, total=100, first=None)

    assert share.quotas == {1: 5, 2: 5}


def test_many_lanes_of_one_tenant_weigh_no_more_than_one_lane_of_another() -> None:
    lanes = [lane(i, A, "s") for i in range(1, 10)] + [lane(99, B, "s")]

    share = share_out(lanes, room={"s": 100}, total=10, first=None)

    assert share.quotas[99] == 5


def test_a_full_site_leaves_its_turns_to_the_others() -> None:
    lanes = [lane(1, A, "full"), lane(2, A, "free")]

    share = share_out(lanes, room={"full": 0, "free": 50}, total=10, first=None)

    assert share.quotas == {2: 10}


def test_who_was_left_out_stands_first_next_time() -> None:
    lanes = [lane(1, A, "s"), lane(2, B, "s")]

    first = share_out(lanes, room={"s": 1}, total=10, first=None)
    second = share_out(lanes, room={"s": 1}, total=10, first=first.next_flow)

    assert (first.quotas, second.quotas) == ({1: 1}, {2: 1})


LANES = st.lists(st.tuples(st.integers(1, 4), st.sampled_from("stuv")), min_size=1, max_size=30).map(
    lambda pairs: [lane(i, t, s) for i, (t, s) in enumerate(pairs)]
)
ROOM = st.fixed_dictionaries({s: st.integers(-5, 50) for s in "stuv"})


@given(lanes=LANES, room=ROOM, total=st.integers(0, 200))
def test_never_over_the_room_nor_the_total_and_nothing_left_lying(
    lanes: list[ReadyLane], room: dict[str, int], total: int
) -> None:
    share = share_out(lanes, room=room, total=total, first=None)

    site_of = {x.lane_id: x.site for x in lanes}
    used = {s: sum(n for i, n in share.quotas.items() if site_of[i] == s) for s in room}
    usable = sum(max(0, room[s]) for s in {x.site for x in lanes})
    assert all(used[s] <= max(0, room[s]) for s in room)
    assert sum(used.values()) == min(total, usable)
