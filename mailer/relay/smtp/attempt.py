"""One attempt over the hosts of a plan, until one gives the outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from mailer import clock
from mailer.events import WaitReason
from mailer.policy.outcome import Broken, NotTried, Outcome, Refused, Unproven, Unroutable, Unsuitable
from mailer.policy.places import place_name
from mailer.policy.tls import Barred, Wish
from mailer.protocol.phase import Phase
from mailer.relay.carrier import DotJournal, Report
from mailer.relay.connects import ConnectDesk
from mailer.relay.pool import SessionPool
from mailer.relay.smtp.chunking import Chunking
from mailer.relay.smtp.content import Wire
from mailer.relay.smtp.opening import Dialer
from mailer.relay.smtp.plan import Choice, Plan, Planner
from mailer.relay.smtp.session import Session, Target, place
from mailer.relay.smtp.settings import SmtpSettings
from mailer.relay.smtp.transaction import CLOSING, Progress, transact
from mailer.relay.smtp.transcript import Transcript

_PHASES = {phase: number for number, phase in enumerate(Phase)}
_ENVELOPE = frozenset({Phase.MAIL, Phase.RCPT, Phase.DATA})
_OURSELVES = "5.4.6"
_LOOK_AGAIN_SECONDS = 0.2  # for an idle session, while a new connection has to wait
_REQUIRETLS = "5.7.30"
_NO_ANSWER = "dnssec-invalid"  # RFC 8460 §4.3.2.1


@dataclass(frozen=True, slots=True)
class Line:
    """What all attempts of a carrier share."""

    settings: SmtpSettings
    planner: Planner
    pool: SessionPool
    dialer: Dialer
    journal: DotJournal
    chunking: Chunking
    connects: ConnectDesk | None = None


class Attempt:
    """One consignment's attempt: run once, then `report`."""

    def __init__(self, line: Line, wire: Wire) -> None:
        self._line = line
        self._wire = wire
        self._transcript = Transcript(clock.monotonic)
        self._about = Report(NotTried(WaitReason.RELEASED), steps=self._transcript.steps)
        self._unheard: set[str] = set()  # hosts that may yet keep REQUIRETLS, for all that is known
        self._place = ""  # whose sessions it uses; its own from the plan on
        self._may_dial = False  # it holds the token of a new connection
        self.progress = Progress()

    def report(self, outcome: Outcome) -> Report:
        self._about.outcome = outcome
        return self._about

    async def run(self) -> Outcome:
        """The outcome. Nothing the peer or the network does raises."""
        plan = await self._line.planner.plan(self._wire.mail.domain, self._wire.mail.tls)
        if isinstance(plan, Unroutable):
            self._transcript.note(plan.cause)
            return plan
        self._about.site = plan.site
        mail = self._wire.mail
        if mail.only_site is not None and mail.only_site != plan.site:
            # What its IP may send is counted by provider, so it is chosen anew now that the site is known.
            return NotTried(WaitReason.RELEASED)
        if mail.is_unsited and self._line.settings.rules.is_limited(plan.site):
            return NotTried(WaitReason.RELEASED)  # it comes again with the tokens of its site
        plan = plan.leaving_from(mail.egress)
        self.progress.phase = Phase.CONNECT
        self._place = place_name("" if mail.egress is None else mail.egress.name, plan.site)
        if not await self._line.pool.acquire(self._place, mail.party):
            return NotTried(WaitReason.NO_PERMIT)
        try:
            return self._without_tls(await self._over_sessions(plan))
        finally:
            self._line.pool.release(self._place)

    def _without_tls(self, outcome: Outcome) -> Outcome:
        """RFC 8689 §4.2.1: mail with REQUIRETLS does not wait for hosts to change that prove or promise too
        little. It waits for one that was not heard, or not asked."""
        if self._wire.mail.tls.wish is not Wish.REQUIRETLS:
            return outcome
        match outcome:
            case Unproven(_, cause) if not self._unheard:
                return Unsuitable(_REQUIRETLS, f"REQUIRETLS was asked for: {cause}")
            case Unsuitable(status, cause) if status == _REQUIRETLS and self._unheard:
                left = ", ".join(sorted(self._unheard))
                return Unproven(Phase.STARTTLS, f"{cause}; not heard out: {left}")
            case _:
                return outcome

    async def _over_sessions(self, plan: Plan) -> Outcome:
        best = plan.best
        session = self._line.pool.take(self._place, best)
        while session is None and not await self._is_admitted(plan.site, _LOOK_AGAIN_SECONDS):
            if self._transcript.elapsed >= self._line.settings.wait_seconds:
                return NotTried(WaitReason.LIMITED)
            session = self._line.pool.take(self._place, best)
        if session is not None:
            # The one it was taken for: what is asked of its host now, whatever was when it was opened.
            target = next(target for target in best if session.serves(target))
            outcome = await self._mail(session, target)
            if not self._had_gone(outcome):
                return outcome
            self._transcript.note("the kept session had come to its end; a new one is opened")
        return await self._over_hosts(plan)

    async def _is_admitted(self, site: str, seconds: float) -> bool:
        """Whether one connection may be opened under what the site's rule says of new ones over time."""
        connects = self._line.connects
        if connects is not None and not self._may_dial:
            egress = self._wire.mail.egress
            self._may_dial = await connects.admit(site, "" if egress is None else egress.name, seconds)
        return connects is None or self._may_dial

    def _had_gone(self, outcome: Outcome) -> bool:
        """A kept session that ended before the dot says nothing about this mail: peers close idle
        sessions, and end long ones with 421 (RFC 5321 §3.8)."""
        match outcome:
            case Broken():
                return not self.progress.dot_sent
            case Refused(reply, phase):
                return reply.code == CLOSING and phase in _ENVELOPE
            case Unsuitable(status, _):
                return status == _REQUIRETLS  # there are other hosts
            case _:
                return False

    async def _over_hosts(self, plan: Plan) -> Outcome:
        """RFC 5321 §5.1: address by address, host by host, until one takes up the transaction."""
        failure: Outcome | None = None
        dials_left = self._line.settings.dials
        cut_at: int | None = None
        self._unheard = {choice.target.host for choice in plan.choices}
        for choice in plan.choices:
            if cut_at is not None and choice.preference >= cut_at:
                continue
            if choice.barred is not None:
                failure = self._failed(choice, failure, self._barred(choice.target, choice.barred))
                continue
            found = self._in_reach(choice.target, await self._line.planner.addresses(choice.target))
            if isinstance(found, Unroutable):
                self._transcript.note(found.cause)
                failure = self._failed(choice, failure, found)
                if found.status == _OURSELVES:  # hosts as good as us or worse would send it back to us
                    cut_at = choice.preference
                    self._unheard -= {c.target.host for c in plan.choices if c.preference >= cut_at}
                continue
            for address in found[:dials_left]:
                dials_left -= 1
                outcome = await self._at(plan.site, choice.target, address)
                failure = self._failed(choice, failure, outcome)
                if not self._goes_on(outcome):
                    return outcome
        return failure or Broken(Phase.CONNECT, "no host was left to try")

    def _failed(self, choice: Choice, before: Outcome | None, now: Outcome) -> Outcome:
        """The failure that stands so far. One address that answered for good speaks for its host."""
        if isinstance(now, Unproven | Unsuitable) or (isinstance(now, Unroutable) and now.status[0] == "5"):
            self._unheard.discard(choice.target.host)
        return _more_telling(before, now)

    def _barred(self, target: Target, barred: Barred) -> Outcome:
        """As if its handshake had failed: the next host may do better, else the mail waits."""
        self._transcript.note(barred.cause)
        if barred.published is not None:
            self._line.dialer.results.note(
                barred.published, barred.result, host=target.host, reason=barred.cause
            )
        broken = Broken if barred.result == _NO_ANSWER else Unproven
        return broken(Phase.STARTTLS, barred.cause)

    def _in_reach(self, target: Target, found: Sequence[str] | Unroutable) -> Sequence[str] | Unroutable:
        """The addresses of families that mail may leave over; they are tried in turn, never raced."""
        egress = target.egress
        if isinstance(found, Unroutable) or (egress is None and target.from_route):
            return found
        if egress is not None:
            reached, why = [a for a in found if egress.source_for(a) is not None], f"{egress.name} can dial"
        elif self._line.settings.ipv6_allowed():
            return found
        else:
            reached, why = [a for a in found if ":" not in a], "may be dialled: our IPv6 address has no name"
        # RFC 3463 §3.5, x.4.1: no answer from the host. Another of our IPs may reach it.
        return reached or Unroutable("4.4.1", f"{target.host} has no address that {why}")

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
            case Unsuitable(status, _):
                return status == _REQUIRETLS  # RFC 8689 §4.2.1: another host may offer it
            case _:
                return False

    async def _at(self, site: str, target: Target, address: str) -> Outcome:
        """Opens a session with one address and offers the mail there."""
        line, about = self._line, self._about
        if not await self._is_admitted(site, line.settings.wait_seconds):
            return NotTried(WaitReason.LIMITED)
        self._may_dial = False
        about.host, about.address = target.host, place(address, target.port)
        about.tls = None
        about.egress_ip = target.egress.source_for(address) if target.egress else None
        line.pool.open_one(self._place)
        opened: Session | Refused | Broken | None = None
        try:
            async with asyncio.timeout(self._seconds_left):
                opened = await line.dialer.open(target, address, self._transcript)
        except TimeoutError:
            return Broken(Phase.CONNECT, "the time for this attempt was over")
        finally:
            if not isinstance(opened, Session):
                line.pool.give_up(self._place)
        if isinstance(opened, Session):
            line.planner.welcome(target, address)
            outcome = await self._mail(opened, target)
            if self.progress.bdat_failed and not self.progress.dot_sent and self._seconds_left > 0:
                self._transcript.note("once more, by DATA")
                return await self._at(site, target, address)
            return outcome
        if isinstance(opened, Broken) and opened.phase in (Phase.CONNECT, Phase.GREETING):
            line.planner.shun(target, address)
        return opened

    async def _mail(self, session: Session, target: Target) -> Outcome:
        about = self._about
        about.host, about.address = session.target.host, session.place
        about.tls, about.egress_ip = session.tls, session.egress_ip
        if target.demand.by and about.tls is not None:
            about.tls = f"{about.tls} policy={target.demand.by}"
        if target.demand.published is not None:
            self._line.dialer.tell(session, target.demand)
        about.passed_on = self._wire.passes_on(session.capabilities)
        self.progress.refused = None
        self.progress.by_bdat = self.progress.bdat_failed = False
        session.protocol.transcript = self._transcript
        try:
            if not await self._in_its_time():
                self._line.pool.give_back(self._place, session)
                return NotTried(WaitReason.LIMITED)
            outcome = await transact(
                session,
                self._wire,
                self.progress,
                self._transcript,
                journal=self._line.journal,
                timeouts=self._line.settings.timeouts,
                may_chunk=self._line.chunking.pays(session),
            )
        except BaseException:  # cancelled, or our bug: in either case the session is out of step
            session.discard()
            self._line.pool.give_up(self._place)
            raise
        self._line.chunking.note(session, outcome, by_bdat=self.progress.by_bdat)
        if self.progress.bdat_failed:
            self._line.chunking.failed(session, outcome)
        self._line.pool.give_back(self._place, session)
        return outcome

    async def _in_its_time(self) -> bool:
        """Waits for the time of this mail's tokens; False: it is over, and they are forfeited."""
        spend = self._wire.mail.spend
        if spend is None:
            return True
        begins, ends = spend
        if (early := begins - clock.monotonic()) > 0:
            await asyncio.sleep(early)
        if clock.monotonic() <= ends:
            return True
        self._transcript.note("its turn under a ceiling over time has passed")
        return False

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
