"""Whose turn it is among mail that waits within a process: by tenant and kind of stream, round robin.

Without it a tenant's backlog that was claimed first would be signed and sent first, and another tenant's one
message would wait for all of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from mailer.policy.egress import BROADCAST

Item = TypeVar("Item")
Party = tuple[int, str]  # tenant id, kind of stream
NOBODY: Party = (0, BROADCAST)

TRANSACTIONAL_TURNS = 4  # for one of broadcast mail


def turns_of(kind: str) -> int:
    """Items that mail of this kind gets in one round."""
    return 1 if kind == BROADCAST else TRANSACTIONAL_TURNS


class Turns(Generic[Item]):
    """Items in the order in which they are to be served; within a party first come, first served.

    Nothing is locked: whoever shares it between threads locks it.
    """

    def __init__(self) -> None:
        self._waiting: dict[Party, deque[Item]] = {}  # in the order of their turns, none of them empty
        self._left = 0  # of the first party's turn

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def __iter__(self) -> Iterator[Item]:
        """All of them, party by party."""
        for queue in self._waiting.values():
            yield from queue

    def push(self, party: Party, item: Item) -> None:
        queue = self._waiting.get(party)
        if queue is None:
            queue = self._waiting[party] = deque()
            if len(self._waiting) == 1:
                self._left = turns_of(party[1])
        queue.append(item)

    def drop(self, is_over: Callable[[Item], bool]) -> None:
        """Those for which it holds no longer wait."""
        for party, queue in list(self._waiting.items()):
            kept = deque(item for item in queue if not is_over(item))
            if kept:
                self._waiting[party] = kept
            else:
                del self._waiting[party]

    def pop(self) -> Item:
        """The next one. Raises IndexError: there is none."""
        for party, queue in self._waiting.items():
            item = queue.popleft()
            self._left -= 1
            if not queue or self._left <= 0:
                del self._waiting[party]
                if queue:
                    self._waiting[party] = queue  # at the end: the others come first now
                first = next(iter(self._waiting), None)
                self._left = 0 if first is None else turns_of(first[1])
            return item
        raise IndexError("nothing waits")
