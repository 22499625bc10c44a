"""One attempt over the hosts of a plan, until one gives the outcome."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from mailer import clock
from mailer.events import WaitReason
from mailer.policy.outcome import Broken, NotTried, Outcome, Refused, Unroutable
from mailer.protocol.phase import Phase
from mailer.relay.carrier import DotJournal, Report
from mailer.relay.pool import SessionPool
from mailer.relay.smtp.content import Wire
from mailer.relay.smtp.opening import Dialer
from mailer.relay.smtp.plan import Plan, Planner
from mailer.relay.smtp.session import Session, Target, place
from mailer.relay.smtp.settings import SmtpSettings
from mailer.relay.smtp.transaction import CLOSING, Progress, transact
from mailer.relay.smtp.transcript import Transcript

_PHASES = {phase: number for number, phase in enumerate(Phase)}
_ENVELOPE = frozenset({Phase.MAIL, Phase.RCPT, Phase.DATA})
_OURSELVES = "5.4.6"


@dataclass(frozen=True, slots=True)
class Line:
    """What all attempts of a carrier share."""

    settings: SmtpSettings
    planner: Planner
    pool: SessionPool
    dialer: Dialer
    journal: DotJournal


class Attempt:
    """One consignment's attempt: run once, then `report`."""

    def __init__(self, line: Line, wire: Wire) -> None:
        self._line = line
        self._wire = wire
        self._transcript = Transcript(clock.monotonic)
        self._about = Report(NotTried(WaitReason.RELEASED), steps=self._transcript.steps)
        self.progress = Progress()

    def report(self, outcome: Outcome) -> Report:
        self._about.outcome = outcome
        return self._about

    async def run(self) -> Outcome:
        """The outcome. Nothing the peer or the network does raises."""
        plan = await self._line.planner.plan(self._wire.mail.domain)
        if isinstance(plan, Unroutable):
            self._transcript.note(plan.cause)
            return plan
        self._about.site = plan.site
        self.progress.phase = Phase.CONNECT
        if not await self._line.pool.acquire(plan.site):
            return NotTried(WaitReason.NO_PERMIT)
        try:
            return await self._over_sessions(plan)
        finally:
            self._line.pool.release(plan.site)

    async def _over_sessions(self, plan: Plan) -> Outcome:
        session = self._line.pool.take(plan.site, plan.best)
        if session is not None:
            outcome = await self._mail(plan.site, session)
            if not self._had_gone(outcome):
                return outcome
            self._transcript.note("the kept session had come to its end; a new one is opened")
        return await self._over_hosts(plan)

    def _had_gone(self, outcome: Outcome) -> bool:
        """A kept session that ended before the dot says nothing about this mail: peers close idle
        sessions, and end long ones with 421 (RFC 5321 §3.8)."""
        match outcome:
            case Broken():
                return not self.progress.dot_sent
            case Refused(reply, phase):
                return reply.code == CLOSING and phase in _ENVELOPE
            case _:
                return False

    async def _over_hosts(self, plan: Plan) -> Outcome:
        """RFC 5321 §5.1: address by address, host by host, until one takes up the transaction."""
        failure: Outcome | None = None
        dials_left = self._line.settings.dials
        cut_at: int | None = None
        for choice in plan.choices:
            if cut_at is not None and choice.preference >= cut_at:
                continue
            found = await self._line.planner.addresses(choice.target)
            if isinstance(found, Unroutable):
                self._transcript.note(found.cause)
                failure = _more_telling(failure, found)
                if found.status == _OURSELVES:  # hosts as good as us or worse would send it back to us
                    cut_at = choice.preference
                continue
            for address in found[:dials_left]:
                dials_left -= 1
                outcome = await self._at(plan.site, choice.target, address)
                if not self._goes_on(outcome):
                    return outcome
                failure = _more_telling(failure, outcome)
        return failure or Broken(Phase.CONNECT, "no host was left to try")

    def _goes_on(self, outcome: Outcome) -> bool:
        """Whether the next host may be asked: nothing was said about this mail yet."""
        if self.progress.dot_sent or self._seconds_left <= 0:
            return False
        match outcome:
            case Broken(phase, _):
                return _PHASES[phase] <= _PHASES[Phase.MAIL]
            case Refused(reply, phase):
                before = _PHASES[phase] < _PHASES[Phase.MAIL]
                return before or (phase is Phase.MAIL and reply.code == CLOSING)
            case _:
                return False

    async def _at(self, site: str, target: Target, address: str) -> Outcome:
        """Opens a session with one address and offers the mail there."""
        line, about = self._line, self._about
        about.host, about.address = target.host, place(address, target.port)
        about.tls = about.egress_ip = None
        line.pool.open_one(site)
        opened: Session | Refused | Broken | None = None
        try:
            async with asyncio.timeout(self._seconds_left):
                opened = await line.dialer.open(target, address, self._transcript)
        except TimeoutError:
            return Broken(Phase.CONNECT, "the time for this attempt was over")
        finally:
            if not isinstance(opened, Session):
                line.pool.give_up(site)
        if isinstance(opened, Session):
            line.planner.welcome(target, address)
            return await self._mail(site, opened)
        if isinstance(opened, Broken) and opened.phase in (Phase.CONNECT, Phase.GREETING):
            line.planner.shun(target, address)
        return opened

    async def _mail(self, site: str, session: Session) -> Outcome:
        about = self._about
        about.host, about.address = session.target.host, session.place
        about.tls, about.egress_ip = session.tls, session.egress_ip
        about.passed_on = self._wire.passes_on(session.capabilities)
        self.progress.refused = None
        session.protocol.transcript = self._transcript
        try:
            outcome = await transact(
                session,
                self._wire,
                self.progress,
                self._transcript,
                journal=self._line.journal,
                timeouts=self._line.settings.timeouts,
            )
        except BaseException:  # cancelled, or our bug: in either case the session is out of step
            session.discard()
            self._line.pool.give_up(site)
            raise
        self._line.pool.give_back(site, session)
        return outcome

    @property
    def _seconds_left(self) -> float:
        return self._line.settings.attempt_seconds - self._transcript.elapsed


def _more_telling(before: Outcome | None, now: Outcome) -> Outcome:
    """Of two failures the one that got further; so "no such host" counts only where nothing else does."""
    return now if before is None or _reach(now) >= _reach(before) else before


def _reach(outcome: Outcome) -> int:
    match outcome:
        case Broken(phase, _) | Refused(_, phase):
            return _PHASES[phase]
        case Unroutable(status, _):
            # A permanent one must not hide a temporary one: the other host may come back.
            return -1 if status.startswith("5") else 0
        case _:
            return len(_PHASES)
