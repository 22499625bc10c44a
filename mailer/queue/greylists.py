"""Which recipients were greylisted where, and what each site's greylisting takes: shared by all workers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, case, delete, func, select, update

from mailer.policy import greylisting
from mailer.policy.bounceclass import BounceClass
from mailer.policy.classifier import Said, shipped
from mailer.policy.greylisting import Greylisted, Habit, Sighting
from mailer.store import Store, dialect
from mailer.store.tables import greylist_habit, greylisted

FORGOTTEN_AFTER = timedelta(days=30)  # as long as a greylist itself remembers (postgrey: 35 days)
MOST_SITES = 20_000
_DROPPED_AT_ONCE = 1000


def met(store: Store, recipients: Collection[int]) -> dict[int, Greylisted]:
    """Those of the recipients that were greylisted before."""
    if not recipients:
        return {}
    with store.read() as connection:
        rows = connection.execute(_MET, {"rcpts": dialect.listed(connection, list(recipients))})
        return {r.recipient_id: Greylisted(r.site, r.first_at, r.last_at) for r in rows}


_MET = select(greylisted).where(dialect.OneOf(greylisted.c.recipient_id, "rcpts"))


def keep(connection: Connection, refused: Mapping[int, Greylisted]) -> None:
    """Notes refusals in a settling transaction; the first one at the same site stays the first."""
    if not refused:
        return
    rows = [
        {"recipient_id": i, "site": g.site, "first_at": g.first_at, "last_at": g.last_at}
        for i, g in sorted(refused.items())
    ]
    new = dialect.insert(connection, greylisted)
    is_same = greylisted.c.site == new.excluded.site
    changed = {
        "site": new.excluded.site,
        "first_at": case((is_same, greylisted.c.first_at), else_=new.excluded.first_at),
        "last_at": new.excluded.last_at,
    }
    connection.execute(new.on_conflict_do_update(index_elements=["recipient_id"], set_=changed), rows)


def habits(store: Store, *, since: datetime | None = None) -> dict[str, Habit]:
    """By site; since: those that something was noted of then or later."""
    wanted = select(greylist_habit)
    if since is not None:
        wanted = wanted.where(greylist_habit.c.used_at >= since)
    with store.read() as connection:
        return {row.site: _habit(row) for row in connection.execute(wanted)}


def habit(connection: Connection, site: str) -> Habit | None:
    row = connection.execute(select(greylist_habit).where(greylist_habit.c.site == site)).first()
    return None if row is None else _habit(row)


@dataclass(frozen=True, slots=True)
class WaitsForGreylist:
    """Why a recipient comes again when it does. what: for people; facts: by name."""

    what: str
    facts: Mapping[str, Any]


def greylisting_of(
    connection: Connection, recipient_id: int, last_reply: str | None
) -> WaitsForGreylist | None:
    """None: greylisting is not what put the recipient off last."""
    row = connection.execute(select(greylisted).where(greylisted.c.recipient_id == recipient_id)).first()
    if row is None or shipped().classify(Said(last_reply or "")).bounce_class is not BounceClass.GREYLISTED:
        return None
    facts: dict[str, Any] = {"greylisted_since": row.first_at}
    what = f"{row.site} greylists it"
    known = habit(connection, row.site)
    if known is None:
        return WaitsForGreylist(f"{what}, and nobody knows yet for how long", facts)
    seconds = round(known.passes_after.total_seconds())
    facts["site_takes_seconds"] = seconds
    took = f"others passed there {seconds} s after their first try"
    return WaitsForGreylist(f"{what}: {took}, so that it comes again just after that time", facts)


def report(store: Store, seen: Mapping[str, Sequence[Sighting]], *, now: datetime) -> None:
    """Learns from what one worker saw, site by site; a site with nothing to learn from was in use."""
    if not seen:
        return
    with store.write() as connection:
        # Sorted, so that two workers never wait for each other in a circle.
        for site in sorted(seen):
            _learn(connection, site, seen[site], now)


def forget(store: Store, *, now: datetime, most: int = MOST_SITES) -> int:
    """Drops what was not used for weeks, and beyond so many sites what was not used for longest."""
    old = select(greylist_habit.c.site).where(greylist_habit.c.used_at < now - FORGOTTEN_AFTER)
    with store.read() as connection:
        gone = set(connection.execute(old.limit(_DROPPED_AT_ONCE)).scalars())
        count = connection.execute(select(func.count()).select_from(greylist_habit)).scalar_one()
        if count > most:
            beyond = select(greylist_habit.c.site).order_by(greylist_habit.c.used_at).limit(count - most)
            gone.update(connection.execute(beyond).scalars())
    if not gone:
        return 0
    with store.write() as connection:
        listed = {"sites": dialect.listed(connection, sorted(gone))}
        dropped = delete(greylist_habit).where(dialect.OneOf(greylist_habit.c.site, "sites"))
        return connection.execute(dropped, listed).rowcount


def _learn(connection: Connection, site: str, seen: Sequence[Sighting], now: datetime) -> None:
    mine = greylist_habit.c.site == site
    row = connection.execute(select(greylist_habit).where(mine).with_for_update()).first()
    before = None if row is None else _habit(row)
    after = before
    for sighting in seen:
        after = greylisting.learn(after, sighting, now)
    if after is None:
        return
    if row is not None:
        connection.execute(update(greylist_habit).where(mine).values(**_values(after, now)))
        return
    # Where another worker made the row meanwhile, one of two first findings is as good as the other.
    new = dialect.insert(connection, greylist_habit).values(site=site, **_values(after, now))
    connection.execute(new.on_conflict_do_nothing())


def _values(known: Habit, now: datetime) -> dict[str, Any]:
    return {
        "passes_after_seconds": known.passes_after.total_seconds(),
        "refuses_until_seconds": known.refuses_until.total_seconds(),
        "refused_at": known.refused_at,
        "used_at": now,
    }


def _habit(row: Any) -> Habit:
    return Habit(
        passes_after=timedelta(seconds=row.passes_after_seconds),
        refuses_until=timedelta(seconds=row.refuses_until_seconds),
        refused_at=row.refused_at,
    )
