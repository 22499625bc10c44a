"""Sessions kept open between messages, and how many a place (policy/places.py) gets.

A delivery first gets a slot of its place, in fair turns of tenants and kinds of streams, then a session: an
idle one to a host of its own domain's MX set, else a new one. Sessions in use and idle ones together never
exceed what the place allows (those that are just saying QUIT not counted). All of it lives on one event loop,
nothing is locked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from mailer.policy.turns import NOBODY, Party, Turns
from mailer.relay.smtp.session import Session, Target

_LONGEST_TICK_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """When a session is not used again, and how long a delivery waits for one.

    messages_of  transactions that a session of a place carries
    """

    messages_of: Callable[[str], int]
    session_seconds: float
    idle_seconds: float
    wait_seconds: float
    quit_seconds: float


@dataclass(frozen=True, slots=True)
class PlaceStats:
    """Connections open (busy and idle), slots in use, deliveries waiting for one."""

    open: int
    busy: int
    waiting: int


@dataclass(slots=True)
class _Ticket:
    """Who waits for a slot, and since when."""

    since: float
    turn: asyncio.Future[bool]


@dataclass(slots=True)
class _Place:
    """busy: slots given out; in_use: sessions that their holders have, or are opening."""

    busy: int = 0
    in_use: int = 0
    idle: list[Session] = field(default_factory=list)  # the last used at the end
    waiting: Turns[_Ticket] = field(default_factory=Turns)


class SessionPool:
    """connections_of: how many connections a place allows at this moment; it may change at any time."""

    def __init__(
        self, connections_of: Callable[[str], int], limits: PoolLimits, monotonic: Callable[[], float]
    ) -> None:
        self._connections_of = connections_of
        self._limits = limits
        self._monotonic = monotonic
        self._places: dict[str, _Place] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._ticker: asyncio.TimerHandle | None = None
        self._closing = False

    # ---- slots ---------------------------------------------------------------------------------------

    async def acquire(self, place: str, party: Party = NOBODY) -> bool:
        """A slot of the place, in fair turns; False: none is to be had. Give it to `release`."""
        if self._closing:
            return False
        here = self._places.setdefault(place, _Place())
        limit = self._connections_of(place)
        if here.busy < limit and not here.waiting:
            here.busy += 1
            return True
        if limit <= 0 and not here.busy:
            self._forget_if_unused(place, here)
            return False  # no permits: whoever has them should carry this mail
        ticket: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        here.waiting.push(party, _Ticket(self._monotonic(), ticket))
        self._ensure_ticker()
        try:
            return await ticket
        except asyncio.CancelledError:
            if ticket.done() and not ticket.cancelled() and ticket.result():
                self.release(place)  # the slot came just as its taker left
            raise

    def release(self, place: str) -> None:
        here = self._places[place]
        here.busy -= 1
        self._admit(place, here)
        self._forget_if_unused(place, here)

    def _admit(self, place: str, here: _Place) -> None:
        """Lets in who waits, as far as there is room."""
        limit = self._connections_of(place)
        while here.waiting and here.busy < limit:
            turn = here.waiting.pop().turn
            if not turn.done():
                here.busy += 1
                turn.set_result(True)

    def _forget_if_unused(self, place: str, here: _Place) -> None:
        if not (here.busy or here.idle or here.waiting):
            self._places.pop(place, None)

    # ---- sessions ------------------------------------------------------------------------------------

    def take(self, place: str, targets: Iterable[Target]) -> Session | None:
        """An idle session to the first of `targets` that has one; for the holder of a slot."""
        here = self._places[place]
        if not here.idle:
            return None
        for target in targets:
            for session in reversed(here.idle):
                if session.serves(target) and session.is_usable and self._is_fit(place, session):
                    here.idle.remove(session)
                    here.in_use += 1
                    return session
        return None

    def open_one(self, place: str) -> None:
        """Called by the holder of a slot before it connects: the longest idle sessions give way."""
        here = self._places[place]
        while here.idle and self._is_full(place, here):
            self._leave(here.idle.pop(0))
        here.in_use += 1

    def give_up(self, place: str) -> None:
        """The session that was taken or opened is no more, or never came to be."""
        self._places[place].in_use -= 1

    def give_back(self, place: str, session: Session) -> None:
        """Keeps a session for the next message if it is in step and neither old nor worn."""
        here = self._places[place]
        here.in_use -= 1
        session.used_at = self._monotonic()
        if not session.is_usable:
            session.discard("out of step")
        elif self._closing or not self._is_fit(place, session) or self._is_full(place, here):
            self._leave(session)
        else:
            session.protocol.transcript = None
            here.idle.append(session)
            self._ensure_ticker()

    def stats(self) -> dict[str, PlaceStats]:
        return {
            name: PlaceStats(s.in_use + len(s.idle), s.busy, len(s.waiting))
            for name, s in self._places.items()
        }

    def _is_full(self, place: str, here: _Place) -> bool:
        return here.in_use + len(here.idle) >= self._connections_of(place)

    def _is_fit(self, place: str, session: Session) -> bool:
        """Neither old nor worn."""
        return (
            session.messages < self._limits.messages_of(place)
            and self._monotonic() - session.opened_at < self._limits.session_seconds
        )

    def _leave(self, session: Session) -> None:
        """QUIT beside the work, so that nobody waits for a farewell."""
        task = asyncio.ensure_future(self._quit(session))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _quit(self, session: Session) -> None:
        await session.quit(self._limits.quit_seconds)
        await session.closed()

    # ---- time ----------------------------------------------------------------------------------------

    def _ensure_ticker(self) -> None:
        if self._ticker is None and not self._closing:
            seconds = min(_LONGEST_TICK_SECONDS, self._limits.idle_seconds / 2, self._limits.wait_seconds / 2)
            self._ticker = asyncio.get_running_loop().call_later(seconds, self._tick)

    def _tick(self) -> None:
        """Ends what idled too long or was lost, turns away who waited too long, uses room that grew."""
        self._ticker = None
        now = self._monotonic()
        for name, here in list(self._places.items()):
            self._end_idle(name, here, now)
            is_shut = not here.busy and self._connections_of(name) <= 0
            for ticket in list(here.waiting):
                if (is_shut or now - ticket.since >= self._limits.wait_seconds) and not ticket.turn.done():
                    ticket.turn.set_result(False)
            here.waiting.drop(lambda ticket: ticket.turn.done())
            self._admit(name, here)
            self._forget_if_unused(name, here)
        if any(here.idle or here.waiting for here in self._places.values()):
            self._ensure_ticker()

    def _end_idle(self, place: str, here: _Place, now: float) -> None:
        keep = []
        for session in here.idle:
            if not session.is_usable:
                session.discard("out of step while idle")
            elif now - session.used_at >= self._limits.idle_seconds or not self._is_fit(place, session):
                self._leave(session)
            else:
                keep.append(session)
        here.idle[:] = keep

    async def close(self) -> None:
        """Turns away who waits and says QUIT to all idle sessions; returns when they are gone."""
        self._closing = True
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None
        for here in self._places.values():
            while here.waiting:
                turn = here.waiting.pop().turn
                if not turn.done():
                    turn.set_result(False)
            while here.idle:
                self._leave(here.idle.pop())
        while self._leaving:
            await asyncio.wait(list(self._leaving))
