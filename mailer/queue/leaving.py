"""Claiming mail that leaves from a pool: each row finds the IP it leaves from while its lane is claimed.

So its tokens are those of that IP, taken in the same transaction, and a row that must leave from an IP
without room stays where it is and is not in the way of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection

from mailer.events import WaitReason
from mailer.policy.egress import Egress, NoRoom, Room, Stay
from mailer.queue import due
from mailer.queue.due import But, Row
from mailer.queue.metering import Till

_STAY = 27  # the first column of a stay
_TOLD = frozenset({WaitReason.WARMUP, WaitReason.NO_EGRESS})
_BUSY = Room(is_busy=True)


@dataclass(slots=True)
class Cap:
    """What is left of a warm-up's day, as it was last seen; several ways may share it."""

    left: int


@dataclass(slots=True, kw_only=True)
class Way:
    """An IP that a lane's mail may leave from now.

    left   messages that may still take it in this claim
    names  ceilings over time that hold there
    cap    None: it is not being warmed up
    taken  messages that took it
    """

    egress: Egress
    left: int
    taken: int = 0
    names: tuple[str, ...] = ()
    cap: Cap | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """How the mail of a lane leaves.

    site    that the IPs were chosen for
    ways    by egress id
    rooms   of the IPs that are not among the ways, by egress id
    choose  the IP of a recipient with this stay, where there is this room
    shut    as for `due.by_ip`, as far as it is known beforehand
    """

    site: str
    ways: Mapping[int, Way]
    rooms: Mapping[int, Room]
    choose: Callable[[Stay | None, Mapping[int, Room]], Egress | NoRoom]
    shut: frozenset[int] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True)
class Found:
    """A row that is to be claimed. way: None: no IP may carry it before long, and it is told so."""

    row: Row
    way: Way | None
    stay: Stay | None


def rows_of(
    connection: Connection, wanted: Mapping[str, Any], but: But | None, leaving: Leaving, till: Till | None
) -> Iterator[Found]:
    """Up to `wanted["quota"]` rows. Who takes one takes the tokens of its way before asking for the next.

    A stay for which there is no room is left out, and what stands behind such rows is looked at.
    """
    shut, taken = set(leaving.shut), 0
    hands = _Hands(leaving, till)
    but = but or due.NOTHING
    while taken < wanted["quota"]:
        asked = {**wanted, "quota": wanted["quota"] - taken}
        rows = due.by_ip(connection, asked, but, shut=sorted(shut))
        passed: list[int] = []
        is_told = False
        for row in rows:
            stay = _stay_in(row)
            key = _key_of(stay)
            if key in shut:
                continue
            chosen = leaving.choose(stay, hands.rooms)
            if isinstance(chosen, NoRoom) and chosen.reason not in _TOLD:
                shut.add(key)
                continue
            way = None if isinstance(chosen, NoRoom) else leaving.ways[chosen.id]
            is_told |= way is None
            yield Found(row, way, stay)
            passed.append(row[0])
            if way is not None:
                hands.took(way)
        taken += len(passed)
        if len(rows) < asked["quota"] or not (is_told or hands.have_room):
            return
        # They are leased at the end of the transaction, so that until then they would be found again.
        but = replace(but, recipients=[*but.recipients, *passed])


class _Hands:
    """What the ways of a lane have left, while they are used up."""

    def __init__(self, leaving: Leaving, till: Till | None) -> None:
        self._ways = leaving.ways
        names = {name for way in leaving.ways.values() for name in way.names}
        self._tokens = {name: till.room([name]) for name in names} if till else {}
        self._base = leaving.rooms
        self.rooms = self._look()

    def took(self, way: Way) -> None:
        way.left -= 1
        way.taken += 1
        if way.cap is not None:
            way.cap.left -= 1
        for name in way.names:
            self._tokens[name] -= 1
        self.rooms = self._look()

    @property
    def have_room(self) -> bool:
        return any(self._has_room(way) for way in self._ways.values())

    def _look(self) -> Mapping[int, Room]:
        full = {egress_id: _BUSY for egress_id, way in self._ways.items() if not self._has_room(way)}
        return {**self._base, **full}

    def _has_room(self, way: Way) -> bool:
        if way.left <= 0 or (way.cap is not None and way.cap.left <= 0):
            return False
        return all(self._tokens[name] > 0 for name in way.names)


def _stay_in(row: Row) -> Stay | None:
    egress_id, is_pinned, is_changed = row[_STAY : _STAY + 3]
    return None if egress_id is None else Stay(egress_id, bool(is_pinned), bool(is_changed))


def _key_of(stay: Stay | None) -> int:
    if stay is None:
        return 0
    return stay.egress_id if stay.is_pinned else -stay.egress_id
