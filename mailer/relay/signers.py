"""The threads that sign, and whose mail they take next."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from mailer.policy.turns import Party, Turns
from mailer.queue.claim import Claimed

Work = Callable[[], None]

_CHUNK = 8  # consignments a signer makes before it hands them over


def chunks_of(claimed: Sequence[Claimed]) -> Iterator[Sequence[Claimed]]:
    """What a signer takes at once, each of one party."""
    parties = defaultdict(list)
    for one in claimed:
        parties[one.party].append(one)
    for mine in parties.values():
        for start in range(0, len(mine), _CHUNK):
            yield mine[start : start + _CHUNK]


class Signers:
    """`submit` by the claimer's thread; each work is done by one of the threads, in fair turns of its party.

    begin  called by each thread first
    """

    def __init__(self, threads: int, *, begin: Callable[[], None]) -> None:
        self._begin = begin
        self._turns: Turns[Work] = Turns()
        self._changed = threading.Condition()
        self._is_closed = False
        self._threads = [
            threading.Thread(target=self._run, name=f"signer-{n}", daemon=True) for n in range(threads)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def submit(self, work: Sequence[tuple[Party, Work]]) -> bool:
        """False: they were shut down, and nothing of it is done."""
        with self._changed:
            if self._is_closed:
                return False
            for party, one in work:
                self._turns.push(party, one)
            self._changed.notify(len(work))
        return True

    def shutdown(self) -> None:
        """All that was submitted is done when this returns."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        self._begin()
        while True:
            with self._changed:
                while not self._turns:
                    if self._is_closed:
                        return
                    self._changed.wait()
                work = self._turns.pop()
            work()
