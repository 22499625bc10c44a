"""Connection permits: how many sessions an incarnation may hold open to a site, dealt by the database.

The sum over live incarnations never passes the site's limit. A worker asks for its fair share and keeps
it while it has work there; permits of an ended or fenced incarnation return with it (incarnations.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, func, select

from mailer.queue.incarnations import hold_live, live_workers
from mailer.store import Store, dialect
from mailer.store.tables import incarnation, permit, site


def acquire(store: Store, me: int, limits: Mapping[str, int]) -> dict[str, int]:
    """Connections that `me` may hold open to each site, at most its fair share of what the site takes.

    limits  by site: connections over all incarnations

    0 when the others hold all of them: ask again later. Repeating it changes nothing but the share.
    Raises Fenced.
    """
    names = sorted(limits)
    with store.write() as connection:
        hold_live(connection, me)
        # The sites' rows are the locks: without them two workers could both see the last permit free.
        # Sorted, so that two workers never wait for each other in a circle.
        connection.execute(
            dialect.insert(connection, site).on_conflict_do_nothing(), [{"name": n} for n in names]
        )
        connection.execute(
            select(site.c.name).where(site.c.name.in_(names)).order_by(site.c.name).with_for_update()
        )
        taken = _taken_by_others(connection, me, names)
        workers = max(1, live_workers(connection))
        grants = {
            name: max(0, min(max(1, limits[name] // workers), limits[name] - taken.get(name, 0)))
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


def _taken_by_others(connection: Connection, me: int, names: Sequence[str]) -> dict[str, int]:
    held = (
        select(permit.c.site, func.sum(permit.c.connections))
        .join(incarnation, incarnation.c.id == permit.c.incarnation_id)
        .where(permit.c.site.in_(names), permit.c.incarnation_id != me, incarnation.c.state == "live")
        .group_by(permit.c.site)
    )
    return {name: int(total) for name, total in connection.execute(held)}


def give_back(store: Store, me: int, names: Sequence[str]) -> None:
    """Returns `me`'s permits for these sites, when it has no session open there."""
    with store.write() as connection:
        mine = permit.delete().where(permit.c.site.in_(names), permit.c.incarnation_id == me)
        connection.execute(mine)
