"""A place: the IP that mail leaves from and the site it goes to, under one name.

Permits, sessions, what is in hand and what was learnt are kept by place, since a site counts each of our IPs
for itself. Where the system chooses the IP, the place is called like the site.
"""

from __future__ import annotations

_FROM = "ip:"  # no site's name begins so


def place_name(egress: str, site: str) -> str:
    """egress: an IP by its name; "": the system's choice."""
    return f"{_FROM}{egress}|{site}" if egress else site


def parts_of(place: str) -> tuple[str, str]:
    """The IP ("": the system's choice) and the site."""
    if not place.startswith(_FROM):
        return "", place
    egress, _, site = place.removeprefix(_FROM).partition("|")
    return egress, site


def site_in(place: str) -> str:
    return parts_of(place)[1]
