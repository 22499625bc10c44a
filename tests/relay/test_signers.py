"""The threads that sign: fair turns, and nothing submitted is left when they end."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from mailer.policy.egress import BROADCAST
from mailer.policy.turns import Party
from mailer.relay.signers import Signers

A, B = (1, BROADCAST), (2, BROADCAST)


class Record:
    """What was done, in order; the first work waits until it may go on."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.go = threading.Event()
        self._lock = threading.Lock()

    def work(self, name: str) -> Callable[[], None]:
        def do() -> None:
            if name == "first":
                assert self.go.wait(10)
            with self._lock:
                self.done.append(name)

        return do

    def works(self, party: Party, *names: str) -> list[tuple[Party, Callable[[], None]]]:
        return [(party, self.work(name)) for name in names]


def test_mail_that_comes_while_a_backlog_is_signed_does_not_wait_for_all_of_it() -> None:
    record = Record()
    signers = Signers(1, begin=lambda: None)
    signers.start()
    signers.submit(record.works(A, "first", *(f"a{n}" for n in range(100))))
    signers.submit(record.works(B, "b"))
    record.go.set()
    signers.shutdown()

    assert len(record.done) == 102
    assert record.done.index("b") <= 2


@pytest.mark.parametrize("threads", [1, 4])
def test_all_that_was_submitted_is_done_and_nothing_afterwards(threads: int) -> None:
    record = Record()
    begun: list[int] = []
    signers = Signers(threads, begin=lambda: begun.append(threading.get_ident()))
    signers.start()
    for n in range(50):
        assert signers.submit(record.works((n, BROADCAST), f"{n}"))
    signers.shutdown()

    assert sorted(map(int, record.done)) == list(range(50))
    assert len(set(begun)) == threads
    assert not signers.submit(record.works(A, "late"))
    assert "late" not in record.done


def test_threads_that_were_never_given_work_end_too() -> None:
    signers = Signers(2, begin=lambda: None)
    signers.start()
    signers.shutdown()

    assert not signers.submit([(A, lambda: None)])
