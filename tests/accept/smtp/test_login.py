"""An API key as password: who guesses is slowed down and shown the door, who has a key is let in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mailer import clock
from mailer.accept.credentials import Authenticator
from mailer.accept.smtp.login import KeyLogin
from mailer.listener import Granted, ServerReply, Session
from mailer.store import Store
from tests.accept.smtp.conftest import issue
from tests.accept.test_rates import Clock
from tests.support.mailroom import Mailroom


class Guesser:
    """Tries passwords from one address; `slept` are the seconds that it was made to wait."""

    def __init__(self, store: Store) -> None:
        self.slept: list[float] = []
        self.clock = Clock()
        authenticator = Authenticator(store, monotonic=clock.monotonic, now=clock.now)
        self._login = KeyLogin(authenticator, self.clock, sleep=self._sleep)

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    async def try_key(self, key: str, peer: str = "192.0.2.7") -> Granted | ServerReply:
        return await self._login.authenticate("any", key, Session(peer, 587, tls="TLSv1.3"))

    async def guess(self, times: int) -> list[int]:
        answers = [await self.try_key("guess") for _ in range(times)]
        return [answer.code for answer in answers if isinstance(answer, ServerReply)]


@pytest.fixture
def room(store: Store) -> Mailroom:
    return Mailroom.furnish(store, now=clock.now())


@pytest.fixture
def guesser(room: Mailroom) -> Guesser:
    return Guesser(room.store)


@pytest.fixture
def store(furnished_sqlite: Path, tmp_path: Path) -> Iterator[Store]:
    path = tmp_path / "mailer.sqlite3"
    path.write_bytes(furnished_sqlite.read_bytes())
    opened = Store(f"sqlite:///{path}")
    yield opened
    opened.close()


async def test_every_failure_costs_more_than_the_last(guesser: Guesser) -> None:
    codes = await guesser.guess(7)

    assert codes == [535] * 7
    assert guesser.slept == [0.25, 0.5, 1.0, 2.0, 4.0, 4.0, 4.0]


async def test_who_goes_on_loses_the_connection(guesser: Guesser) -> None:
    codes = await guesser.guess(52)

    assert codes == [535] * 50 + [421] * 2


async def test_a_good_key_is_let_in_whatever_its_address_did(guesser: Guesser, room: Mailroom) -> None:
    await guesser.guess(60)

    assert isinstance(await guesser.try_key(issue(room)), Granted)
    assert await guesser.guess(1) == [535]


async def test_addresses_do_not_pay_for_each_other(guesser: Guesser) -> None:
    await guesser.guess(5)
    await guesser.try_key("guess", peer="192.0.2.8")

    assert guesser.slept[-1] == 0.25


@pytest.mark.parametrize(
    ("peer", "pause"),
    [
        ("2001:db8:1:2::8", 2.0),
        ("2001:db8:1:2:ffff::1", 2.0),
        ("2001:db8:1:3::7", 0.25),
        ("::ffff:192.0.2.7", 0.5),
        ("::ffff:192.0.2.8", 0.25),
    ],
)
async def test_whoever_has_a_network_pays_for_all_of_it(guesser: Guesser, peer: str, pause: float) -> None:
    """RFC 4291 §2.5.1: a customer's IPv6 network is a /64 at least; IPv4 is counted by address."""
    for before in ["2001:db8:1:2::7"] * 3 + ["192.0.2.7"]:
        await guesser.try_key("guess", peer=before)
    await guesser.try_key("guess", peer=peer)

    assert guesser.slept[-1] == pause


async def test_failures_are_forgiven_after_a_while(guesser: Guesser) -> None:
    await guesser.guess(60)
    guesser.clock.at += 601

    assert await guesser.guess(1) == [535]
    assert guesser.slept[-1] == 0.25
