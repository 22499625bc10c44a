"""Egress IPs and pools as the relay reads them, and what a try means for the next one's IP."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, select

from mailer.policy.egress import TRANSACTIONAL, Egress, Stay
from mailer.policy.sites import SiteRules
from mailer.store import Store, dialect
from mailer.store.tables import (
    egress_host,
    egress_ip,
    egress_stay,
    ip_pool,
    pool_member,
    pool_use,
    warmup,
    warmup_plan,
)

ALL_STREAMS = 0  # stream_id of a use that holds for a tenant's streams without one of their own
STOPPED = "stopped"
_FORGOTTEN_AFTER = timedelta(minutes=10)  # a host reports once a minute


@dataclass(frozen=True, slots=True)
class PoolRow:
    """owner: the only tenant that may use it, None: any. members: egress id to weight."""

    id: int
    name: str
    kind: str
    owner: int | None
    overflow_id: int | None
    is_default: bool
    members: Mapping[int, int]

    def is_open_to(self, tenant_id: int, kind: str) -> bool:
        """Nobody's mail leaves from another tenant's, nor broadcast mail from a transactional one."""
        return self.owner in (None, tenant_id) and kind in (self.kind, TRANSACTIONAL)


@dataclass(frozen=True, slots=True)
class LevelRow:
    """A warm-up level as far as it limits: columns of `warmup`."""

    cap: int | None
    used: int
    day: int


@dataclass(frozen=True, slots=True)
class EgressTables:
    """One snapshot of all of it; small, whatever the queue's length.

    ips      egress and its state, by id
    uses     pool id by (tenant id, stream id or ALL_STREAMS)
    warming  ids of IPs whose warm-up limits them
    levels   by (egress id, provider), of those
    """

    ips: Mapping[int, tuple[Egress, str]] = field(default_factory=dict)
    pools: Mapping[int, PoolRow] = field(default_factory=dict)
    uses: Mapping[tuple[int, int], int] = field(default_factory=dict)
    warming: frozenset[int] = frozenset()
    levels: Mapping[tuple[int, str], LevelRow] = field(default_factory=dict)


def tables(store: Store) -> EgressTables:
    """Read at once, so that no pool names an IP that is not there."""
    with store.read() as connection:
        return tables_in(connection)


def tables_in(connection: Connection) -> EgressTables:
    """The same in the caller's snapshot."""
    ips = {r.id: (_egress(r), r.state) for r in connection.execute(select(egress_ip))}
    return EgressTables(ips, _pools(connection), _uses(connection), *_warming(connection))


def pool_for(
    tables: EgressTables,
    rules: SiteRules,
    tenant_id: int,
    stream_id: int,
    site: str,
    *,
    kind: str,
    chosen: int = 0,
) -> PoolRow | None:
    """The pool that a stream's mail to a site is to leave from; None: none is meant for it.

    The one that an operator chose for the mail goes before all others. The stream's own goes before its
    tenant's, that before the one a provider's rule names, and that before the default one of the stream's
    kind.

    chosen  the id of that pool; 0, or of a pool that is no more or is closed to such mail: none
    """
    pool = tables.pools.get(chosen)
    if pool is not None and pool.is_open_to(tenant_id, kind):
        return pool
    for key in ((tenant_id, stream_id), (tenant_id, ALL_STREAMS)):
        pool = tables.pools.get(tables.uses.get(key, 0))
        # A tenant's pool is for the streams whose kind may use it.
        if pool is not None and kind in (pool.kind, TRANSACTIONAL):
            return pool
    rule = rules.rule_of(site)
    wanted = None if rule is None else rule.pool
    for pool in tables.pools.values():
        if pool.name == wanted and pool.is_open_to(tenant_id, kind):
            return pool
    return next((p for p in tables.pools.values() if p.is_default and p.kind == kind), None)


def _egress(row: object) -> Egress:
    values = {name: getattr(row, name) for name in ("id", "helo", "ipv4", "ipv6")}
    return Egress(**values)


def _pools(connection: Connection) -> dict[int, PoolRow]:
    members: dict[int, dict[int, int]] = defaultdict(dict)
    for row in connection.execute(select(pool_member).order_by(pool_member.c.egress_id)):
        members[row.pool_id][row.egress_id] = row.weight
    return {
        r.id: PoolRow(r.id, r.name, r.kind, r.tenant_id, r.overflow_id, r.is_default, members[r.id])
        for r in connection.execute(select(ip_pool))
    }


def _uses(connection: Connection) -> dict[tuple[int, int], int]:
    return {(r.tenant_id, r.stream_id): r.pool_id for r in connection.execute(select(pool_use))}


def _warming(connection: Connection) -> tuple[frozenset[int], dict[tuple[int, str], LevelRow]]:
    limited = select(warmup_plan.c.egress_id).where(warmup_plan.c.state != STOPPED)
    ids = frozenset(connection.execute(limited).scalars())
    rows = connection.execute(select(warmup).where(warmup.c.egress_id.in_(limited))) if ids else ()
    return ids, {(r.egress_id, r.provider): LevelRow(r.cap, r.used, r.day) for r in rows}


def on_hosts(connection: Connection) -> frozenset[int]:
    """Ids of IPs that are on a host with a worker."""
    found = select(egress_host.c.egress_id).where(egress_host.c.ipv4_here | egress_host.c.ipv6_here)
    return frozenset(connection.execute(found).scalars())


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What a host's workers found about one egress IP (columns of `egress_host`)."""

    egress_id: int
    ipv4_here: bool
    ipv6_here: bool
    ipv4_name: str | None
    ipv6_name: str | None


def report(store: Store, host: str, facts: Sequence[HostFacts], *, now: datetime) -> None:
    """Keeps what `host` found, in place of what it found before. An IP removed meanwhile is left out.

    Hosts that have not been heard of for long are forgotten: their workers are gone.
    """
    with store.write() as connection:
        connection.execute(delete(egress_host).where(egress_host.c.checked_at < now - _FORGOTTEN_AFTER))
        ids = [f.egress_id for f in facts]
        there = set(connection.execute(select(egress_ip.c.id).where(egress_ip.c.id.in_(ids))).scalars())
        rows = [
            {
                "egress_id": f.egress_id, "host": host, "ipv4_here": f.ipv4_here, "ipv6_here": f.ipv6_here,
                "ipv4_name": f.ipv4_name, "ipv6_name": f.ipv6_name, "checked_at": now,
            }
            for f in facts
            if f.egress_id in there
        ]  # fmt: skip
        if rows:
            new = dialect.insert(connection, egress_host)
            found = ("ipv4_here", "ipv6_here", "ipv4_name", "ipv6_name", "checked_at")
            changed = {name: new.excluded[name] for name in found}
            connection.execute(
                new.on_conflict_do_update(index_elements=["egress_id", "host"], set_=changed), rows
            )


def stays(store: Store, recipients: Collection[int]) -> dict[int, Stay]:
    """What the last try of these recipients means for their next one, where it means anything."""
    if not recipients:
        return {}
    with store.read() as connection:
        return stays_in(connection, recipients)


def stays_in(connection: Connection, recipients: Collection[int]) -> dict[int, Stay]:
    """The same in the caller's snapshot."""
    wanted = select(egress_stay).where(egress_stay.c.recipient_id.in_(recipients))
    return {
        r.recipient_id: Stay(r.egress_id, bool(r.is_pinned), bool(r.is_changed))
        for r in connection.execute(wanted)
    }


def keep(connection: Connection, kept: Mapping[int, Stay]) -> None:
    """Notes it in a settling transaction, in place of what was noted before."""
    if not kept:
        return
    rows = [
        {"recipient_id": i, "egress_id": s.egress_id, "is_pinned": s.is_pinned, "is_changed": s.is_changed}
        for i, s in sorted(kept.items())
    ]
    new = dialect.insert(connection, egress_stay)
    changed = {name: new.excluded[name] for name in ("egress_id", "is_pinned", "is_changed")}
    connection.execute(new.on_conflict_do_update(index_elements=["recipient_id"], set_=changed), rows)
