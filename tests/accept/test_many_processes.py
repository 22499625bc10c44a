"""A key's rate and a tenant's quota hold over all doors of all processes that share a database."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from mailer import clock
from mailer.accept.committer import Committer
from mailer.accept.http.app import create_app
from mailer.accept.rates import KeyRates, RateLimits
from mailer.accept.submission import Fault, SubmissionError
from mailer.policy.limits import Rate
from mailer.queue import allowances, verify
from mailer.store import Store
from tests.accept.conftest import Desk
from tests.accept.http.conftest import LETTER, Keyring, two_tenants, working_parts
from tests.accept.test_rates import most_within
from tests.support.mailroom import KEYS

PROCESSES = 3


@dataclass
class Host:
    """Several HTTP processes, as far as they share anything: one database."""

    keyring: Keyring
    apps: list[FastAPI]

    async def rush(self, seconds: float, *keys: str) -> list[tuple[str, float, float]]:
        """Sends through all doors at once as fast as they answer; what was accepted: by which key, between
        which times."""
        until = clock.monotonic() + seconds
        rushes = [self._rush(app, key, until) for app in self.apps for key in keys for _ in range(2)]
        return [accepted for found in await asyncio.gather(*rushes) for accepted in found]

    async def _rush(self, app: FastAPI, key: str, until: float) -> list[tuple[str, float, float]]:
        accepted = []
        headers = {"Authorization": f"Bearer {key}"}
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://a.test", headers=headers
        ) as client:
            while (began := clock.monotonic()) < until:
                answer = await client.post("/v1/messages", json=LETTER)
                assert answer.status_code in (202, 429), answer.text
                if answer.status_code == 202:
                    accepted.append((key, began, clock.monotonic()))
        return accepted


@pytest.fixture
def host(store: Store, tmp_path: Path) -> Iterator[Host]:
    keyring = two_tenants(store)
    limits = RateLimits(messages_per_second=6)
    with ExitStack() as stack:
        apps = []
        for _ in range(PROCESSES):
            own = Store(store.url)
            stack.callback(own.close)
            room = replace(keyring.room, store=own)
            rates = KeyRates(limits, clock.monotonic)
            parts = stack.enter_context(working_parts(room, tmp_path, ring=lambda: None, rates=rates))
            apps.append(create_app(parts))
        yield Host(keyring, apps)


async def test_no_window_of_any_key_sees_one_too_many(host: Host) -> None:
    keys = [host.keyring.issue().text for _ in range(2)]

    accepted = await host.rush(3.5, *keys)

    by_key = {key: [(b, e) for k, b, e in accepted if k == key] for key in keys}
    assert {most_within(1.0, of) <= 6 for of in by_key.values()} == {True}
    assert min(len(of) for of in by_key.values()) >= 3 * 6, "and nearly all of it is used, by each"
    assert verify.verify(host.keyring.room.store).holds


async def test_a_tenants_quota_is_accepted_to_the_last_one(host: Host) -> None:
    room = host.keyring.room
    allowances.allow(room.store, "accept", room.tenant_id, [Rate(3600, 11)], now=clock.now())

    accepted = await host.rush(2.5, *(host.keyring.issue().text for _ in range(2)))

    assert len(accepted) == 11


async def test_a_database_that_is_away_opens_no_gate(desk: Desk) -> None:
    away = Store("postgresql+psycopg://nobody@127.0.0.1:1/none")
    rates = KeyRates(RateLimits(messages_per_second=5), clock.monotonic)
    committer = Committer(
        away, new_id=desk.room.new_id, process_number=1, now=clock.now, ring=lambda: None,
        rates=rates, keys=KEYS,
    )  # fmt: skip
    committer.start()
    with pytest.raises(SubmissionError) as caught:
        await committer.commit(desk.prepared())
    committer.stop()
    away.close()

    assert caught.value.fault is Fault.UNAVAILABLE
    rates.check(desk.key_id)
