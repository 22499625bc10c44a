"""Which mail that waits is meant: by tenant, stream, domain, site, message or recipient.

All but the site are columns. The site of a lane is what a worker noted when it last resolved the domain; a
domain with a route has the route's site, which is configuration and stands in no row, so whoever asks
brings it along (`SiteOf`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, bindparam, select

from mailer import ids
from mailer.store import Store
from mailer.store.tables import lane, stream

# The site of a domain by its route; None: it has none, the domain is looked up.
SiteOf = Callable[[str], str | None]

_LANES_AT_ONCE = 2000
_SHOWN = {"tenant_id": "ten", "message_id": "msg", "recipient_id": "rcpt"}


def unrouted(_domain: str) -> str | None:
    """For an installation without routes."""
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """All that is said must be met; None says nothing. domain: A-label in lower case; stream: a name."""

    tenant_id: int | None = None
    stream: str | None = None
    domain: str | None = None
    site: str | None = None
    message_id: int | None = None
    recipient_id: int | None = None

    @property
    def is_everything(self) -> bool:
        return self == Selection()

    @property
    def names_rows(self) -> bool:
        """A message or a recipient, and not lanes alone."""
        return self.message_id is not None or self.recipient_id is not None

    def takes(self, place: Place) -> bool:
        """Whether a lane's mail is meant, as far as the lane tells."""
        return (
            self.tenant_id in (None, place.tenant_id)
            and self.stream in (None, place.stream)
            and self.domain in (None, place.domain)
            and self.site in (None, place.site)
        )

    def shown(self) -> Mapping[str, str]:
        """What is said, ids as callers see them."""
        return {
            name: ids.show(_SHOWN[name], value) if name in _SHOWN else value
            for name, value in asdict(self).items()
            if value is not None
        }


class Place(NamedTuple):
    """A lane with its names. site: None until its domain was resolved. pool_id: as in `lane`."""

    lane_id: int
    tenant_id: int
    stream: str
    domain: str
    site: str | None
    pool_id: int = 0


def place_of(row: Any, site_of: SiteOf) -> Place:
    """row: of `PLACES`."""
    site = site_of(row.domain) or row.site
    return Place(row.id, row.tenant_id, row.stream, row.domain, site, row.pool_id)


PLACES: Select[tuple[int, int, str, str, str | None, int]] = select(
    lane.c.id, lane.c.tenant_id, stream.c.name.label("stream"), lane.c.domain, lane.c.site, lane.c.pool_id
).join(stream, stream.c.id == lane.c.stream_id)


def places(store: Store, wanted: Selection, site_of: SiteOf = unrouted) -> Iterator[list[Place]]:
    """The lanes that are meant, some at a time, each piece in a snapshot of its own."""
    page = (
        PLACES.where(*_conditions(wanted), lane.c.id > bindparam("after"))
        .order_by(lane.c.id)
        .limit(_LANES_AT_ONCE)
    )
    after = 0
    while True:
        with store.read() as connection:
            rows = connection.execute(page, {"after": after}).all()
        if found := [place for row in rows if wanted.takes(place := place_of(row, site_of))]:
            yield found
        if len(rows) < _LANES_AT_ONCE:
            return
        after = rows[-1].id


def _conditions(wanted: Selection) -> list[ColumnElement[bool]]:
    """Not the site: a route's stands in no row."""
    asked = {lane.c.tenant_id: wanted.tenant_id, stream.c.name: wanted.stream, lane.c.domain: wanted.domain}
    return [column == value for column, value in asked.items() if value is not None]
