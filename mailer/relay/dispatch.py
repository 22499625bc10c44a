"""Which IP each claimed recipient leaves from: reserved where it warms up, and counted afterwards.

Most were claimed for an IP (departing.py): they leave from it, or go back to the queue if its warm-up has no
room, since the tokens that they hold are that IP's. Of the others the site was not known, and it is chosen
here.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import structlog
from msgspec import structs

from mailer.policy.bounceclass import Blame, BounceClass
from mailer.policy.classifier import Judgement
from mailer.policy.egress import Egress, Granted, NoRoom, Room, Wish, choose
from mailer.policy.greylisting import LONGEST
from mailer.policy.outcome import Accepted, Broken, Outcome, Refused
from mailer.policy.sites import SiteRules
from mailer.policy.warmplan import WarmupRules
from mailer.policy.warmup import Counts
from mailer.protocol.phase import Phase
from mailer.queue import egress as queue_egress
from mailer.queue import warmup
from mailer.queue.claim import Claimed
from mailer.queue.settle import Settlement
from mailer.queue.warmup import Heard, Key
from mailer.relay.carrier import Report
from mailer.relay.egress import EgressBook, Meant
from mailer.relay.trouble import OfStream, StreamTrouble
from mailer.store import Store, StoreUnavailable

_log = structlog.get_logger(__name__)

_UNKNOWN_SITE = ""
_ORDER = {phase: number for number, phase in enumerate(Phase)}


@dataclass(frozen=True, slots=True)
class Sent:
    """What becomes of claimed recipients.

    ready    with their egress, where one is meant for them
    waiting  settlements of those that no IP may carry now
    back     to be claimed anew, for another IP
    """

    ready: list[Claimed] = field(default_factory=list)
    waiting: list[tuple[Claimed, Settlement]] = field(default_factory=list)
    back: list[Claimed] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchParts:
    """What a dispatcher is made of.

    me               this incarnation
    site_of          the site of a domain as this process knows it; None: not yet
    no_room          what follows where no IP may carry a recipient
    trouble          streams whose mail is ill received: it does not overflow
    suspended_until  when a site wants an IP again; None: it does
    judge            what an outcome at a site means
    is_slowed        the stream itself is held or slowed at a site, or the brake warns of it: nor does it
    leaves           called for each recipient that leaves from an IP for a site
    """

    store: Store
    me: int
    book: EgressBook
    rules: WarmupRules
    no_room: Callable[[Claimed, NoRoom], Settlement]
    now: Callable[[], datetime]
    draw: Callable[[], float]
    trouble: StreamTrouble
    judge: Callable[[Outcome, str | None], Judgement | None] = field(
        default_factory=lambda: SiteRules().judge
    )
    suspended_until: Callable[[Egress, str], datetime | None] = lambda _egress, _site: None
    leaves: Callable[[Egress, str], None] = lambda _egress, _site: None
    is_slowed: Callable[[OfStream, str], bool] = lambda _mail, _site: False

    def may_overflow(self, mail: OfStream, site: str) -> bool:
        return not (self.is_slowed(mail, site) or self.trouble.in_trouble(mail))


class Dispatcher:
    """`assign` by the claimer's thread, `note` by the settler's, `synchronise` by one that may wait."""

    def __init__(self, parts: DispatchParts) -> None:
        self.parts = self._p = parts
        self._lock = threading.Lock()
        self._counts: dict[Key, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        self._back: dict[Key, dict[int, int]] = defaultdict(lambda: defaultdict(int))

    # ---- choosing ------------------------------------------------------------------------------------

    def assign(self, claimed: Sequence[Claimed], site_of: Callable[[str], str | None]) -> Sent:
        """An IP for each. Without pools it costs nothing. Raises StoreUnavailable, Fenced."""
        if self._p.book.is_empty:
            return Sent(ready=list(claimed))
        unknown = [c.recipient_id for c in claimed if c.attempts and c.egress is None]
        stays = queue_egress.stays(self._p.store, unknown)
        round_ = _Round(self._p, site_of)
        for one in claimed:
            if one.egress is not None:
                round_.add_placed(one, one.egress)
            else:
                round_.add(structs.replace(one, stay=stays.get(one.recipient_id)))
        while round_.wants:
            grants = warmup.reserve(
                self._p.store,
                self._p.me,
                {key: len(want) for key, want in round_.wants.items()},
                rules=self._p.rules,
                now=self._p.now(),
            )
            round_.grant(grants)
        return round_.sent

    # ---- counting ------------------------------------------------------------------------------------

    def note(self, claimed: Claimed, report: Report) -> None:
        """Counts what an attempt heard, and what it had no use for. Cheap: a few dictionary entries."""
        granted = claimed.granted
        if claimed.egress is None:
            return
        judged = self._p.judge(report.outcome, report.site)
        self._p.trouble.note(claimed, report.outcome, judged)
        if granted is None:
            return
        key = (claimed.egress.id, granted.provider)
        since = claimed.greylisted_since(report.site)
        greylisted_for = self._p.now() - since if since else None
        kind, is_offered = _heard(report.outcome, judged, greylisted_for=greylisted_for)
        with self._lock:
            if kind is not None:
                self._counts[key][kind] += 1
            if not is_offered:
                self._back[key][granted.day] += 1

    def synchronise(self) -> None:
        """Stores what was noted; keeps it while the database is away."""
        with self._lock:
            counts, self._counts = self._counts, defaultdict(lambda: defaultdict(int))
            back, self._back = self._back, defaultdict(lambda: defaultdict(int))
        heard = {key: Heard(Counts(**counts.get(key, {})), back.get(key)) for key in {*counts, *back}}
        try:
            warmup.observe(self._p.store, heard)
        except StoreUnavailable as error:
            _log.warning("warmup.not_stored", providers=len(heard), error=str(error))
            self._take_again(counts, back)

    def _take_again(
        self, counts: Mapping[Key, Mapping[str, int]], back: Mapping[Key, Mapping[int, int]]
    ) -> None:
        with self._lock:
            for key, kinds in counts.items():
                for kind, n in kinds.items():
                    self._counts[key][kind] += n
            for key, days in back.items():
                for day, n in days.items():
                    self._back[key][day] += n


def _heard(
    outcome: Outcome, judged: Judgement | None, *, greylisted_for: timedelta | None = None
) -> tuple[str | None, bool]:
    """What is counted, and whether the message was offered (so that its room is used up).

    A greylisted one comes again and takes room then; one whose host was not reached was never offered. A
    refusal before MAIL says nothing of the mail, and counts only where it blames our IP.
    greylisted_for: since its first refusal by a greylist; None: it had none.
    """
    match outcome:
        case Accepted():
            return "delivered", True
        case Refused(reply, phase):
            is_offered = _ORDER[phase] >= _ORDER[Phase.MAIL]
            is_young = greylisted_for is None or greylisted_for < LONGEST
            if judged is not None and judged.bounce_class is BounceClass.GREYLISTED and is_young:
                return None, False
            if judged is not None and judged.blame is Blame.OUR_IP:
                return "blocked", is_offered
            if not is_offered:
                return None, False
            return ("bounced" if reply.code >= 500 else "deferred"), True
        case Broken(phase, _):
            return None, _ORDER[phase] > _ORDER[Phase.MAIL]
        case _:
            return None, False


@dataclass(frozen=True, slots=True)
class _Wanted:
    """meant: None: it was claimed for its IP."""

    claimed: Claimed
    meant: Meant | None
    site: str


class _Round:
    """One batch: chosen by what is known, corrected by what the reserve granted, until all have a place."""

    def __init__(self, parts: DispatchParts, site_of: Callable[[str], str | None]) -> None:
        self._p = parts
        self._site_of = site_of
        self._now = parts.now()
        self._rooms: dict[tuple[int, str], Room] = {}
        self.wants: dict[Key, list[tuple[_Wanted, Egress]]] = {}
        self.sent = Sent()

    def add(self, claimed: Claimed) -> None:
        site = self._site_of(claimed.domain)
        book = self._p.book
        meant = book.candidates(
            claimed.tenant_id,
            claimed.stream_id,
            site or _UNKNOWN_SITE,
            kind=claimed.stream_kind,
            chosen=claimed.pool_id,
        )
        candidates = meant.candidates if meant else ()
        if site is None and (book.asks_for_site or any(book.is_warming(c.egress.id) for c in candidates)):
            # Whose pool and whose warm-up it is for its MX must tell first: it goes out for that alone.
            self.sent.ready.append(structs.replace(claimed, only_site=_UNKNOWN_SITE))
        elif meant is None:
            # The system's choice.
            (self.sent.back if claimed.must_wait else self.sent.ready).append(claimed)
        else:
            self._place(_Wanted(claimed, meant, site or _UNKNOWN_SITE), meant)

    def add_placed(self, claimed: Claimed, egress: Egress) -> None:
        """It was claimed for this IP."""
        site = claimed.only_site or _UNKNOWN_SITE
        provider = self._p.book.provider_of(site)
        if provider is None or not self._p.book.is_warming(egress.id):
            self.sent.ready.append(claimed)
        else:
            wanted = _Wanted(claimed, None, site)
            self.wants.setdefault((egress.id, provider), []).append((wanted, egress))

    def _place(self, wanted: _Wanted, meant: Meant) -> None:
        claimed, site = wanted.claimed, wanted.site
        wish = Wish(
            tenant_id=claimed.tenant_id,
            stream_id=claimed.stream_id,
            stream_kind=claimed.stream_kind,
            stay=claimed.stay,
            expires_at=claimed.expires_at,
            may_overflow=self._p.may_overflow(claimed, site),
        )
        provider = self._p.book.provider_of(site)
        rooms = {c.egress.id: self._room(c.egress, site, provider) for c in meant.candidates}
        chosen = choose(wish, meant.candidates, rooms, self._p.draw(), pool=meant.pool)
        if isinstance(chosen, NoRoom):
            self.sent.waiting.append((claimed, self._p.no_room(claimed, chosen)))
        elif claimed.must_wait:
            self.sent.back.append(claimed)  # there is room after all, but it holds no tokens for it
        elif provider is None or not self._p.book.is_warming(chosen.id):
            self._p.leaves(chosen, site)
            self.sent.ready.append(structs.replace(claimed, egress=chosen))
        else:
            self._p.leaves(chosen, site)
            self.wants.setdefault((chosen.id, provider), []).append((wanted, chosen))

    def _room(self, egress: Egress, site: str, provider: str | None) -> Room:
        key = (egress.id, site)
        room = self._rooms.get(key)
        if room is None:
            room = Room() if provider is None else self._p.book.room(egress.id, provider, self._now)
            self._rooms[key] = room
        # Asked for each: where one message is to ask, the second finds it shut.
        return replace(room, suspended_until=self._p.suspended_until(egress, site))

    def grant(self, grants: Mapping[Key, warmup.Grant]) -> None:
        """Those that were granted go; the IPs of the others are full for today, and they choose again."""
        wants, self.wants = self.wants, {}
        turned_away = []
        for (egress_id, provider), asked in wants.items():
            got = grants[egress_id, provider]
            for wanted, egress in asked[: got.messages]:
                granted = Granted(wanted.site, provider, got.day)
                ready = structs.replace(wanted.claimed, egress=egress, only_site=wanted.site, granted=granted)
                self.sent.ready.append(ready)
            for wanted, _ in asked[got.messages :]:
                full = Room(free=0, until=warmup.start_of(got.day + 1))
                self._rooms[egress_id, wanted.site] = full
                self._p.book.found_full(egress_id, provider, got.day)
                turned_away.append(wanted)
        for wanted in turned_away:
            if wanted.meant is None:
                self.sent.back.append(wanted.claimed)
            else:
                self._place(wanted, wanted.meant)
