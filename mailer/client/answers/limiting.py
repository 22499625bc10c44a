"""What the API answers about limits over time and the rules for providers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct


class LimitWindow(Struct, frozen=True, kw_only=True):
    """One limit, over any `seconds`. opens_at: when there is room again; None: there is some. used:
    recipients that count in the window that ends now."""

    limit: str
    count: int
    seconds: int
    used: int
    room_now: int
    opens_at: datetime | None = None


class Limit(Struct, frozen=True, kw_only=True):
    """What a tenant, or one of its streams, may send, or what of it is accepted. of: sending or accepting.
    newcomer: the growing daily cap of a new tenant."""

    tenant: str
    of: str
    windows: Sequence[LimitWindow]
    stream: str | None = None
    newcomer: bool = False


class SiteLimit(Struct, frozen=True, kw_only=True):
    """A limit of a rule. of: messages, messages_together or connections. egress_ip: None: all of ours."""

    of: str
    site: str
    place: str
    window: LimitWindow
    egress_ip: str | None = None


class LimitList(Struct, frozen=True, kw_only=True):
    limits: Sequence[Limit]
    sites: Sequence[SiteLimit]


class RatesTogether(Struct, frozen=True, kw_only=True):
    """Over all our addresses and all sites of a provider."""

    messages_per_second: int | None = None
    messages_per_minute: int | None = None
    messages_per_hour: int | None = None
    messages_per_day: int | None = None


class ProviderRule(Struct, frozen=True, kw_only=True):
    """What a provider takes; None: nothing is known. place: file and line, or `api`."""

    name: str
    mx: Sequence[str]
    together: RatesTogether
    one_site: bool
    source: str
    place: str
    connections: int | None = None
    messages_per_session: int | None = None
    messages_per_second: int | None = None
    messages_per_minute: int | None = None
    messages_per_hour: int | None = None
    messages_per_day: int | None = None
    connections_per_minute: int | None = None
    tls: str | None = None
    pool: str | None = None


class ProviderRuleList(Struct, frozen=True, kw_only=True):
    rules: Sequence[ProviderRule]
