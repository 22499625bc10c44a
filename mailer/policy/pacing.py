"""How much mail a worker takes in hand for a site."""

from __future__ import annotations

# Work for this long is held per connection, so that a fast site never waits for the next claim.
_HELD_SECONDS = 0.2
_MOST_PER_CONNECTION = 16
_KEPT = 4  # parts of the limit
_CLAIMED_AT_ONCE = 4  # parts of the limit
_ALWAYS_WORTH_IT = 64


def in_hand_limit(connections: int, transaction_seconds: float) -> int:
    """How many messages a worker may hold claimed for a site it has `connections` permits for.

    A slow site gets one a connection: what waits behind a tarpit could be sent by another worker.

    transaction_seconds  average time of one mail transaction there; 0 or less when none was measured
    """
    if transaction_seconds <= 0:
        return max(connections, 0)
    each = min(max(_HELD_SECONDS / transaction_seconds, 1.0), float(_MOST_PER_CONNECTION))
    return max(int(connections * each), 0)


def limit_of_broadcast(limit: int) -> int:
    """How much of `limit` broadcast mail may fill: a quarter is kept for transactional mail, which finds a
    connection at once, however much else waits and however slow the site is. Three and fewer are shared."""
    return limit - limit // _KEPT


def limit_of_party(limit: int, connections: int) -> int:
    """How much of `limit` one tenant's mail of one kind may fill, its connections at least: of what waits for
    a connection a quarter is kept for others, so that theirs does not wait until a claimed backlog is sent.
    """
    return max(min(connections, limit), limit - limit // _KEPT)


def room_for(connections: int, limit: int, held: int) -> int:
    """How many more messages to claim for a site of which `held` are in hand; 0 while it is not worth it.

    A claim costs much the same for one message as for many, so it waits until a quarter of the limit is
    free, as long as what is held keeps every connection busy.
    """
    free = limit - held
    least = min(limit - connections, limit // _CLAIMED_AT_ONCE, _ALWAYS_WORTH_IT)
    return free if free >= max(1, least) else 0
