"""How much mail a worker takes in hand for a site."""

from __future__ import annotations

# Work for this long is held per connection, so that a fast site never waits for the next claim.
_HELD_SECONDS = 0.2
_MOST_PER_CONNECTION = 16


def in_hand_limit(connections: int, transaction_seconds: float) -> int:
    """How many messages a worker may hold claimed for a site it has `connections` permits for.

    A slow site gets one a connection: what waits behind a tarpit could be sent by another worker.

    transaction_seconds  average time of one mail transaction there; 0 or less when none was measured
    """
    if transaction_seconds <= 0:
        return max(connections, 0)
    each = min(max(_HELD_SECONDS / transaction_seconds, 1.0), float(_MOST_PER_CONNECTION))
    return max(int(connections * each), 0)
