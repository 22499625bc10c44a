"""What the operator's routes answer: egress IPs, pools and warm-ups."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from msgspec import Struct


class Sighting(Struct, frozen=True, kw_only=True):
    """What the workers of one host found. *_name: the PTR name that leads back to the address."""

    host: str
    ipv4_here: bool
    ipv6_here: bool
    checked_at: datetime
    ipv4_name: str | None = None
    ipv6_name: str | None = None


class EgressIp(Struct, frozen=True, kw_only=True):
    """An address that mail leaves from. state: active, draining or off. notes: what is in its way."""

    id: str
    helo: str
    state: str
    pools: Sequence[str]
    hosts: Sequence[Sighting]
    notes: Sequence[str]
    created_at: datetime
    ipv4: str | None = None
    ipv6: str | None = None


class EgressIpList(Struct, frozen=True, kw_only=True):
    egress_ips: Sequence[EgressIp]


class Member(Struct, frozen=True, kw_only=True):
    """weight: its share of the pool's mail; 0: takes only what the others cannot."""

    egress_id: str
    address: str
    weight: int


class Pool(Struct, frozen=True, kw_only=True):
    """Egress IPs that share mail. kind: transactional or broadcast. owner: a tenant; None: for all."""

    name: str
    kind: str
    is_default: bool
    members: Sequence[Member]
    created_at: datetime
    owner: str | None = None
    overflow: str | None = None


class PoolList(Struct, frozen=True, kw_only=True):
    pools: Sequence[Pool]


class PoolUse(Struct, frozen=True, kw_only=True):
    """Whose mail leaves from a pool. stream None: all of the tenant's that have no pool of their own."""

    tenant: str
    pool: str
    stream: str | None = None


class PoolUseList(Struct, frozen=True, kw_only=True):
    uses: Sequence[PoolUse]


class ProviderWarmup(Struct, frozen=True, kw_only=True):
    """Where an IP stands at one provider today. stage None: warm. cap, used: messages of today.

    verdict: green, yellow or red.
    """

    provider: str
    stages: int
    used: int
    delivered: int
    deferred: int
    bounced: int
    blocked: int
    complained: int
    verdict: str
    reason: str
    forecast: str
    stage: int | None = None
    cap: int | None = None
    warm_on: date | None = None


class Warmup(Struct, frozen=True, kw_only=True):
    """The warm-up of an egress IP. state: running, held or stopped."""

    egress_id: str
    address: str
    plan: str
    state: str
    started_at: datetime
    providers: Sequence[ProviderWarmup]
    target_per_day: int | None = None
    reason: str | None = None


class WarmupList(Struct, frozen=True, kw_only=True):
    warmups: Sequence[Warmup]


class WarmupDay(Struct, frozen=True, kw_only=True):
    """A day that is over, at one provider."""

    provider: str
    day: date
    stage: int
    used: int
    delivered: int
    deferred: int
    bounced: int
    blocked: int
    complained: int
    verdict: str
    reason: str
    cap: int | None = None


class WarmupHistory(Struct, frozen=True, kw_only=True):
    """The latest day first."""

    days: Sequence[WarmupDay]


class BrakeOverride(Struct, frozen=True, kw_only=True):
    """Until then it is not paused."""

    until: datetime
    reason: str
    set_by: str


class BrakedStream(Struct, frozen=True, kw_only=True):
    """A stream that is ill received, or overridden. stream: None: all of the tenant's, of an override.

    mark: warn or pause; None: its rates are good. until: when the pause ends if nothing more is heard.
    """

    tenant: str
    reason: str
    paused: bool
    stream: str | None = None
    mark: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    override: BrakeOverride | None = None


class BrakeList(Struct, frozen=True, kw_only=True):
    streams: Sequence[BrakedStream]


class LetGo(Struct, frozen=True, kw_only=True):
    """let_go: streams that were paused, and go on."""

    let_go: int
