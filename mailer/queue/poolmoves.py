"""By whose order mail leaves from a pool that is not its stream's, for the explanation of a recipient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from mailer import ids
from mailer.queue.actions import MOVE
from mailer.queue.moving import POOL_TARGET
from mailer.queue.obstacles import Look, Waiting
from mailer.store.tables import action

_LOOKED_THROUGH = 200  # of the newest moves to the pool


@dataclass(frozen=True, slots=True)
class PoolMove:
    """at: None: the order is not on record any more."""

    at: datetime | None
    what: str
    reason: str


def move_of(look: Look, w: Waiting) -> PoolMove | None:
    """None: no pool was chosen for it. Names of pools and of operators are for operators."""
    if not w.place.pool_id:
        return None
    pool = look.pool(w.place.pool_id)
    if pool is None:
        return PoolMove(None, "moved to a pool", "that is no more: it leaves as its stream's other mail does")
    at, by = _order(look, w, f"{POOL_TARGET}{pool.name}")
    _, kind = look.stream_of(w.place.lane_id)
    closed = "" if pool.is_open_to(w.place.tenant_id, kind) else "; it may not leave from there any more"
    if not w.knowledge.for_operator:
        return PoolMove(at, "moved to other addresses", f"the operator chose what it leaves from{closed}")
    return PoolMove(at, f"moved to the pool {pool.name}", f"by {by}{closed}")


def _order(look: Look, w: Waiting, target: str) -> tuple[datetime | None, str]:
    """When, and by whom with what reason: the latest of those by which it was meant."""
    of_pool = select(action).where(action.c.kind == MOVE, action.c.target == target)
    newest = of_pool.order_by(action.c.id.desc()).limit(_LOOKED_THROUGH)
    own = _own(w)
    for row in look.connection.execute(newest):
        if row.wanted.items() <= own.items():
            return row.at, f"{row.done_by}: {row.reason}"
    return None, "an operator"


def _own(w: Waiting) -> Mapping[str, str]:
    """As `Selection.shown` says them."""
    return {
        "tenant_id": ids.show("ten", w.place.tenant_id),
        "stream": w.place.stream,
        "domain": w.place.domain,
        "site": w.site,
        "message_id": ids.show("msg", w.message_id),
        "recipient_id": ids.show("rcpt", w.recipient_id),
    }
