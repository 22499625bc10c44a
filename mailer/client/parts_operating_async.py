"""What `AsyncMailer` can do with an operator's key: parts_operating.py with `await`, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from mailer.client.answers.limiting import LimitList, ProviderRule, ProviderRuleList
from mailer.client.answers.operating import (
    BrakeList,
    EgressIp,
    EgressIpList,
    LetGo,
    Pool,
    PoolList,
    PoolUseList,
    Warmup,
    WarmupHistory,
    WarmupList,
)
from mailer.client.calls import limiting, operating
from mailer.client.parts_async import Part


class EgressIps(Part):
    """Addresses that mail leaves from."""

    async def list(self) -> EgressIpList:
        return await self._wires.make(operating.egress_ips())

    async def get(self, ip_id: str) -> EgressIp:
        return await self._wires.make(operating.egress_ip(ip_id))

    async def add(self, addresses: Sequence[str], *, helo: str) -> EgressIp:
        """An IPv4 address, an IPv6 address, or one of each that go by the same name."""
        return await self._wires.make(operating.add_egress_ip(addresses, helo=helo))

    async def change(self, ip_id: str, *, helo: str | None = None, state: str | None = None) -> EgressIp:
        """What is None stays as it is. state: active, draining or off."""
        return await self._wires.make(operating.change_egress_ip(ip_id, helo=helo, state=state))

    async def remove(self, ip_id: str) -> EgressIp:
        """It must be in no pool. Its warm-up goes with it."""
        return await self._wires.make(operating.remove_egress_ip(ip_id))


class Pools(Part):
    """Egress IPs that share mail, and whose mail that is."""

    async def list(self) -> PoolList:
        return await self._wires.make(operating.pools())

    async def get(self, name: str) -> Pool:
        return await self._wires.make(operating.pool(name))

    async def create(
        self,
        name: str,
        *,
        kind: str = "transactional",
        owner: str | None = None,
        overflow: str | None = None,
        is_default: bool = False,
    ) -> Pool:
        """Without members. owner: the only tenant whose mail may leave from it. overflow: another pool."""
        wanted = operating.create_pool(name, kind=kind, owner=owner, overflow=overflow, is_default=is_default)
        return await self._wires.make(wanted)

    async def change(self, name: str, *, overflow: str | None = None, is_default: bool | None = None) -> Pool:
        """What is None stays as it is. overflow: empty for none."""
        return await self._wires.make(operating.change_pool(name, overflow=overflow, is_default=is_default))

    async def remove(self, name: str) -> Pool:
        """Nothing may be mapped to it, nor overflow into it."""
        return await self._wires.make(operating.remove_pool(name))

    async def put_member(self, name: str, ip_id: str, *, weight: int = 1) -> Pool:
        """Puts an egress IP in, or changes its weight; 0: takes only what the others cannot."""
        return await self._wires.make(operating.put_member(name, ip_id, weight=weight))

    async def remove_member(self, name: str, ip_id: str) -> Pool:
        return await self._wires.make(operating.remove_member(name, ip_id))

    async def uses(self) -> PoolUseList:
        return await self._wires.make(operating.pool_uses())

    async def use(self, tenant: str, *, pool: str | None, stream: str | None = None) -> PoolUseList:
        """Maps a tenant's mail, or that of one stream, to a pool; None: to no pool any more."""
        return await self._wires.make(operating.use_pool(tenant, stream=stream, pool=pool))


class Warmups(Part):
    """How new egress IPs grow, provider by provider."""

    async def list(self) -> WarmupList:
        return await self._wires.make(operating.warmups())

    async def get(self, ip_id: str) -> Warmup:
        return await self._wires.make(operating.warmup(ip_id))

    async def history(self, ip_id: str) -> WarmupHistory:
        return await self._wires.make(operating.warmup_history(ip_id))

    async def start(self, ip_id: str, *, plan: str = "steady", target_per_day: int | None = None) -> Warmup:
        """From the first stage, also if it was under way. target_per_day: messages; None: the plan's end."""
        return await self._wires.make(operating.start_warmup(ip_id, plan=plan, target_per_day=target_per_day))

    async def hold(self, ip_id: str, *, reason: str | None = None) -> Warmup:
        """It sends up to its caps and does not advance."""
        return await self._wires.make(operating.hold_warmup(ip_id, reason=reason))

    async def resume(self, ip_id: str) -> Warmup:
        """It goes on from where it was held. One that was stopped is started anew instead."""
        return await self._wires.make(operating.resume_warmup(ip_id))

    async def stop(self, ip_id: str, *, reason: str | None = None) -> Warmup:
        """The IP has no caps any more."""
        return await self._wires.make(operating.stop_warmup(ip_id, reason=reason))


class Brake(Part):
    """Streams whose mail is ill received, and what the operator says to it."""

    async def list(self) -> BrakeList:
        return await self._wires.make(operating.brake())

    async def override(
        self, tenant: str, *, until: datetime, reason: str, stream: str | None = None
    ) -> LetGo:
        """It is not paused until then, whatever comes back. stream: None: all of the tenant's."""
        wanted = operating.override_brake(tenant, until=until, reason=reason, stream=stream)
        return await self._wires.make(wanted)

    async def clear(self, tenant: str, *, reason: str, stream: str | None = None) -> None:
        """It is judged again."""
        await self._wires.make(operating.clear_brake(tenant, reason=reason, stream=stream))


class Limits(Part):
    """What tenants and streams may send over time, and what of tenants is accepted."""

    async def list(self) -> LimitList:
        return await self._wires.make(limiting.limits())

    async def set(
        self,
        tenant: str,
        *,
        of: str | None = None,
        stream: str | None = None,
        messages_per_second: int | None = None,
        messages_per_minute: int | None = None,
        messages_per_hour: int | None = None,
        messages_per_day: int | None = None,
    ) -> LimitList:
        """In place of what was set of the same before; at least one. of: sending (default) or accepting."""
        rates = {
            "messages_per_second": messages_per_second,
            "messages_per_minute": messages_per_minute,
            "messages_per_hour": messages_per_hour,
            "messages_per_day": messages_per_day,
        }
        return await self._wires.make(limiting.set_limit(tenant, of=of, stream=stream, rates=rates))

    async def remove(self, tenant: str, *, of: str | None = None, stream: str | None = None) -> LimitList:
        """Without a stream those of the tenant itself; its streams' stay."""
        return await self._wires.make(limiting.remove_limit(tenant, of=of, stream=stream))


class ProviderRules(Part):
    """What mailbox providers take."""

    async def list(self) -> ProviderRuleList:
        return await self._wires.make(limiting.provider_rules())

    async def get(self, name: str) -> ProviderRule:
        return await self._wires.make(limiting.provider_rule(name))

    async def set(self, name: str, rule: Mapping[str, object]) -> ProviderRule:
        """The whole rule, over that of the files, as a section of a rules' file; `source` must be said."""
        return await self._wires.make(limiting.set_provider_rule(name, rule))

    async def remove(self, name: str) -> ProviderRule:
        """The files' is in force again, if they have one."""
        return await self._wires.make(limiting.remove_provider_rule(name))
