"""How many sessions each worker has open to which site, as it last told: for people to look at, no lock."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, delete, func, select

from mailer.queue.incarnations import hold_live
from mailer.store import Store, dialect
from mailer.store.tables import incarnation, open_session


def report(store: Store, me: int, sessions: Mapping[str, int]) -> None:
    """sessions: by site, where their number has changed; 0: none is open any more. Raises Fenced."""
    rows = [{"site": s, "incarnation_id": me, "sessions": n} for s, n in sorted(sessions.items()) if n]
    closed = [site for site, n in sessions.items() if not n]
    with store.write() as connection:
        hold_live(connection, me)
        if closed:
            mine = delete(open_session).where(open_session.c.incarnation_id == me)
            connection.execute(mine.where(open_session.c.site.in_(closed)))
        if rows:
            new = dialect.insert(connection, open_session)
            keys, told = ["site", "incarnation_id"], {"sessions": new.excluded.sessions}
            connection.execute(new.on_conflict_do_update(index_elements=keys, set_=told), rows)


def by_site(connection: Connection) -> dict[str, int]:
    """Over all live workers."""
    found = connection.execute(
        select(open_session.c.site, func.sum(open_session.c.sessions))
        .join(incarnation, incarnation.c.id == open_session.c.incarnation_id)
        .where(incarnation.c.state == "live")
        .group_by(open_session.c.site)
    )
    return {site: int(n) for site, n in found}
