"""Connection permits: how many sessions an incarnation may hold open at a place, dealt by the database.

A place is an IP of ours and a site, or the site alone where the system chooses the IP (policy/places.py). The
sum over live incarnations never passes what the site takes from one IP. A worker asks for its fair share and
keeps it while it has work there; permits of an ended or fenced incarnation return with it (incarnations.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, func, select

from mailer.policy.places import parts_of
from mailer.queue.incarnations import hold_live, live_workers, workers_beside
from mailer.store import Store, dialect
from mailer.store.tables import incarnation, permit, site


def acquire(store: Store, me: int, limits: Mapping[str, int]) -> dict[str, int]:
    """Connections that `me` may hold open at each place, at most its fair share of what is allowed there.

    limits  by place: connections over all incarnations

    0 when the others hold all of them: ask again later. Repeating it changes nothing but the share.
    Raises Fenced.
    """
    names = sorted(limits)
    with store.write() as connection:
        hold_live(connection, me)
        # The places' rows are the locks: without them two workers could both see the last permit free.
        # Sorted, so that two workers never wait for each other in a circle.
        connection.execute(
            dialect.insert(connection, site).on_conflict_do_nothing(), [{"name": n} for n in names]
        )
        connection.execute(
            select(site.c.name).where(site.c.name.in_(names)).order_by(site.c.name).with_for_update()
        )
        taken = _taken_by_others(connection, me, names)
        among = _Sharers(connection, me)
        grants = {
            name: max(0, min(max(1, limits[name] // among.of(name)), limits[name] - taken.get(name, 0)))
            for name in names
        }
        rows = [{"site": n, "incarnation_id": me, "connections": g} for n, g in grants.items()]
        new = dialect.insert(connection, permit)
        connection.execute(
            new.on_conflict_do_update(
                index_elements=["site", "incarnation_id"], set_={"connections": new.excluded.connections}
            ),
            rows,
        )
        return grants


class _Sharers:
    """Among how many workers a place is shared: an IP of ours is on one host, for the workers there."""

    def __init__(self, connection: Connection, me: int) -> None:
        self._connection = connection
        self._me = me
        self._everywhere = max(1, live_workers(connection))
        self._here: int | None = None

    def of(self, place: str) -> int:
        if not parts_of(place)[0]:
            return self._everywhere
        if self._here is None:
            self._here = max(1, workers_beside(self._connection, self._me))
        return self._here


def _taken_by_others(connection: Connection, me: int, names: Sequence[str]) -> dict[str, int]:
    held = (
        select(permit.c.site, func.sum(permit.c.connections))
        .join(incarnation, incarnation.c.id == permit.c.incarnation_id)
        .where(permit.c.site.in_(names), permit.c.incarnation_id != me, incarnation.c.state == "live")
        .group_by(permit.c.site)
    )
    return {name: int(total) for name, total in connection.execute(held)}


def give_back(store: Store, me: int, names: Sequence[str]) -> None:
    """Returns `me`'s permits for these places, when it has no session open there."""
    with store.write() as connection:
        mine = permit.delete().where(permit.c.site.in_(names), permit.c.incarnation_id == me)
        connection.execute(mine)
