"""Egress IPs: the addresses that mail leaves from, kept by the operator.

An address that is on no host is taken all the same, since its host may come later; it is reported, and
nothing leaves from it meanwhile.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, or_, select, update

from mailer.identity.names import BadName, NameTaken, NotNow, Unknown, parse_domain
from mailer.policy.egress import ACTIVE, DRAINING, OFF
from mailer.store import Store, dialect
from mailer.store.tables import egress_host, egress_ip, ip_pool, pool_member, warmup, warmup_day, warmup_plan

STATES = (ACTIVE, DRAINING, OFF)


@dataclass(frozen=True, slots=True)
class Sighting:
    """What the workers of one host found when they looked last.

    ipv4_name, ipv6_name  name of the PTR record that leads back to the address; None: there is none
    """

    host: str
    ipv4_here: bool
    ipv6_here: bool
    ipv4_name: str | None
    ipv6_name: str | None
    checked_at: datetime


@dataclass(frozen=True, slots=True)
class EgressIp:
    """state: active, draining (takes only what must stay on it), off. pools: names."""

    id: int
    ipv4: str | None
    ipv6: str | None
    helo: str
    state: str
    created_at: datetime
    pools: tuple[str, ...] = ()
    hosts: tuple[Sighting, ...] = ()

    @property
    def name(self) -> str:
        return self.ipv4 or self.ipv6 or ""

    @property
    def notes(self) -> tuple[str, ...]:
        """What keeps mail from leaving from it, or makes it unwelcome; one sentence each."""
        return tuple(_notes(self))


def _notes(ip: EgressIp) -> Sequence[str]:
    found = []
    if not ip.hosts:
        found.append("no worker has looked for it yet")
        return found
    for address, is_here, name in (
        (ip.ipv4, any(h.ipv4_here for h in ip.hosts), _name(ip, "ipv4")),
        (ip.ipv6, any(h.ipv6_here for h in ip.hosts), _name(ip, "ipv6")),
    ):
        if address is None:
            continue
        if not is_here:
            found.append(f"{address} is on no host with a worker: nothing leaves from it")
        elif name is None:
            without = "it is not used" if ":" in address else "many receivers refuse it"
            found.append(f"{address} has no PTR record whose name leads back to it: {without}")
        elif name != ip.helo:
            found.append(f"{address} is named {name} by its PTR record, and says EHLO {ip.helo}")
    if not ip.pools:
        found.append("it is in no pool")
    return found


def _name(ip: EgressIp, family: str) -> str | None:
    return next((n for h in ip.hosts if (n := getattr(h, f"{family}_name")) is not None), None)


def parse_addresses(texts: Sequence[str]) -> tuple[str | None, str | None]:
    """IPv4 and IPv6 as they are kept: one or two addresses, at most one a family. Raises BadName."""
    found: dict[int, str] = {}
    for n, text in enumerate(texts):
        at = ("addresses", n)
        try:
            parsed = ipaddress.ip_address(text.strip())
        except ValueError:
            raise BadName(f"{text!r} is no IP address", at=at) from None
        if parsed.is_unspecified or parsed.is_multicast or getattr(parsed, "scope_id", None):
            raise BadName(f"mail cannot leave from {text}", at=at)
        if parsed.version in found:
            raise BadName(f"an egress IP has one IPv{parsed.version} address, {text} is the second", at=at)
        found[parsed.version] = str(parsed)
    if not found:
        raise BadName("an egress IP has an IPv4 or an IPv6 address, or both", at=("addresses",))
    return found.get(4), found.get(6)


def listed(store: Store) -> list[EgressIp]:
    """The oldest first."""
    with store.read() as connection:
        return _read(connection)


def one(store: Store, wanted: int | str) -> EgressIp:
    """By its id or one of its addresses. Raises Unknown."""
    with store.read() as connection:
        return find(connection, wanted)


def add(
    store: Store, addresses: Sequence[str], helo: str, *, new_id: Callable[[], int], now: datetime
) -> EgressIp:
    """Active from now on, in no pool yet. Raises BadName, NameTaken."""
    ipv4, ipv6 = parse_addresses(addresses)
    name = _helo(helo)
    own_id = new_id()
    values = {"id": own_id, "ipv4": ipv4, "ipv6": ipv6, "helo": name, "state": ACTIVE, "created_at": now}
    with store.write() as connection:
        new = dialect.insert(connection, egress_ip).values(values).on_conflict_do_nothing()
        if connection.execute(new.returning(egress_ip.c.id)).first() is None:
            raise NameTaken("there is an egress IP with this address already", at=("addresses",))
        return find(connection, own_id)


def _helo(text: str) -> str:
    try:
        return parse_domain(text)
    except BadName:
        raise BadName(f"{text!r} is no host name that EHLO may carry", at=("helo",)) from None


def change(store: Store, wanted: int | str, *, helo: str | None = None, state: str | None = None) -> EgressIp:
    """From the next attempt on; None: as it was. Raises BadName, Unknown."""
    values = {}
    if helo is not None:
        values["helo"] = _helo(helo)
    if state is not None:
        if state not in STATES:
            raise BadName(f"a state is one of {', '.join(STATES)}, not {state!r}", at=("state",))
        values["state"] = state
    with store.write() as connection:
        found = find(connection, wanted)
        if values:
            connection.execute(update(egress_ip).where(egress_ip.c.id == found.id).values(values))
        return find(connection, found.id)


def remove(store: Store, wanted: int | str) -> EgressIp:
    """It is gone with its warm-up. Raises Unknown, NotNow: it is in a pool."""
    with store.write() as connection:
        found = find(connection, wanted)
        if found.pools:
            raise NotNow(f"{found.name} is in the pool {', '.join(found.pools)}: take it out first")
        for table in (egress_host, warmup_day, warmup, warmup_plan):
            connection.execute(delete(table).where(table.c.egress_id == found.id))
        connection.execute(delete(egress_ip).where(egress_ip.c.id == found.id))
        return found


def find(connection: Connection, wanted: int | str) -> EgressIp:
    """Raises Unknown."""
    found = _read(connection, wanted)
    if not found:
        raise Unknown(f"there is no egress IP {wanted}" if isinstance(wanted, str) else "no such egress IP")
    return found[0]


def _read(connection: Connection, wanted: int | str | None = None) -> list[EgressIp]:
    rows = select(egress_ip).order_by(egress_ip.c.id)
    if isinstance(wanted, int):
        rows = rows.where(egress_ip.c.id == wanted)
    elif wanted is not None:
        try:
            address = str(ipaddress.ip_address(wanted.strip()))
        except ValueError:
            return []
        rows = rows.where(or_(egress_ip.c.ipv4 == address, egress_ip.c.ipv6 == address))
    found = connection.execute(rows).all()
    pools, hosts = _pools(connection), _hosts(connection)
    return [_shown(row, tuple(pools[row.id]), tuple(hosts[row.id])) for row in found]


def _shown(row: Any, pools: tuple[str, ...], hosts: tuple[Sighting, ...]) -> EgressIp:
    return EgressIp(row.id, row.ipv4, row.ipv6, row.helo, row.state, row.created_at, pools, hosts)


def _pools(connection: Connection) -> dict[int, list[str]]:
    names = (
        select(pool_member.c.egress_id, ip_pool.c.name)
        .join(ip_pool, ip_pool.c.id == pool_member.c.pool_id)
        .order_by(ip_pool.c.name)
    )
    found: dict[int, list[str]] = defaultdict(list)
    for egress_id, name in connection.execute(names):
        found[egress_id].append(name)
    return found


def _hosts(connection: Connection) -> dict[int, list[Sighting]]:
    found: dict[int, list[Sighting]] = defaultdict(list)
    for row in connection.execute(select(egress_host).order_by(egress_host.c.host)):
        found[row.egress_id].append(
            Sighting(
                row.host,
                bool(row.ipv4_here),
                bool(row.ipv6_here),
                row.ipv4_name,
                row.ipv6_name,
                row.checked_at,
            )
        )
    return found
