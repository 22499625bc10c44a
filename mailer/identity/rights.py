"""What a key may do: scopes, and the only streams and sending domains it may send to and from.

A key hands on no more than it has: whoever may make keys would otherwise be limited by nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

USUAL_SCOPES = ("send", "read")  # what an application needs


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """scopes: words. streams, domains: names, A-labels; None: any of the tenant's. In order, each once."""

    scopes: tuple[str, ...] = USUAL_SCOPES
    streams: tuple[str, ...] | None = None
    domains: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Excess:
    """What goes beyond some rights. field: scopes, streams or domains. names: empty: all there are."""

    field: str
    names: tuple[str, ...]

    @property
    def sentence(self) -> str:
        what = ", ".join(self.names) if self.names else f"any of the {self.field}"
        return f"the API key that asks does not have {self.field} {what} itself"


def excess(asked: Rights, held: Rights) -> Excess | None:
    """Why `asked` goes beyond `held`; None: it does not."""
    for field in ("scopes", "streams", "domains"):
        wanted, own = getattr(asked, field), getattr(held, field)
        if own is None:
            continue
        if wanted is None:
            return Excess(field, ())
        beyond = tuple(name for name in wanted if name not in own)
        if beyond:
            return Excess(field, beyond)
    return None


def in_order(names: Collection[str]) -> tuple[str, ...]:
    return tuple(sorted(set(names)))
