"""Secrets of return-path tokens: rotated ahead of time, each good for what was accepted in its time."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mailer import clock
from mailer.compose.verp import Epoch, TokenKeys
from mailer.identity import return_paths
from mailer.identity.return_paths import LEAD, TokenKeeper
from mailer.identity.vault import SealBroken, Vault
from mailer.ids import first_id_at
from mailer.store import Store

VAULT = Vault(b"v" * 32)


def test_the_first_one_is_the_installations_own(store: Store) -> None:
    keys = return_paths.load(store, VAULT)

    assert keys.epochs == (Epoch(0, VAULT.derive("verp")),)
    assert [one.starts_at for one in return_paths.listed(store)] == [None]


def test_a_new_one_is_for_what_is_accepted_after_it_begins(store: Store) -> None:
    before = return_paths.load(store, VAULT)
    now = clock.now()
    starts_at = return_paths.rotate(store, VAULT, now=now)
    after = return_paths.load(store, VAULT)
    old = first_id_at(int(now.timestamp() * 1000))
    new = first_id_at(int((starts_at + timedelta(seconds=1)).timestamp() * 1000))

    assert abs(starts_at - now - LEAD) < timedelta(milliseconds=2)
    assert after.make(old) == before.make(old)
    assert after.make(new) != before.make(new)
    assert after.read(before.make(old)) == old
    assert after.read(after.make(new)) == new
    assert after.read(before.make(new)) is None
    assert [one.starts_at for one in return_paths.listed(store)] == [starts_at, None]


def test_it_cannot_begin_before_all_processes_know_it(store: Store) -> None:
    with pytest.raises(ValueError, match="10 minutes"):
        return_paths.rotate(store, VAULT, now=clock.now(), lead=timedelta(minutes=9))
    assert len(return_paths.listed(store)) == 1


def test_it_lies_sealed_and_opens_with_the_installations_secret_only(store: Store) -> None:
    return_paths.rotate(store, VAULT, now=clock.now())

    with pytest.raises(SealBroken):
        return_paths.load(store, Vault(b"w" * 32))


def test_a_process_takes_it_up_within_a_minute(store: Store) -> None:
    at = [0.0]
    keeper = TokenKeeper(store, VAULT, monotonic=lambda: at[0])
    return_paths.rotate(store, VAULT, now=clock.now())
    keeper.look()
    early = len(keeper.keys().epochs)
    at[0] = 60.0
    keeper.look()

    assert (early, len(keeper.keys().epochs)) == (1, 2)
    assert LEAD.total_seconds() > 60.0 * 2


def test_some_secret_holds_from_the_beginning() -> None:
    with pytest.raises(ValueError, match="beginning"):
        TokenKeys([Epoch(5, b"x")])
    with pytest.raises(ValueError, match="beginning"):
        TokenKeys([])
