"""Egress IPs, pools and warm-ups by the client, against the application itself, with an operator's key."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta

import pytest

from mailer import clock, ids
from mailer.client import AsyncMailer, Conflict, InvalidRequest, Mailer, NotAllowed, NotFound
from mailer.config.load import warmup_rules
from mailer.identity.api_keys import OPERATE
from mailer.policy.warmup import Counts
from mailer.queue import warmup
from mailer.queue.warmup import Heard
from tests.client.conftest import Api

_serial = itertools.count(1)
NOBODY = ids.show("ip", 5)


@pytest.fixture
def operator(api: Api) -> Iterator[Mailer]:
    with Mailer(api.keyring.issue(scopes=(OPERATE,)).text, api.url) as client:
        yield client


@pytest.fixture
async def async_operator(api: Api) -> AsyncIterator[AsyncMailer]:
    async with AsyncMailer(api.keyring.issue(scopes=(OPERATE,)).text, api.url) as client:
        yield client


def fresh() -> tuple[str, str]:
    """An address and a pool's name that no other test uses: they share an application."""
    number = next(_serial)
    return f"203.0.113.{number}", f"pool{number}"


@pytest.mark.parametrize(
    "ask",
    [
        lambda mailer: mailer.egress_ips.list(),
        lambda mailer: mailer.pools.uses(),
        lambda mailer: mailer.warmups.stop(NOBODY),
    ],
)
def test_a_tenants_key_is_refused(mailer: Mailer, ask: Callable[[Mailer], object]) -> None:
    with pytest.raises(NotAllowed):
        ask(mailer)


def test_what_is_wrong_is_pointed_at(operator: Mailer) -> None:
    address, _ = fresh()
    ip = operator.egress_ips.add([address], helo="out.example.org")

    with pytest.raises(InvalidRequest) as no_address:
        operator.egress_ips.add(["out.example.org"], helo="out.example.org")
    with pytest.raises(InvalidRequest) as no_plan:
        operator.warmups.start(ip.id, plan="hasty")
    with pytest.raises(Conflict):
        operator.egress_ips.add([address], helo="out.example.org")
    with pytest.raises(NotFound):
        operator.warmups.get(ip.id)

    assert no_address.value.errors[0].pointer == "/addresses/0"
    assert no_plan.value.errors[0].pointer == "/plan"


def test_an_ip_is_added_changed_and_removed(operator: Mailer) -> None:
    address, _ = fresh()
    ip = operator.egress_ips.add([address, "2001:db8::5"], helo="out.example.org")
    renamed = operator.egress_ips.change(ip.id, helo="out2.example.org")
    drained = operator.egress_ips.change(ip.id, state="draining")
    listed = operator.egress_ips.list().egress_ips
    operator.egress_ips.remove(ip.id)

    assert (ip.ipv4, ip.ipv6, ip.state, list(ip.hosts)) == (address, "2001:db8::5", "active", [])
    assert list(ip.notes) == ["no worker has looked for it yet"]
    assert (renamed.helo, renamed.state) == ("out2.example.org", "active")
    assert (drained.helo, drained.state) == ("out2.example.org", "draining")
    assert drained in listed
    with pytest.raises(NotFound):
        operator.egress_ips.get(ip.id)


def test_a_pool_lives_from_its_making_to_its_end(operator: Mailer) -> None:
    address, name = fresh()
    ip = operator.egress_ips.add([address], helo="out.example.org")
    spare = operator.pools.create(f"{name}-spare", owner="globex")
    operator.pools.create(name, owner="globex", overflow=spare.name)
    weighed = operator.pools.put_member(name, ip.id, weight=3)
    uses = operator.pools.use("globex", pool=name).uses
    with pytest.raises(Conflict):
        operator.pools.remove(name)
    unused = operator.pools.use("globex", pool=None).uses
    changed = operator.pools.change(name, overflow="")
    emptied = operator.pools.remove_member(name, ip.id)

    assert (weighed.owner, weighed.overflow, weighed.is_default) == ("globex", spare.name, False)
    assert [(m.egress_id, m.address, m.weight) for m in weighed.members] == [(ip.id, address, 3)]
    assert [(use.tenant, use.stream, use.pool) for use in uses] == [("globex", None, name)]
    assert list(unused) == list(operator.pools.uses().uses) == []
    assert (changed.overflow, list(changed.members)) == (None, list(weighed.members))
    assert list(emptied.members) == []
    for pool in (name, spare.name):
        assert operator.pools.get(pool) in operator.pools.list().pools
        operator.pools.remove(pool)
    with pytest.raises(NotFound):
        operator.pools.get(name)


def test_a_default_pool_is_changed_in_nothing_else(operator: Mailer) -> None:
    _, name = fresh()
    operator.pools.create(name, kind="broadcast")

    chosen = operator.pools.change(name, is_default=True)
    unchosen = operator.pools.change(name, is_default=False)

    assert (chosen.kind, chosen.is_default, unchosen.is_default) == ("broadcast", True, False)


def test_a_warm_up_is_started_held_resumed_and_stopped(api: Api, operator: Mailer) -> None:
    address, _ = fresh()
    ip = operator.egress_ips.add([address], helo="out.example.org")
    started = operator.warmups.start(ip.id, target_per_day=50_000)
    send_to_google(api, ip.id)

    seen = operator.warmups.get(ip.id)
    held = operator.warmups.hold(ip.id, reason="a listing")
    resumed = operator.warmups.resume(ip.id)
    stopped = operator.warmups.stop(ip.id)

    [google] = seen.providers
    assert (started.plan, started.target_per_day, started.address) == ("steady", 50_000, address)
    assert (google.provider, google.stage, google.used, google.verdict) == ("google", 1, 100, "green")
    assert google.warm_on is not None
    assert (held.state, held.reason) == ("held", "a listing")
    assert (resumed.state, resumed.reason) == ("running", None)
    assert (stopped.state, stopped.providers[0].cap) == ("stopped", None)
    assert stopped in operator.warmups.list().warmups
    assert list(operator.warmups.history(ip.id).days) == []


async def test_an_ip_is_put_to_work_with_await(async_operator: AsyncMailer) -> None:
    address, name = fresh()
    ip = await async_operator.egress_ips.add([address], helo="out.example.org")
    await async_operator.pools.create(name)
    pool = await async_operator.pools.put_member(name, ip.id)
    warming = await async_operator.warmups.start(ip.id)

    assert [(m.egress_id, m.weight) for m in pool.members] == [(ip.id, 1)]
    assert (warming.state, warming.egress_id) == ("running", ip.id)


def send_to_google(api: Api, ip: str) -> None:
    """All that the IP may on its first day."""
    key = (ids.parse("ip", ip), "google")
    room = api.keyring.room
    warmup.reserve(room.store, room.worker.id, {key: 10**6}, rules=warmup_rules(), now=clock.now())
    warmup.observe(room.store, {key: Heard(Counts(delivered=99, bounced=1))})


def test_the_brake_is_overridden_and_cleared(operator: Mailer) -> None:
    until = (clock.now() + timedelta(days=7)).replace(microsecond=0)

    let_go = operator.brake.override("acme", until=until, reason="known", stream="transactional")
    [one] = operator.brake.list().streams
    operator.brake.clear("acme", reason="over", stream="transactional")

    assert let_go.let_go == 0
    assert (one.tenant, one.stream, one.paused, one.mark) == ("acme", "transactional", False, None)
    assert one.override is not None
    assert (one.override.until, one.override.reason) == (until, "known")
    assert operator.brake.list().streams == []
    with pytest.raises(NotFound):
        operator.brake.clear("acme", reason="again")


async def test_the_brake_by_asyncio(async_operator: AsyncMailer) -> None:
    until = (clock.now() + timedelta(days=7)).replace(microsecond=0)

    await async_operator.brake.override("globex", until=until, reason="known")
    [one] = (await async_operator.brake.list()).streams
    await async_operator.brake.clear("globex", reason="over")

    assert (one.tenant, one.stream) == ("globex", None)


def test_a_tenants_limits_are_set_and_removed(operator: Mailer) -> None:
    operator.limits.set("acme", messages_per_hour=5000, messages_per_second=50)
    operator.limits.set("acme", stream="transactional", messages_per_day=100_000)
    held = operator.limits.list().limits
    [accepting] = [
        one for one in operator.limits.set("acme", of="accepting", messages_per_day=9).limits
        if one.of == "accepting"
    ]  # fmt: skip
    operator.limits.remove("acme")
    operator.limits.remove("acme", of="accepting")
    left = operator.limits.remove("acme", stream="transactional")

    assert [(one.tenant, one.stream, [w.limit for w in one.windows]) for one in held] == [
        ("acme", None, ["50/second", "5000/hour"]), ("acme", "transactional", ["100000/day"]),
    ]  # fmt: skip
    assert [(w.count, w.used, w.room_now) for w in accepting.windows] == [(9, 0, 9)]
    assert left.limits == []
    with pytest.raises(NotFound):
        operator.limits.set("nobody", messages_per_day=1)


def test_a_rule_for_a_provider_is_set_and_removed(operator: Mailer) -> None:
    rule = {"mx": ["mx.customer.example"], "messages_per_hour": 500, "source": "they asked for it"}

    made = operator.provider_rules.set("customer", rule)
    known = operator.provider_rules.get("customer")
    names = {one.name for one in operator.provider_rules.list().rules}
    removed = operator.provider_rules.remove("customer")

    assert made == known == removed
    assert (made.mx, made.messages_per_hour, made.place) == (["mx.customer.example"], 500, "api")
    assert {"customer", "google"} <= names
    with pytest.raises(NotFound):
        operator.provider_rules.remove("customer")


async def test_limits_and_rules_by_asyncio(async_operator: AsyncMailer) -> None:
    await async_operator.limits.set("globex", messages_per_day=7)
    [one] = (await async_operator.limits.list()).limits
    left = await async_operator.limits.remove("globex")
    made = await async_operator.provider_rules.set("other", {"mx": ["mx.other.example"], "source": "assumed"})
    removed = await async_operator.provider_rules.remove("other")

    assert (one.tenant, left.limits, made) == ("globex", [], removed)


def test_mail_is_moved_to_a_pool_by_name(operator: Mailer) -> None:
    _, name = fresh()
    operator.pools.create(name)

    moved = operator.queue.move("the main one is blocked", to_pool=name, domain="nobody-waits.example")
    with pytest.raises(InvalidRequest, match="there is no pool"):
        operator.queue.move("the main one is blocked", to_pool="none", domain="nobody-waits.example")

    assert moved.recipients == 0
    operator.pools.remove(name)
