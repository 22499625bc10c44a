"""Who is not sent to any more, decided by what was heard of them and whose fault it was.

Only a recipient's own fault suppresses: never our IP's name, authentication, policy or content. It is done
late where it may be wrong: an address that took mail a short while ago needs two refusals, a domain two
answers of its DNS, and where a site suddenly knows nobody any more (a large provider once answered 550 5.1.1
for live users, for hours) nothing is suppressed until somebody has looked.

Pure: history and `now` are arguments.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime, timedelta

from mailer.policy.bounceclass import Action, Blame, BounceClass, Group

FRESH = timedelta(days=30)  # an address delivered to in so long needs two hard bounces
APART = timedelta(hours=24)  # at least, two hard bounces or two answers about a domain
FULL_TIMES, FULL_SPAN = 5, timedelta(days=14)  # messages that met a full mailbox, from the first to the last
DOMAIN_LASTS = timedelta(days=7)
FORGOTTEN = timedelta(days=90)  # what was heard so long ago is no part of a run any more


class Reason(enum.StrEnum):
    """Why somebody is not sent to."""

    HARD_BOUNCE = "hard-bounce"  # no such mailbox, or it is out of use
    MAILBOX_FULL = "mailbox-full"
    EXPIRED = "expired"  # every reply up to the end blamed the recipient
    INVALID_DOMAIN = "invalid-domain"  # no such domain, or it takes no mail (RFC 7505)
    COMPLAINT = "complaint"
    UNSUBSCRIBE = "unsubscribe"
    MANUAL = "manual"


OF_BOUNCES = (Reason.HARD_BOUNCE, Reason.MAILBOX_FULL, Reason.EXPIRED)  # hosts said so, and may be wrong


class Scope(enum.StrEnum):
    """Which of the tenant's mail an entry stops."""

    TENANT = "tenant"
    STREAM = "stream"


class Memory(enum.StrEnum):
    """What is to be remembered of a recipient or its domain."""

    HARD_BOUNCE = "hard-bounce"
    MAILBOX_FULL = "mailbox-full"
    INVALID_DOMAIN = "invalid-domain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What was heard of a recipient, and what it was taken to mean.

    is_authoritative  of an invalid domain: its own DNS said so; false for SERVFAIL, a timeout, or a peer
    expired_blames    of a recipient that expired: whom each of its replies blamed; None: it did not expire
    """

    bounce_class: BounceClass
    blame: Blame
    action: Action = Action.FAIL
    is_authoritative: bool = False
    expired_blames: tuple[Blame, ...] | None = None

    def as_facts(self) -> dict[str, str]:
        """For the data of an event."""
        return {"class": self.bounce_class, "action": self.action, "blame": self.blame}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Messages that met the same in a row. count: this message is none of them; 0: it alone was heard of."""

    count: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What is known from before.

    delivered_at  last delivery to the address; None: none that is on record
    hard          hard bounces of the address; None: none
    full          times its mailbox was full; None: none
    no_domain     authoritative answers that its domain takes no mail; None: none
    is_storm      its site answers unlike ever before, see `is_storm`
    """

    delivered_at: datetime | None = None
    hard: Run | None = None
    full: Run | None = None
    no_domain: Run | None = None
    is_storm: bool = False


@dataclass(frozen=True, slots=True)
class Nothing:
    """It changes nothing."""


@dataclass(frozen=True, slots=True)
class Remember:
    """It counts when it happens again. restart: what was remembered before does not count any more."""

    memory: Memory
    restart: bool = False


@dataclass(frozen=True, slots=True)
class Suppress:
    """Nothing more is sent there. is_domain: to nobody at its domain. lasts: None: until it is removed."""

    reason: Reason
    scope: Scope = Scope.TENANT
    is_domain: bool = False
    lasts: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Review:
    """It would be suppressed, but for the storm: the operator decides."""

    wanted: Suppress


Decision = Nothing | Remember | Suppress | Review
NOTHING = Nothing()


def decide(said: Said, history: History, now: datetime) -> Decision:
    """What follows for the recipient's address or domain."""
    if said.bounce_class is BounceClass.COMPLAINT:
        return Suppress(Reason.COMPLAINT)
    if said.bounce_class is BounceClass.UNSUBSCRIBE:
        return Suppress(Reason.UNSUBSCRIBE, Scope.STREAM)
    decided = _by_fault(said, history, now)
    return Review(decided) if history.is_storm and isinstance(decided, Suppress) else decided


def needs_history(said: Said) -> bool:
    """Whether `decide` may do anything but nothing: what else is heard costs no look at the history."""
    if said.bounce_class.group in (Group.COMPLAINT, Group.UNSUBSCRIBE):
        return True
    return said.blame is Blame.RECIPIENT and (
        is_hard(said) or said.bounce_class in _COUNTED or _is_expired_by_recipient(said)
    )


SIMULATED = "simulator.mailer.test"  # recipients that behave as their name says: nobody is there to be spared


def is_simulated(address: str) -> bool:
    """Whether an address is of the simulator, whose recipients meet every outcome again and again."""
    return address.rpartition("@")[2].lower() == SIMULATED


def is_hard(said: Said) -> bool:
    """The address is at fault, for good."""
    if said.blame is not Blame.RECIPIENT or said.action is not Action.FAIL:
        return False
    return said.bounce_class in _HARD


_HARD = frozenset({BounceClass.INVALID_MAILBOX, BounceClass.INACTIVE_MAILBOX, BounceClass.MOVED})
_COUNTED = frozenset({BounceClass.MAILBOX_FULL, BounceClass.INVALID_DOMAIN})


def _by_fault(said: Said, history: History, now: datetime) -> Decision:
    if said.blame is not Blame.RECIPIENT:
        return NOTHING
    if is_hard(said):
        return _hard_bounce(history, now)
    if said.bounce_class is BounceClass.INVALID_DOMAIN:
        return _no_domain(history, now) if said.is_authoritative else NOTHING
    full = _full(history, now) if said.bounce_class is BounceClass.MAILBOX_FULL else NOTHING
    if _is_expired_by_recipient(said):
        return full if isinstance(full, Suppress) else Suppress(Reason.EXPIRED)
    return full


def _is_expired_by_recipient(said: Said) -> bool:
    blames = said.expired_blames
    return bool(blames) and all(blame is Blame.RECIPIENT for blame in blames or ())


def _hard_bounce(history: History, now: datetime) -> Decision:
    delivered = history.delivered_at
    if delivered is None or now - delivered > FRESH:
        return Suppress(Reason.HARD_BOUNCE)
    earlier = _standing(history.hard, delivered, now)
    if earlier is None:
        return Remember(Memory.HARD_BOUNCE, restart=True)
    if earlier.count and now - earlier.first_at >= APART:
        return Suppress(Reason.HARD_BOUNCE)
    return Remember(Memory.HARD_BOUNCE)


def _full(history: History, now: datetime) -> Decision:
    run = _standing(history.full, history.delivered_at, now)
    if run is None:
        return Remember(Memory.MAILBOX_FULL, restart=True)
    if run.count + 1 >= FULL_TIMES and now - run.first_at >= FULL_SPAN:
        return Suppress(Reason.MAILBOX_FULL)
    return Remember(Memory.MAILBOX_FULL)


def _no_domain(history: History, now: datetime) -> Decision:
    """A domain that nobody asked about for as long as an entry would last may have been there meanwhile."""
    run = history.no_domain
    if run is None or now - run.last_at > DOMAIN_LASTS:
        return Remember(Memory.INVALID_DOMAIN, restart=True)
    if now - run.first_at >= APART:
        return Suppress(Reason.INVALID_DOMAIN, is_domain=True, lasts=DOMAIN_LASTS)
    return Remember(Memory.INVALID_DOMAIN)


def _standing(run: Run | None, delivered_at: datetime | None, now: datetime) -> Run | None:
    """A run that no delivery ended since, and that was not forgotten."""
    if run is None or now - run.last_at > FORGOTTEN:
        return None
    return None if delivered_at is not None and delivered_at > run.first_at else run


@dataclass(frozen=True, slots=True)
class Share:
    """How many recipients of a site were answered, and of how many it said that there is no such mailbox.

    What it took and returned later was answered then, maybe in another hour: there may be more of those.
    """

    answered: int = 0
    invalid: int = 0

    def __add__(self, other: Share) -> Share:
        return Share(self.answered + other.answered, self.invalid + other.invalid)

    @property
    def rate(self) -> float:
        return self.invalid / max(self.answered, self.invalid, 1)


def says_unknown(bounce_class: BounceClass) -> bool:
    """Whether an answer counts as `invalid` in its site's share, in the dialogue as in what came back."""
    return bounce_class is BounceClass.INVALID_MAILBOX


TIMES_BASELINE = 10
STORM_LASTS = timedelta(hours=1)  # after the share was seen that high
BASELINE_HOURS = 7 * 24
_LEAST_INVALID = 20  # in the hour: fewer are chance
_LEAST_ANSWERED = 1000  # that a baseline is made of
_USUAL = 0.02  # of a site that is not known so well: what lists in good order have at most


def baseline(earlier: Share) -> float:
    """A site's usual share, by the hours before this one. One that never refused anybody is taken to have
    refused one."""
    if earlier.answered < _LEAST_ANSWERED:
        return _USUAL
    return max(earlier.invalid, 1) / earlier.answered


def is_storm(hour: Share, earlier: Share) -> bool:
    """Whether a site refuses so many more as unknown in an hour that it is rather the site that is ill.

    earlier: of BASELINE_HOURS before it
    """
    return hour.invalid >= _LEAST_INVALID and hour.rate > TIMES_BASELINE * baseline(earlier)


# RFC 2142 §3, §4, §5, and what nobody reads. Lists' own addresses (RFC 2142 §6) end in -request.
_ROLES = frozenset(
    [
        *("info", "marketing", "sales", "support", "abuse", "noc", "security", "postmaster", "hostmaster"),
        *("usenet", "news", "webmaster", "www", "uucp", "ftp", "mailer-daemon"),
        *("noreply", "no-reply", "no_reply", "donotreply", "do-not-reply", "do_not_reply"),
    ]
)


def is_role(local_part: str) -> bool:
    """Whether an address is of a task and not of a person, who could have asked for broadcast mail."""
    name = local_part.casefold()
    return name in _ROLES or name.endswith("-request")
