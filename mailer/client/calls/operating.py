"""Where mail leaves from, and the brake on tenants. For keys with the scope operate."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

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
from mailer.client.call import JSON, Call, changing, json_body

_IPS = "/v1/egress-ips"
_POOLS = "/v1/pools"
_USES = "/v1/pool-uses"
_WARMUPS = "/v1/warmups"
_BRAKE = "/v1/brake"


def egress_ips() -> Call[EgressIpList]:
    return Call(method="GET", path=_IPS, answer=EgressIpList, repeatable=True)


def egress_ip(ip_id: str) -> Call[EgressIp]:
    return Call(method="GET", path=f"{_IPS}/{ip_id}", answer=EgressIp, repeatable=True)


def add_egress_ip(addresses: Sequence[str], *, helo: str) -> Call[EgressIp]:
    return changing("POST", _IPS, EgressIp, {"addresses": addresses, "helo": helo})


def change_egress_ip(ip_id: str, *, helo: str | None, state: str | None) -> Call[EgressIp]:
    return changing("PATCH", f"{_IPS}/{ip_id}", EgressIp, {"helo": helo, "state": state}, repeatable=True)


def remove_egress_ip(ip_id: str) -> Call[EgressIp]:
    """Not repeatable: the second answer would be that there is none."""
    return Call(method="DELETE", path=f"{_IPS}/{ip_id}", answer=EgressIp)


def pools() -> Call[PoolList]:
    return Call(method="GET", path=_POOLS, answer=PoolList, repeatable=True)


def pool(name: str) -> Call[Pool]:
    return Call(method="GET", path=f"{_POOLS}/{name}", answer=Pool, repeatable=True)


def create_pool(
    name: str, *, kind: str, owner: str | None, overflow: str | None, is_default: bool
) -> Call[Pool]:
    wanted = {
        "name": name, "kind": kind, "owner": owner, "overflow": overflow, "is_default": is_default,
    }  # fmt: skip
    return changing("POST", _POOLS, Pool, wanted)


def change_pool(name: str, *, overflow: str | None, is_default: bool | None) -> Call[Pool]:
    wanted = {"overflow": overflow, "is_default": is_default}
    return changing("PATCH", f"{_POOLS}/{name}", Pool, wanted, repeatable=True)


def remove_pool(name: str) -> Call[Pool]:
    """Not repeatable: the second answer would be that there is none."""
    return Call(method="DELETE", path=f"{_POOLS}/{name}", answer=Pool)


def put_member(name: str, ip_id: str, *, weight: int) -> Call[Pool]:
    return changing("PUT", _member(name, ip_id), Pool, {"weight": weight}, repeatable=True)


def remove_member(name: str, ip_id: str) -> Call[Pool]:
    return Call(method="DELETE", path=_member(name, ip_id), answer=Pool, repeatable=True)


def pool_uses() -> Call[PoolUseList]:
    return Call(method="GET", path=_USES, answer=PoolUseList, repeatable=True)


def use_pool(tenant: str, *, stream: str | None, pool: str | None) -> Call[PoolUseList]:
    """A pool of None is said, not left out: it means no pool any more."""
    return Call(
        method="PUT",
        path=_USES,
        answer=PoolUseList,
        headers={"Content-Type": JSON},
        body=json_body({"tenant": tenant, "stream": stream, "pool": pool}),
        repeatable=True,
    )


def warmups() -> Call[WarmupList]:
    return Call(method="GET", path=_WARMUPS, answer=WarmupList, repeatable=True)


def warmup(ip_id: str) -> Call[Warmup]:
    return Call(method="GET", path=f"{_WARMUPS}/{ip_id}", answer=Warmup, repeatable=True)


def warmup_history(ip_id: str) -> Call[WarmupHistory]:
    return Call(method="GET", path=f"{_WARMUPS}/{ip_id}/history", answer=WarmupHistory, repeatable=True)


def start_warmup(ip_id: str, *, plan: str, target_per_day: int | None) -> Call[Warmup]:
    wanted = {"plan": plan, "target_per_day": target_per_day}
    return changing("PUT", f"{_WARMUPS}/{ip_id}", Warmup, wanted, repeatable=True)


def hold_warmup(ip_id: str, *, reason: str | None) -> Call[Warmup]:
    return changing("POST", f"{_WARMUPS}/{ip_id}/hold", Warmup, {"reason": reason}, repeatable=True)


def resume_warmup(ip_id: str) -> Call[Warmup]:
    return Call(method="POST", path=f"{_WARMUPS}/{ip_id}/resume", answer=Warmup, repeatable=True)


def stop_warmup(ip_id: str, *, reason: str | None) -> Call[Warmup]:
    return changing("POST", f"{_WARMUPS}/{ip_id}/stop", Warmup, {"reason": reason}, repeatable=True)


def brake() -> Call[BrakeList]:
    return Call(method="GET", path=_BRAKE, answer=BrakeList, repeatable=True)


def override_brake(tenant: str, *, until: datetime, reason: str, stream: str | None) -> Call[LetGo]:
    wanted = {"tenant": tenant, "stream": stream, "until": until, "reason": reason}
    return changing("POST", f"{_BRAKE}/override", LetGo, wanted, repeatable=True)


def clear_brake(tenant: str, *, reason: str, stream: str | None) -> Call[None]:
    """Not repeatable: the second answer would be that there is none."""
    wanted = {"tenant": tenant, "reason": reason, **({} if stream is None else {"stream": stream})}
    return Call(
        method="POST",
        path=f"{_BRAKE}/clear",
        answer=None,
        headers={"Content-Type": JSON},
        body=json_body(wanted),
    )


def _member(name: str, ip_id: str) -> str:
    return f"{_POOLS}/{name}/members/{ip_id}"
