"""One simulated provider: what it answers to a message, in virtual and in real time alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mailer.policy.outcome import Accepted, Broken, Outcome, Refused
from mailer.protocol.phase import Phase
from mailer.protocol.reply import Reply
from mailer.simulate.behaviour import Answer, Behaviour, Moment, Rate, Silence, Tarpit
from mailer.simulate.script import Part
from mailer.simulate.standing import Standing

PHASES = (Phase.GREETING, Phase.MAIL, Phase.RCPT, Phase.END_OF_DATA)
TAKEN = Accepted(Reply(250, ("2.0.0 OK",)))
UNKNOWN = Reply(550, ("5.1.1 No such user",))


@dataclass(frozen=True, slots=True)
class Heard:
    """What `count` messages heard. is_limit: they were refused for rate."""

    outcome: Outcome
    count: int
    is_limit: bool = False


class Provider:
    """Knows every IP that came since it was made."""

    def __init__(self, part: Part, draw: Callable[[], float]) -> None:
        """draw: uniform in [0, 1)."""
        self.part = part
        self._draw = draw
        self._behaviours: list[Behaviour] = part.behaviours()

    def pause(self, phase: Phase, now: float) -> float:
        """Seconds for which it keeps silent before it answers at a phase."""
        pits = [b for b in self._behaviours if isinstance(b, Tarpit) and b.phase is phase]
        return sum(pit.seconds for pit in pits if pit.hours.hold(now))

    def answer(self, at: Moment) -> tuple[Answer, bool] | None:
        """A refusal at one phase, and whether it is for rate; None: the message may go on."""
        for behaviour in self._behaviours:
            answer = behaviour.answer(at)
            if answer is not None:
                return answer, behaviour.is_limit
        return None

    def accepted(self, ip: str, now: float, count: int = 1) -> None:
        """So many messages were taken."""
        for behaviour in self._behaviours:
            behaviour.accepted(ip, now, count)

    def introduce(self, ip: str, per_day: int, now: float) -> None:
        """It has been sent so much a day by that IP for long."""
        for standing in self._standings():
            standing.introduce(ip, per_day, now)

    def complained(self, ip: str, now: float, count: int) -> None:
        """So many of those who got mail from that IP complained."""
        for standing in self._standings():
            standing.complained(ip, now, count)

    def _standings(self) -> list[Standing]:
        return [behaviour for behaviour in self._behaviours if isinstance(behaviour, Standing)]

    def send_astray(self, ip: str, now: float, count: int) -> list[Heard]:
        """What `count` messages hear that are for recipients that there are not."""
        for phase in (Phase.GREETING, Phase.MAIL):
            answer = self.answer(Moment(now=now, ip=ip, phase=phase, draw=self._draw))
            if answer is not None:
                return [Heard(_outcome(answer[0], phase), count, answer[1])]
        for standing in self._standings():
            standing.unknown_asked(ip, now, count)
        return [Heard(Refused(UNKNOWN, Phase.RCPT), count)]

    def send(
        self, ip: str, now: float, count: int, *, first_seen: float | None = None, connections: int = 1
    ) -> list[Heard]:
        """What `count` messages hear that are sent now over so many connections, one after the other.

        first_seen  when they were tried for the first time, in seconds; None: now
        """
        room = self._plain_room(ip, now)
        if room is not None and room >= count:
            self.accepted(ip, now, count)
            return [Heard(TAKEN, count)]
        heard: list[Heard] = []
        for number in range(count):
            # Of messages sent at once, each has its own connection while there are any.
            at_once = number % connections + 1
            one = self._send_one(ip, now, first_seen, at_once)
            if heard and heard[-1].outcome == one.outcome:
                heard[-1] = Heard(one.outcome, heard[-1].count + 1, one.is_limit)
            else:
                heard.append(one)
        return heard

    def _plain_room(self, ip: str, now: float) -> int | None:
        """How many would be taken where nothing but their number matters now; None: something else does."""
        least = 1 << 30
        for behaviour in self._behaviours:
            if isinstance(behaviour, Rate | Standing):
                room = behaviour.room(ip, now) if behaviour.hours.hold(now) else least
                if room is None:
                    return None
                least = min(least, room)
            elif not isinstance(behaviour, Tarpit):
                return None
        return least

    def _send_one(self, ip: str, now: float, first_seen: float | None, connections: int) -> Heard:
        for phase in PHASES:
            at = Moment(
                now=now,
                ip=ip,
                phase=phase,
                first_seen=first_seen,
                connections=connections,
                draw=self._draw,
            )
            answer = self.answer(at)
            if answer is not None:
                return Heard(_outcome(answer[0], phase), 1, answer[1])
        self.accepted(ip, now)
        return Heard(TAKEN, 1)


def _outcome(answer: Answer, phase: Phase) -> Outcome:
    if isinstance(answer, Silence):
        return Broken(Phase.CONNECT if phase is Phase.GREETING else phase, answer.cause)
    return Refused(answer, phase)
