"""How the ceilings of sites stand: messages over time, and new connections over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, or_, select

from mailer.policy.limits import Rate
from mailer.policy.site_file import Provider
from mailer.policy.sites import SiteRules
from mailer.queue import metering
from mailer.queue.metering import Standing
from mailer.store import Store
from mailer.store.tables import rate as rate_table

Of = Literal["messages", "messages_together", "connections"]
_OF: dict[str, Of] = {"site": "messages", "provider": "messages_together", "connects": "connections"}


@dataclass(frozen=True, slots=True)
class SiteMeter:
    """One limit of a rule, where it was drawn from.

    site       or the provider's name, whose sites are limited together
    egress_ip  address of ours; "": the one that the system chooses; None: all together
    place      file and line of the rule, or "api"
    """

    of: Of
    site: str
    egress_ip: str | None
    at: Standing
    place: str


def listed(store: Store, rules: SiteRules, *, now: datetime) -> list[SiteMeter]:
    """Of sites that were sent to under a limit that is in force, by site."""
    kinds = or_(*(rate_table.c.name.startswith(f"{kind}:", autoescape=True) for kind in _OF))
    with store.read() as connection:
        names = connection.execute(select(rate_table.c.name).where(kinds).distinct()).scalars().all()
        found = _standing(connection, rules, names, now)
    return sorted(found, key=lambda m: (m.site, m.egress_ip or "", m.of, m.at.rate))


def connecting(connection: Connection, rules: SiteRules, site: str, *, now: datetime) -> list[SiteMeter]:
    """New connections to a site, by each of our addresses that opened some."""
    mine = rate_table.c.name.startswith("connects:") & rate_table.c.name.endswith(f"|{site}", autoescape=True)
    names = connection.execute(select(rate_table.c.name).where(mine).distinct()).scalars().all()
    return _standing(connection, rules, names, now)


def _standing(
    connection: Connection, rules: SiteRules, names: Sequence[str], now: datetime
) -> list[SiteMeter]:
    found = []
    for name in names:
        kind, _, rest = name.partition(":")
        is_shared = kind == "provider"
        egress, _, site = ("", "", rest) if is_shared else rest.partition("|")
        rule = _named(rules, rest) if is_shared else rules.rule_of(site)
        if rule is None:
            continue
        for at in metering.standings(connection, {name: _limits(rule, kind)}, now=now):
            found.append(SiteMeter(_OF[kind], site, None if is_shared else egress, at, rule.place))
    return found


def _named(rules: SiteRules, name: str) -> Provider | None:
    every = [*rules.providers, *([rules.default] if rules.default else [])]
    return next((rule for rule in every if rule.name == name), None)


def _limits(rule: Provider, kind: str) -> Sequence[Rate]:
    if kind == "connects":
        return () if rule.connects is None else (rule.connects,)
    return rule.together if kind == "provider" else rule.rates
