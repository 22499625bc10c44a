"""Bearer keys at the door: a good one opens it, and no other, from a second after it stopped being good."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import pytest

from mailer import clock
from mailer.accept.credentials import Authenticator
from mailer.accept.submission import Fault, SubmissionError
from mailer.identity import api_keys, keys, tenants
from mailer.identity.keys import NewKey
from mailer.store import Store, schema
from tests.accept.http.conftest import Keyring
from tests.support.mailroom import Mailroom


class Hands:
    """Clocks that stand still until they are moved."""

    def __init__(self) -> None:
        self.moved = 0.0

    def monotonic(self) -> float:
        return 1000.0 + self.moved

    def now(self) -> object:
        return START + timedelta(seconds=self.moved)


START = clock.now()


@pytest.fixture
def store(sqlite_url: str) -> Iterator[Store]:
    opened = Store(sqlite_url)
    schema.upgrade(opened, epoch="test-epoch")
    yield opened
    opened.close()


@pytest.fixture
def keyring(store: Store) -> Keyring:
    room = Mailroom.furnish(store, now=START)
    return Keyring(room, tenants.create(store, "globex", in_doubt="retry", new_id=room.new_id, now=START))


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def authenticator(store: Store, hands: Hands) -> Authenticator:
    return Authenticator(store, monotonic=hands.monotonic, now=hands.now)  # type: ignore[arg-type]


def header(key: NewKey) -> str:
    return f"Bearer {key.text}"


async def refused(authenticator: Authenticator, authorization: str | None) -> Fault:
    with pytest.raises(SubmissionError) as caught:
        await authenticator.identify(authorization)
    return caught.value.fault


async def test_a_good_key_names_its_tenant_and_scopes(authenticator: Authenticator, keyring: Keyring) -> None:
    ours = await authenticator.identify(header(keyring.issue(scopes=("send",))))
    theirs = await authenticator.identify(header(keyring.issue(to=keyring.globex)))

    assert (ours.tenant_id, ours.scopes) == (keyring.room.tenant_id, {"send"})
    assert (theirs.tenant_id, theirs.scopes) == (keyring.globex.id, {"send", "read"})


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer   "])
async def test_the_scheme_is_read_as_the_rfc_says(
    authenticator: Authenticator, keyring: Keyring, scheme: str
) -> None:
    """RFC 9110 §11.1: case-insensitive, then one or more spaces."""
    key = keyring.issue()
    identity = await authenticator.identify(f"{scheme} {key.text}")

    assert identity.key_id == key.key_id


async def test_a_mistyped_key_is_refused_without_asking_the_database(
    authenticator: Authenticator, keyring: Keyring, store: Store
) -> None:
    text = keyring.issue().text
    mistyped = text[:20] + ("0" if text[20] != "0" else "1") + text[21:]
    store.close()

    assert await refused(authenticator, f"Bearer {mistyped}") is Fault.UNAUTHENTICATED


async def test_the_right_id_with_another_secret_is_refused(
    authenticator: Authenticator, keyring: Keyring
) -> None:
    good = keyring.issue()
    forged = keys.new_key(good.key_id)

    assert await refused(authenticator, header(forged)) is Fault.UNAUTHENTICATED
    assert (await authenticator.identify(header(good))).key_id == good.key_id


async def test_a_key_that_nobody_has_is_refused(authenticator: Authenticator, keyring: Keyring) -> None:
    assert await refused(authenticator, header(keys.new_key(keyring.room.new_id()))) is Fault.UNAUTHENTICATED
    assert await refused(authenticator, None) is Fault.UNAUTHENTICATED


async def test_a_revoked_key_opens_nothing_after_a_second(
    authenticator: Authenticator, keyring: Keyring, store: Store, hands: Hands
) -> None:
    key = keyring.issue()
    await authenticator.identify(header(key))
    api_keys.revoke(store, key.key_id, now=START)
    hands.moved = 0.99
    still_cached = await authenticator.identify(header(key))
    hands.moved = 1.0

    assert still_cached.key_id == key.key_id
    assert await refused(authenticator, header(key)) is Fault.UNAUTHENTICATED


async def test_a_key_expires_to_the_moment_also_while_it_is_cached(
    authenticator: Authenticator, keyring: Keyring, hands: Hands
) -> None:
    key = keyring.issue(expires_at=START + timedelta(seconds=0.5))
    await authenticator.identify(header(key))
    hands.moved = 0.5

    assert await refused(authenticator, header(key)) is Fault.UNAUTHENTICATED


async def test_a_key_made_after_it_was_refused_opens_the_door_a_second_later(
    authenticator: Authenticator, keyring: Keyring, store: Store, hands: Hands
) -> None:
    key = keys.new_key(keyring.room.new_id())
    await refused(authenticator, header(key))
    presented = keys.parse_key(key.text)
    with store.write() as c:
        api_keys.insert(c, keyring.globex, "late", presented, now=START)
    at_once = await refused(authenticator, header(key))
    hands.moved = 1.0

    assert at_once is Fault.UNAUTHENTICATED
    assert (await authenticator.identify(header(key))).tenant_id == keyring.globex.id


async def test_a_suspended_tenants_key_says_so(
    authenticator: Authenticator, keyring: Keyring, store: Store
) -> None:
    tenants.suspend(store, "globex")

    assert (await authenticator.identify(header(keyring.issue(to=keyring.globex)))).is_suspended
    assert not (await authenticator.identify(header(keyring.issue()))).is_suspended


async def test_a_missing_scope_is_forbidden(authenticator: Authenticator, keyring: Keyring) -> None:
    identity = await authenticator.identify(header(keyring.issue(scopes=("read",))))

    identity.require("read")
    with pytest.raises(SubmissionError) as caught:
        identity.require("send")
    assert caught.value.fault is Fault.FORBIDDEN


class CountingStore(Store):
    """Counts the look-ups that reach the database."""

    reads = 0

    def read(self) -> object:  # type: ignore[override]
        self.reads += 1
        return super().read()


async def test_a_crowd_with_one_key_costs_one_look_up(
    sqlite_url: str, keyring: Keyring, hands: Hands
) -> None:
    store = CountingStore(sqlite_url)
    authenticator = Authenticator(store, monotonic=hands.monotonic, now=hands.now)  # type: ignore[arg-type]
    key = header(keyring.issue())
    crowd = await asyncio.gather(*(authenticator.identify(key) for _ in range(100)))
    store.close()

    assert len({identity.key_id for identity in crowd}) == 1
    assert store.reads == 1


async def test_a_waiter_that_hangs_up_takes_nobody_with_it(
    authenticator: Authenticator, keyring: Keyring
) -> None:
    key = header(keyring.issue())
    first = asyncio.create_task(authenticator.identify(key))
    second = asyncio.create_task(authenticator.identify(key))
    await asyncio.sleep(0)
    first.cancel()

    assert (await second).tenant_id == keyring.room.tenant_id
    assert first.cancelled()


async def test_a_database_that_does_not_answer_is_not_the_callers_fault(
    keyring: Keyring, hands: Hands
) -> None:
    gone = Store("postgresql+psycopg://nobody@127.0.0.1:1/none")
    authenticator = Authenticator(gone, monotonic=hands.monotonic, now=hands.now)  # type: ignore[arg-type]
    fault = await refused(authenticator, header(keyring.issue()))
    gone.close()

    assert fault is Fault.UNAVAILABLE
