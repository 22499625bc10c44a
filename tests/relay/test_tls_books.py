"""Policies and results in the database, on each engine: shared, added up, dropped in time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mailer.policy.tls import PolicyType, Published
from mailer.policy.tls_sts import StsMode, StsPolicy
from mailer.queue import stspolicies, tlsresults
from mailer.relay import tlsbooks
from mailer.relay.smtp.sts import HeldPolicy
from mailer.relay.tlsbooks import StoredPolicies, StoredResults
from mailer.store import Store, StoreUnavailable

NOW = datetime(2026, 11, 24, 23, 59, 59, tzinfo=UTC)
DAY = timedelta(days=1)
STS = Published(PolicyType.STS, "example.org", "example.org", ("version: STSv1", "mode: enforce"))
NONE = Published(PolicyType.NONE, "example.org", "example.org")


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds)


def held(at: datetime, policy_id: str = "1") -> HeldPolicy:
    mx, lines = ("mx.example.net", "*.b"), ("mode: enforce",)
    policy = StsPolicy(mode=StsMode.ENFORCE, mx=mx, max_age=9, lines=lines)
    return HeldPolicy(policy, policy_id, at)


def book(store: Store) -> StoredPolicies:
    return StoredPolicies(store, Clock().monotonic)


def results(store: Store, clock: Clock) -> StoredResults:
    return StoredResults(store, clock.now, clock.monotonic)


def sessions(store: Store, day: str = "2026-11-24", domain: str = "example.org") -> dict[str, int]:
    return {kind.result: number for kind, number in tlsresults.of_day(store, day, domain).items()}


def test_a_policy_that_one_fetched_the_others_have(store: Store) -> None:
    one, other = book(store), book(store)
    one.put("example.org", held(NOW))

    one.synchronise(NOW)
    other.synchronise(NOW)

    assert other.get("example.org") == held(NOW)


def test_of_two_policies_the_one_fetched_last_stays(store: Store) -> None:
    one, late, third = book(store), book(store), book(store)
    one.put("example.org", held(NOW, "new"))
    late.put("example.org", held(NOW - DAY, "old"))

    one.synchronise(NOW)
    late.synchronise(NOW)
    third.synchronise(NOW)

    assert [b.get("example.org") for b in (late, third)] == [held(NOW, "new")] * 2


def test_without_a_database_policies_are_kept_until_it_is_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = book(store), book(store)
    one.put("example.org", held(NOW))

    with monkeypatch.context() as broken:
        broken.setattr(tlsbooks.stspolicies, "keep", _unavailable)
        one.synchronise(NOW)
    one.synchronise(NOW)
    other.synchronise(NOW)

    assert other.get("example.org") == held(NOW)


def test_policies_that_no_max_age_reaches_are_dropped(store: Store) -> None:
    one = book(store)
    one.put("old.example", held(NOW - 400 * DAY))
    one.put("young.example", held(NOW))
    one.synchronise(NOW)

    dropped = stspolicies.drop(store, before=NOW - 366 * DAY)

    assert dropped == 1
    assert set(stspolicies.since(store, NOW - 500 * DAY)) == {"young.example"}


def test_sessions_are_added_up_over_workers_and_stores(store: Store) -> None:
    one, other = results(store, Clock()), results(store, Clock())
    for book_ in (one, other, one):
        book_.note(NONE, "success", host="mx.example.net", address="192.0.2.1", sending_ip="192.0.2.2")
        book_.flush()
    one.note(STS, "certificate-expired", host="mx.example.net", reason="out of date")
    one.flush()
    one.flush()

    found = tlsresults.of_day(store, "2026-11-24", "example.org")

    assert sorted((k.policy_type, k.policy_lines, k.result, n) for k, n in found.items()) == [
        ("no-policy-found", (), "success", 3),
        ("sts", STS.lines, "certificate-expired", 1),
    ]
    assert {(k.mx_host, k.mx_ip, k.sending_ip, k.reason) for k in found} == {
        ("mx.example.net", "192.0.2.1", "192.0.2.2", ""),
        ("mx.example.net", "", "", "out of date"),
    }
    assert tlsresults.domains_of(store, "2026-11-24") == ["example.org"]


def test_a_day_ends_at_midnight_utc(store: Store) -> None:
    """RFC 8460 §4.1."""
    clock = Clock()
    kept = results(store, clock)
    kept.note(NONE, "success")
    clock.seconds = 1.0
    kept.note(NONE, "success")
    kept.flush()

    assert (sessions(store), sessions(store, "2026-11-25")) == ({"success": 1}, {"success": 1})


def test_without_a_database_counts_are_kept_until_it_is_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = results(store, Clock())
    kept.note(NONE, "success")

    with monkeypatch.context() as broken:
        broken.setattr(tlsbooks.tlsresults, "add", _unavailable)
        kept.synchronise()
    kept.note(NONE, "success")
    kept.flush()

    assert sessions(store) == {"success": 2}


def test_counts_are_stored_from_time_to_time(store: Store) -> None:
    clock = Clock()
    kept = results(store, clock)
    kept.synchronise()
    kept.note(NONE, "success")
    kept.synchronise()
    early = sessions(store)
    clock.seconds = 11.0
    kept.synchronise()

    assert (early, sessions(store)) == ({}, {"success": 1})


def test_old_days_are_dropped(store: Store) -> None:
    clock = Clock()
    kept = results(store, clock)
    kept.note(NONE, "success")
    clock.seconds = 3600.0
    kept.note(NONE, "success")
    kept.flush()

    dropped = [tlsresults.drop(store, before=NOW + timedelta(hours=2)) for _ in range(2)]

    assert dropped == [1, 0]
    assert (sessions(store), sessions(store, "2026-11-25")) == ({}, {"success": 1})


def _unavailable(*arguments: Any) -> None:
    raise StoreUnavailable("away")
