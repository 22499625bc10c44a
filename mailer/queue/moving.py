"""Moving mail that waits to another stream of its tenant: from then on it is tried as that stream's is.

What hangs on a stream when mail is sent (its retries, what follows doubt, the pool it goes out by) hangs on
the lane, so moving is putting recipients into the other stream's lanes. The message keeps the stream that it
was sent to. Broadcast mail is not moved to where somebody waits for his mail.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select, update

from mailer.queue.actions import MOVE, Deed, Doer
from mailer.queue.enqueue import LaneBook
from mailer.queue.pieces import IS, Done, Means, Work, begin, lanes_with_mail, run
from mailer.queue.selection import Selection
from mailer.store.tables import lane, recipient, stream

_TRANSACTIONAL = "transactional"


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
        _change(connection, means, rows, goals)

    return run(means, wanted, Work(action_id, list(IS), change, spared=ordered.stream), most)


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


def _change(connection: Connection, means: Means, rows: Sequence[Any], goals: Mapping[int, int]) -> None:
    """Rows of a tenant whose mail began to wait after the look stay where they are."""
    of_lane = select(lane.c.id, lane.c.tenant_id, lane.c.domain, lane.c.site)
    theirs = of_lane.where(lane.c.id.in_({row.lane_id for row in rows}))
    lanes = {row.id: row for row in connection.execute(theirs) if row.tenant_id in goals}
    keys = {row.id: (row.tenant_id, goals[row.tenant_id], row.domain) for row in lanes.values()}
    targets = LaneBook().ids_of(connection, keys.values(), means.new_id)
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
