"""Who is declared dead: only one whose counter stood still for a lease of the watcher's own clock."""

from __future__ import annotations

from dataclasses import dataclass

from mailer.relay.recovery import Watch


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_counter_that_stands_still_for_a_lease_is_dead() -> None:
    clock = Clock()
    watch = Watch(lease_seconds=3, monotonic=clock)
    verdicts = []
    for _ in range(5):
        verdicts.append(watch.dead({1: 7}))
        clock.now += 1

    assert verdicts == [[], [], [], [1], [1]]


def test_a_counter_that_moves_is_alive() -> None:
    clock = Clock()
    watch = Watch(lease_seconds=3, monotonic=clock)
    verdicts = []
    for beat in range(10):
        verdicts.append(watch.dead({1: beat // 2}))
        clock.now += 1

    assert not any(verdicts)


def test_a_watch_that_slept_declares_nobody_dead_when_it_wakes() -> None:
    clock = Clock()
    watch = Watch(lease_seconds=3, monotonic=clock)
    watch.dead({1: 7})
    clock.now += 1000

    assert watch.dead({1: 7}) == []


def test_one_that_left_is_forgotten() -> None:
    clock = Clock()
    watch = Watch(lease_seconds=3, monotonic=clock)
    watch.dead({1: 7})

    assert watch.dead({}) == []
