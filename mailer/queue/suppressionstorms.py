"""Sites that suddenly know nobody: what they say suppresses nobody until the operator has looked.

How each site answers is counted by the hour: in the SMTP dialogue, and by what it returns of mail that it had
taken. When its share of unknown mailboxes is ten times the usual
(mailer/policy/suppression.py), what would be suppressed is kept for review, and so are the entries that the
same hour had made before it was noticed.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, delete, func, select, update

from mailer.policy.bounceclass import BounceClass
from mailer.policy.suppression import (
    BASELINE_HOURS,
    STORM_LASTS,
    Reason,
    Said,
    Share,
    baseline,
    is_storm,
)
from mailer.queue.suppressionentries import Entry, values
from mailer.store import Store, dialect
from mailer.store.bare import Hot, bare, names_of
from mailer.store.tables import (
    suppression,
    suppression_review,
    suppression_share,
    suppression_storm,
)

_SHARE = bare(suppression_share)
_HOUR_SECONDS = 3600
_PPM = 1_000_000
_BEGINS_WITHIN = timedelta(minutes=1)  # longer than any transaction that judges


def hour_of(now: datetime) -> int:
    return int(now.timestamp()) // _HOUR_SECONDS


def _counting() -> Hot:
    new = dialect.upsert(_SHARE)
    grown = {name: _SHARE.c[name] + new.excluded[name] for name in ("answered", "invalid")}
    key = ["site", "hour", "process_number"]
    return Hot(new.on_conflict_do_update(index_elements=key, set_=grown), names_of(suppression_share))


_COUNT = _counting()
_HOURS = Hot(
    select(_SHARE.c.hour, func.sum(_SHARE.c.answered), func.sum(_SHARE.c.invalid))
    .where(_SHARE.c.site == bindparam("of_site"), _SHARE.c.hour >= bindparam("after"))
    .group_by(_SHARE.c.hour)
)


def count(connection: Connection, shares: Mapping[str, Share], *, process_number: int, now: datetime) -> None:
    """Adds to this process's rows of the hour of `now`. shares: by site."""
    rows = [
        {
            "site": site, "hour": hour_of(now), "process_number": process_number,
            "answered": share.answered, "invalid": share.invalid,
        }
        for site, share in sorted(shares.items())
    ]  # fmt: skip
    if rows:
        _COUNT.many(connection, rows)


class Weather:
    """How sites answer now, looked at once a site and transaction."""

    def __init__(self, connection: Connection, now: datetime) -> None:
        self.now = now
        self._connection = connection
        self._known: dict[str, bool] = {}

    def is_storm(self, site: str | None, said: Said) -> bool:
        """Whether what the site says is not believed at the moment."""
        if site is None or said.bounce_class in _HEARD_OF_PEOPLE:
            return False
        if site not in self._known:
            self._known[site] = self._look(site)
        return self._known[site]

    def _look(self, site: str) -> bool:
        hours = self._hours(site)
        now = hour_of(self.now)
        hour, earlier = hours.pop(now, Share()), sum(hours.values(), Share())
        if is_storm(hour, earlier):
            self._note(site, hour, baseline(earlier))
            return True
        found = select(suppression_storm.c.until).where(suppression_storm.c.site == site)
        until = self._connection.execute(found).scalar()
        return until is not None and until > self.now

    def _hours(self, site: str) -> dict[int, Share]:
        wanted = {"of_site": site, "after": hour_of(self.now) - BASELINE_HOURS}
        return {
            hour: Share(int(answered), int(invalid))
            for hour, answered, invalid in _HOURS.rows(self._connection, wanted)
        }

    def _note(self, site: str, hour: Share, usual: float) -> None:
        connection, table = self._connection, suppression_storm
        standing = connection.execute(select(table).where(table.c.site == site).with_for_update()).first()
        facts = {
            "until": self.now + STORM_LASTS, "answered": hour.answered, "invalid": hour.invalid,
            "baseline_ppm": round(usual * _PPM),
        }  # fmt: skip
        if standing is not None and standing.until > self.now:
            connection.execute(update(table).where(table.c.site == site).values(**facts))
            _take_back(connection, site, since=standing.since)
            return
        new = {"site": site, "since": self.now, "is_told": False, **facts}
        made = dialect.insert(connection, table).values(**new)
        renewed = {name: value for name, value in new.items() if name != "site"}
        connection.execute(made.on_conflict_do_update(index_elements=["site"], set_=renewed))
        _take_back(connection, site, since=self.now)


_HEARD_OF_PEOPLE = frozenset({BounceClass.COMPLAINT, BounceClass.UNSUBSCRIBE})
_REVIEW_COLUMNS = [c.name for c in suppression_review.columns]


def _take_back(connection: Connection, site: str, *, since: datetime) -> int:
    """Entries that the hour had made for the site before are reviewed, too; returns how many there were.

    And those that were being made as it began, by whoever could not see it yet. What a person has decided
    stands.
    """
    wanted = select(*(suppression.c[name] for name in _REVIEW_COLUMNS)).where(*_made_meanwhile(site, since))
    rows = connection.execute(wanted.order_by(suppression.c.key_hash).with_for_update()).all()
    for row in rows:
        kept = dialect.insert(connection, suppression_review).values(**row._mapping)
        connection.execute(kept.on_conflict_do_nothing())
    # These only: another may have been committed since they were looked at.
    gone = delete(suppression).where(suppression.c.site == site, dialect.OneOf(suppression.c.id, "ids"))
    connection.execute(gone, {"ids": dialect.listed(connection, [row.id for row in rows])})
    return len(rows)


def _made_meanwhile(site: str, since: datetime) -> tuple[ColumnElement[bool], ...]:
    begun = since.replace(minute=0, second=0, microsecond=0)
    return (
        suppression.c.site == site,
        suppression.c.created_at.between(begun, since + _BEGINS_WITHIN),
        suppression.c.reason == Reason.HARD_BOUNCE,
        suppression.c.added_by.is_(None),
    )


def take_back_late(store: Store, *, now: datetime) -> int:
    """Entries that were committed after their storm was noted, by whoever had not seen it; how many.

    Where nothing more is heard of the site, nobody else would look.
    """
    young = select(suppression_storm.c.site, suppression_storm.c.since).where(
        suppression_storm.c.since > now - 2 * _BEGINS_WITHIN
    )
    with store.read() as connection:
        sites = [
            site
            for site, since in connection.execute(young)
            if connection.execute(
                select(suppression.c.id).where(*_made_meanwhile(site, since)).limit(1)
            ).first()
        ]
    taken = 0
    for site in sites:
        with store.write() as connection:
            noted = select(suppression_storm.c.since).where(suppression_storm.c.site == site)
            since = connection.execute(noted.with_for_update()).scalar_one()
            taken += _take_back(connection, site, since=since)
    return taken


_REVIEW = Hot(dialect.upsert(bare(suppression_review)).on_conflict_do_nothing(), _REVIEW_COLUMNS)


def keep_for_review(connection: Connection, entry: Entry) -> None:
    """The operator decides; one of a kind, however often it is heard."""
    made = values(entry)
    _REVIEW.many(connection, [{name: made[name] for name in _REVIEW_COLUMNS}])


def untold(store: Store) -> list[Any]:
    """Storms that the operator was not told of yet; now they are taken for told."""
    fresh = select(suppression_storm).where(suppression_storm.c.is_told.is_(False))
    with store.read() as connection:
        if connection.execute(fresh.limit(1)).first() is None:
            return []
    with store.write() as connection:
        rows = list(connection.execute(fresh.with_for_update()).all())
        told = update(suppression_storm).where(suppression_storm.c.site.in_([row.site for row in rows]))
        connection.execute(told.values(is_told=True))
    return rows


def forget(store: Store, *, now: datetime) -> int:
    """Drops counts that are part of no baseline any more; returns how many."""
    old = suppression_share.c.hour < hour_of(now) - BASELINE_HOURS
    with store.read() as connection:
        if connection.execute(select(suppression_share.c.site).where(old).limit(1)).first() is None:
            return 0
    with store.write() as connection:
        connection.execute(delete(suppression_share).where(old))
    return 0
