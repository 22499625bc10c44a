"""Moving mail that waits: to another stream of its tenant, as whose it is tried from then on, or to a pool.

What hangs on a stream when mail is sent (its retries, what follows doubt, the pool it goes out by) hangs on
the lane, so moving is putting recipients into the other stream's lanes. The message keeps the stream that it
was sent to. Broadcast mail is not moved to where somebody waits for his mail.

A lane may have a pool of its own, which an operator chose: what is moved there leaves from that one until it
ends, also as mail of another stream; all else about it is its stream's. Where such mail may not leave from
the pool any more (it was removed, or given to another tenant), it leaves as its stream's other mail does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select, update

from mailer.queue import egress
from mailer.queue.actions import MOVE, Deed, Doer
from mailer.queue.egress import PoolRow
from mailer.queue.enqueue import LaneKey, lanes_with
from mailer.queue.pieces import IS, Done, Means, Work, begin, lanes_with_mail, run
from mailer.queue.selection import Selection
from mailer.store.tables import lane, recipient, stream

_TRANSACTIONAL = "transactional"
POOL_TARGET = "pool:"  # before its name, as the deed is recorded; no stream is called so


class CannotMove(Exception):
    """The sentence says why. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class Move:
    """stream: the name of the one to move to, in each tenant whose mail is meant."""

    stream: str
    reason: str


def move(means: Means, wanted: Selection, doer: Doer, ordered: Move, *, most: int | None = None) -> Done:
    """What waits is the other stream's. Mail that is there already is left alone.

    most  recipients, or some more; None: all

    Raises CannotMove: a tenant has no such active stream, or the mail is broadcast and the stream is not.
    """
    goals = _goals(means, wanted, ordered.stream)
    deed = Deed(kind=MOVE, doer=doer, wanted=wanted, reason=ordered.reason, target=ordered.stream)
    action_id = begin(means, deed)

    def change(connection: Connection, rows: Sequence[Any]) -> None:
        # Rows of a tenant whose mail began to wait after the look stay where they are.
        def goal(there: Any) -> LaneKey | None:
            stream_id = goals.get(there.tenant_id)
            return None if stream_id is None else (there.tenant_id, stream_id, there.domain, there.pool_id)

        _put(connection, means, rows, goal)

    work = Work(action_id, list(IS), change, spares=lambda place: place.stream == ordered.stream)
    return run(means, wanted, work, most)


@dataclass(frozen=True, slots=True)
class MoveToPool:
    """pool: its name."""

    pool: str
    reason: str


def move_to_pool(
    means: Means, wanted: Selection, doer: Doer, ordered: MoveToPool, *, most: int | None = None
) -> Done:
    """What waits leaves from the pool until it ends. What was moved there already is left alone.

    For operators. most: recipients, or some more; None: all

    Raises CannotMove: there is no such pool, it is another tenant's, or the mail is broadcast and it is not.
    """
    pool = _pool(means, wanted, ordered.pool)
    target = f"{POOL_TARGET}{pool.name}"
    action_id = begin(means, Deed(kind=MOVE, doer=doer, wanted=wanted, reason=ordered.reason, target=target))

    def change(connection: Connection, rows: Sequence[Any]) -> None:
        # What began to wait after the look, and may not leave from there, stays where it is.
        def goal(there: Any) -> LaneKey | None:
            is_open = pool.is_open_to(there.tenant_id, there.kind)
            return (there.tenant_id, there.stream_id, there.domain, pool.id) if is_open else None

        _put(connection, means, rows, goal)

    work = Work(action_id, list(IS), change, spares=lambda place: place.pool_id == pool.id)
    return run(means, wanted, work, most)


def _pool(means: Means, wanted: Selection, name: str) -> PoolRow:
    """Raises CannotMove."""
    whose = {(place.tenant_id, place.stream) for place in lanes_with_mail(means, wanted)}
    with means.store.read() as connection:
        pools = egress.tables_in(connection).pools.values()
        pool = next((p for p in pools if p.name == name), None)
        if pool is None:
            raise CannotMove(f"there is no pool {name!r}")
        if any(pool.owner not in (None, tenant_id) for tenant_id, _ in whose):
            raise CannotMove(f"the pool {name!r} is for another tenant's mail alone")
        found = select(stream.c.tenant_id, stream.c.name, stream.c.kind)
        tenants = {tenant_id for tenant_id, _ in whose}
        kinds = connection.execute(found.where(stream.c.tenant_id.in_(tenants)))
        if any((t, n) in whose and not pool.is_open_to(t, kind) for t, n, kind in kinds):
            raise CannotMove("broadcast mail leaves from no transactional pool")
    return pool


def _goals(means: Means, wanted: Selection, name: str) -> Mapping[int, int]:
    """Tenant -> id of the stream. Raises CannotMove."""
    kinds: dict[int, set[str]] = defaultdict(set)
    for place in lanes_with_mail(means, wanted):
        kinds[place.tenant_id].add(place.stream)
    goals: dict[int, int] = {}
    with means.store.read() as connection:
        for tenant_id, names in kinds.items():
            found = select(stream).where(stream.c.tenant_id == tenant_id)
            streams = {row.name: row for row in connection.execute(found)}
            goal = streams.get(name)
            if goal is None or goal.state != "active":
                raise CannotMove(f"there is no active stream {name!r} of this mail's tenant")
            if goal.kind == _TRANSACTIONAL and any(streams[n].kind != _TRANSACTIONAL for n in names):
                raise CannotMove("broadcast mail is not moved to a transactional stream")
            goals[tenant_id] = goal.id
    return goals


def _put(
    connection: Connection, means: Means, rows: Sequence[Any], goal: Callable[[Any], LaneKey | None]
) -> None:
    """Into other lanes. goal: of the lane that they are in, with its stream's kind; None: they stay there."""
    of_lane = select(lane, stream.c.kind).join(stream, stream.c.id == lane.c.stream_id)
    theirs = of_lane.where(lane.c.id.in_({row.lane_id for row in rows}))
    lanes = {row.id: row for row in connection.execute(theirs)}
    keys = {i: key for i, row in lanes.items() if (key := goal(row)) is not None}
    targets = lanes_with(connection, keys.values(), means.new_id) if keys else {}
    moved: dict[int, list[int]] = defaultdict(list)
    for row in rows:
        if row.lane_id in keys:
            moved[row.lane_id].append(row.id)
    for lane_id, recipient_ids in moved.items():
        target = targets[keys[lane_id]]
        connection.execute(update(recipient).where(recipient.c.id.in_(recipient_ids)).values(lane_id=target))
        # The site was found out already; a worker that finds another one says so.
        known = update(lane).where(lane.c.id == target, lane.c.site.is_(None))
        if lanes[lane_id].site is not None:
            connection.execute(known.values(site=lanes[lane_id].site))
