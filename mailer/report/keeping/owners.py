"""Which sending domain of ours a name belongs to: itself, the one above it, or that of the return path."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, or_, select

from mailer.store.tables import sending_domain

_MOST_NAMES = 200  # of one report; further ones are nobody's
_MOST_LABELS = 10


@dataclass(frozen=True, slots=True, order=True)
class Owner:
    domain_id: int
    tenant_id: int


def owners(connection: Connection, names: Iterable[str]) -> Mapping[str, Owner]:
    """By name; those that are not ours are missing. Revoked domains are still ours: reports come late.

    names: A-labels in lower case. The return path lies below its domain, so that both lead to the same row.
    """
    wanted = list(dict.fromkeys(name for name in names if name))[:_MOST_NAMES]
    candidates = sorted({above for name in wanted for above in _above(name)})
    known: dict[str, Owner] = {}
    for start in range(0, len(candidates), 500):
        some = candidates[start : start + 500]
        ours = select(
            sending_domain.c.id,
            sending_domain.c.tenant_id,
            sending_domain.c.name,
            sending_domain.c.return_path_domain,
        ).where(or_(sending_domain.c.name.in_(some), sending_domain.c.return_path_domain.in_(some)))
        for row in connection.execute(ours):
            known[row.name] = Owner(row.id, row.tenant_id)
            known.setdefault(row.return_path_domain, known[row.name])
    found = {name: next((known[above] for above in _above(name) if above in known), None) for name in wanted}
    return {name: owner for name, owner in found.items() if owner is not None}


def _above(name: str) -> Iterator[str]:
    """The name, and the names above it, but for the last label: nobody sends for a top-level domain."""
    labels = name.split(".")[-_MOST_LABELS:]
    if len(name.split(".")) > _MOST_LABELS:
        yield name
    for start in range(max(1, len(labels) - 1)):
        yield ".".join(labels[start:])
