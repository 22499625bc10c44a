"""The IPs and pools of a simulated sender, in a database of their own that lasts as long as it does."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from mailer.identity import egress, pools
from mailer.identity.pools import NewPool, PoolChange
from mailer.policy.warmplan import WarmupRules
from mailer.queue import warming
from mailer.queue.warming import Start
from mailer.store import Store, schema

_EPOCH = "simulated"
_IN_MEMORY = Path("/dev/shm")  # noqa: S108 - nothing of it is to outlive the process, so no disk need be waited for


@dataclass(frozen=True, slots=True, kw_only=True)
class Ip:
    """plan    of its warm-up; None: none, it may send what it likes
    target  messages a day at which it is warm; None: the plan's end
    known   messages a day that all providers have had from it for long, by their weights
    """

    address: str
    weight: int = 1
    plan: str | None = None
    target: int | None = None
    known: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """The first one of a kind is the one that its streams' mail leaves from. overflow: a pool's name."""

    name: str
    ips: tuple[Ip, ...]
    kind: str = "broadcast"
    overflow: str | None = None


@dataclass(slots=True)
class Harbour:
    """ids: of egress IPs by address."""

    store: Store
    ids: dict[str, int] = field(default_factory=dict)


@contextmanager
def opened(pools_: Sequence[Pool], rules: WarmupRules, now: datetime) -> Iterator[Harbour]:
    """As an operator sets it up. The database is gone afterwards."""
    parent = _IN_MEMORY if os.access(_IN_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="mailer-simulate-", dir=parent) as folder:
        url = f"sqlite:///{Path(folder) / 'simulated.sqlite3'}"
        store = Store(url)
        try:
            schema.upgrade(store, epoch=_EPOCH)
            yield _furnished(store, pools_, rules, now)
        finally:
            store.close()


def _furnished(store: Store, pools_: Sequence[Pool], rules: WarmupRules, now: datetime) -> Harbour:
    harbour = Harbour(store)
    new_id = itertools.count(1).__next__
    kinds = set()
    for pool in pools_:
        new = NewPool(name=pool.name, kind=pool.kind, is_default=pool.kind not in kinds)
        kinds.add(pool.kind)
        pools.create(store, new, new_id=new_id, now=now)
        for ip in pool.ips:
            if ip.address not in harbour.ids:
                helo = f"out{len(harbour.ids) + 1}.example"
                made = egress.add(store, [ip.address], helo, new_id=new_id, now=now)
                harbour.ids[ip.address] = made.id
            pools.put_member(store, pool.name, ip.address, weight=ip.weight)
            if ip.plan is not None:
                start = Start(ip.plan, ip.target)
                warming.start(store, harbour.ids[ip.address], start, rules=rules, now=now)
    for pool in pools_:
        if pool.overflow is not None:
            pools.change(store, pool.name, PoolChange(overflow=pool.overflow))
    return harbour
