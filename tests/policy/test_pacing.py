from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.policy.pacing import in_hand_limit, room_for


@pytest.mark.parametrize(
    ("connections", "seconds", "limit"),
    [
        (20, 0.001, 320),  # a fast site: 16 a connection
        (20, 0.05, 80),
        (20, 0.2, 20),
        (20, 30.0, 20),  # a tarpit: one a connection
        (1, 0.15, 1),
        (0, 0.001, 0),
        (5, 0.0, 5),  # nothing measured yet
    ],
)
def test_fast_sites_get_more_in_hand(connections: int, seconds: float, limit: int) -> None:
    assert in_hand_limit(connections, seconds) == limit


@given(st.integers(0, 10_000), st.floats(min_value=0, allow_nan=False))
def test_never_less_than_one_and_never_more_than_sixteen_a_connection(
    connections: int, seconds: float
) -> None:
    assert connections <= in_hand_limit(connections, seconds) <= 16 * connections


@given(st.integers(0, 50), st.floats(0.0, 5.0), st.integers(0, 1000))
def test_a_claim_never_passes_the_limit_and_never_leaves_a_connection_idle(
    connections: int, seconds: float, held: int
) -> None:
    limit = in_hand_limit(connections, seconds)

    room = room_for(connections, limit, held)

    assert room <= max(0, limit - held)
    assert room > 0 or held >= connections


def test_a_busy_fast_site_is_claimed_for_in_batches() -> None:
    assert room_for(20, 320, 319) == 0
    assert room_for(20, 320, 256) == 64
