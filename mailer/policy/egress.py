"""Which of our IPs an attempt goes out from, and whether the next one may go out from another.

Chosen for each attempt: members of the pool by weight, then the pool's reserve (weight 0), then its overflow
pool. Only volume overflows, never trouble: where an IP is suspended for what a provider said of us, its mail
waits and does not spoil the next pool; and a stream in trouble itself leaves from one IP of its pool alone, a
warm one if there is one, so that the others stay well. What finds no room waits for a named reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from mailer.events import WaitReason
from mailer.policy.bounceclass import Blame
from mailer.policy.classifier import Judgement
from mailer.policy.outcome import Outcome, Refused

ACTIVE = "active"
DRAINING = "draining"
OFF = "off"
TRANSACTIONAL = "transactional"
BROADCAST = "broadcast"


@dataclass(frozen=True, slots=True, kw_only=True)
class Egress:
    """One place that mail leaves from.

    ipv4, ipv6  source addresses, at least one of them; None: hosts of that family are not dialled
    helo        name given in EHLO (RFC 5321 §4.1.1.1)
    """

    id: int
    helo: str
    ipv4: str | None = None
    ipv6: str | None = None

    @property
    def name(self) -> str:
        """What it is called in limits, logs and lists: its first address."""
        return self.ipv4 or self.ipv6 or ""

    def source_for(self, address: str) -> str | None:
        """Our address of the family of a host's address; None: that host cannot be dialled from here."""
        return self.ipv6 if ":" in address else self.ipv4


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A member of a pool that a stream's mail may go to.

    owner        the tenant that the pool is for; None: all
    weight       share of the pool's mail; 0: only what the others cannot take
    is_overflow  of the pool's overflow pool
    is_here      an address of it is on this host
    """

    egress: Egress
    pool: str
    kind: str = TRANSACTIONAL
    owner: int | None = None
    weight: int = 1
    is_overflow: bool = False
    state: str = ACTIVE
    is_here: bool = True


@dataclass(frozen=True, slots=True)
class Stay:
    """What the last attempt means for the next one's IP (columns of `egress_stay`).

    egress_id   the IP of that attempt
    is_pinned   greylisted: the same IP, HELO and reverse-path again; False: another IP
    is_changed  the IP was changed for this recipient, which is done once
    """

    egress_id: int
    is_pinned: bool
    is_changed: bool


@dataclass(frozen=True, slots=True)
class Granted:
    """What was reserved of a warm-up's cap for one message. site, provider: whose. day: since 1970, UTC."""

    site: str
    provider: str
    day: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is to be sent.

    stream_id     which of a pool's IPs a stream in trouble keeps to
    may_overflow  False: the stream itself is in trouble (content, complaints, bad addresses)
    expires_at    its sender's deadline; None: it has none
    """

    tenant_id: int
    stream_id: int = 0
    stream_kind: str
    stay: Stay | None = None
    may_overflow: bool = True
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What one IP may still take for the site. free: messages; None: no cap.

    until            when there is room again; None: not known
    suspended_until  the provider does not want this IP before; None: it does
    is_busy          for the moment: a ceiling is used up, its connections are taken, or enough is in hand
    is_new           it is being warmed up, and its cap of today is not known yet
    """

    free: int | None = None
    until: datetime | None = None
    suspended_until: datetime | None = None
    is_busy: bool = False
    is_new: bool = False

    @property
    def is_warm(self) -> bool:
        return self.free is None and not self.is_new


@dataclass(frozen=True, slots=True)
class NoRoom:
    """No IP may take it now. until: when one may at the earliest; None: nobody knows, look again soon.

    reason  limited: one that it may leave from is busy, which passes by itself
    """

    reason: WaitReason
    until: datetime | None
    words: str


_OPEN = Room()
_BUSY = "every IP that it may leave from is busy"


def choose(
    wish: Wish, candidates: Sequence[Candidate], rooms: Mapping[int, Room], draw: float, *, pool: str
) -> Egress | NoRoom:
    """The IP that the next attempt goes out from.

    candidates  of the stream's pool and its overflow pool
    rooms       by egress id, for the site in question; one that is missing has room
    draw        uniform in [0, 1)
    pool        the name of the stream's pool
    """
    fit = open_to(wish, candidates, rooms, pool=pool)
    return fit if isinstance(fit, NoRoom) else by_weight(fit, draw).egress


def open_to(
    wish: Wish, candidates: Sequence[Candidate], rooms: Mapping[int, Room], *, pool: str
) -> Sequence[Candidate] | NoRoom:
    """Those among which `choose` draws.

    A busy IP keeps its mail from reserve and overflow: it takes more in a moment, and they are for what it
    cannot take.
    """
    allowed = [c for c in candidates if c.is_here and may_use(wish, c)]
    if wish.stay is not None and wish.stay.is_pinned:
        kept = _pinned(wish.stay, allowed, rooms)
        if kept is not None and not (_is_full(kept) and wish.may_overflow):
            return kept
    active = [c for c in allowed if c.state == ACTIVE]
    own = _others(wish.stay, [c for c in active if not c.is_overflow])
    if not wish.may_overflow:
        own = _confined(wish, own, rooms)
    behind = [c for c in active if c.is_overflow] if _overflows(wish, own, rooms) else []
    for tier in ([c for c in own if c.weight > 0], [c for c in own if c.weight == 0], behind):
        fit = [c for c in tier if has_room(rooms.get(c.egress.id, _OPEN))]
        at_once = [c for c in fit if not rooms.get(c.egress.id, _OPEN).is_busy]
        if at_once:
            return at_once
        if fit:
            return NoRoom(WaitReason.LIMITED, None, _BUSY)
    return _before(wish.expires_at, _no_room(pool, candidates, own, rooms), [*own, *behind], rooms)


def may_use(wish: Wish, candidate: Candidate) -> bool:
    """Never another tenant's dedicated pool, and never from broadcast into a transactional one."""
    if candidate.owner is not None and candidate.owner != wish.tenant_id:
        return False
    return not (wish.stream_kind == BROADCAST and candidate.kind == TRANSACTIONAL)


def _pinned(
    stay: Stay, allowed: Sequence[Candidate], rooms: Mapping[int, Room]
) -> Sequence[Candidate] | NoRoom | None:
    """A greylisted recipient's IP, also while it is draining; None: it is not to be had, begin anew.

    Where that has no room for volume the greylist begins anew at another IP: minutes, not the rest of a day.
    """
    for candidate in allowed:
        if candidate.egress.id == stay.egress_id and candidate.state != OFF:
            room = rooms.get(stay.egress_id, _OPEN)
            if room.suspended_until is not None:
                return None
            if not has_room(room):
                return _full(candidate.egress, room)
            return NoRoom(WaitReason.LIMITED, None, _BUSY) if room.is_busy else [candidate]
    return None


def _others(stay: Stay | None, own: list[Candidate]) -> list[Candidate]:
    """Without the IP that a provider refused, unless there is no other."""
    if stay is None or stay.is_pinned:
        return own
    return [c for c in own if c.egress.id != stay.egress_id] or own


def _confined(wish: Wish, own: Sequence[Candidate], rooms: Mapping[int, Room]) -> list[Candidate]:
    """The one IP that bears a stream in trouble: without a cap where there is one, the same all the while."""
    warm = [c for c in own if rooms.get(c.egress.id, _OPEN).is_warm] or own
    ordered = sorted(warm, key=lambda candidate: candidate.egress.id)
    return [ordered[(wish.tenant_id + wish.stream_id) % len(ordered)]] if ordered else []


def _overflows(wish: Wish, own: Sequence[Candidate], rooms: Mapping[int, Room]) -> bool:
    """Only for volume, or where no IP of the pool is on this host at all."""
    if not wish.may_overflow:
        return False
    suspended = [c for c in own if rooms.get(c.egress.id, _OPEN).suspended_until is not None]
    return not own or len(suspended) < len(own)


def has_room(room: Room) -> bool:
    """It may be used for the site, if perhaps not at this moment."""
    return room.suspended_until is None and (room.free is None or room.free > 0)


def is_first(candidate: Candidate) -> bool:
    """Among those that new mail is dealt to before all others."""
    return candidate.state == ACTIVE and candidate.weight > 0 and not candidate.is_overflow


def weight_of(candidate: Candidate) -> int:
    """Among others of its rank."""
    return max(candidate.weight, 1)


def by_weight(fit: Sequence[Candidate], draw: float) -> Candidate:
    """One of them, by the draw."""
    left = draw * sum(weight_of(c) for c in fit)
    for candidate in fit:
        left -= weight_of(candidate)
        if left < 0:
            return candidate
    return fit[-1]


def _is_full(found: Sequence[Candidate] | NoRoom) -> bool:
    return isinstance(found, NoRoom) and found.reason is WaitReason.WARMUP


def _full(egress: Egress, room: Room) -> NoRoom:
    return NoRoom(WaitReason.WARMUP, room.until, f"the warm-up of {egress.name} allows no more today")


def _no_room(
    pool: str, candidates: Sequence[Candidate], own: Sequence[Candidate], rooms: Mapping[int, Room]
) -> NoRoom:
    """Volume before trouble: what waits for volume will have room at a known time."""
    full = [(c.egress, rooms[c.egress.id]) for c in own if c.egress.id in rooms]
    by_volume = [(e, r) for e, r in full if r.suspended_until is None and not has_room(r)]
    if by_volume:
        names = ", ".join(e.name for e, _ in by_volume)
        until = min((r.until for _, r in by_volume if r.until is not None), default=None)
        return NoRoom(WaitReason.WARMUP, until, f"the warm-up of {names} allows no more today")
    ends = [r.suspended_until for _, r in full if r.suspended_until is not None]
    if ends:
        return NoRoom(WaitReason.SUSPENDED, min(ends), "every IP of the pool is suspended at this site")
    pools = ", ".join(dict.fromkeys((pool, *(c.pool for c in candidates))))
    return NoRoom(WaitReason.NO_EGRESS, None, f"no IP of the pool {pools} is active and on this host")


def _before(
    deadline: datetime | None, none: NoRoom, usable: Sequence[Candidate], rooms: Mapping[int, Room]
) -> NoRoom:
    """Mail with a deadline before the known time waits for any IP that it may use and may open sooner."""
    if deadline is None or none.until is None or none.until < deadline:
        return none
    found = [rooms.get(c.egress.id, _OPEN) for c in usable]
    opens = [at for room in found for at in [room.suspended_until or room.until] if at is not None]
    return replace(none, until=min([none.until, *opens]))


def stay_after(
    outcome: Outcome, judged: Judgement | None, egress: Egress | None, before: Stay | None
) -> Stay | None:
    """What a deferral means for the next attempt's IP; None: any will do.

    The IP is changed for blame on our IP alone, once a recipient: whoever was refused for its content, policy
    or authentication would only spoil the next IP.
    """
    was_changed = before is not None and before.is_changed
    if egress is None or judged is None or not isinstance(outcome, Refused):
        return before
    if judged.blame is Blame.OUR_IP and not was_changed:
        return Stay(egress.id, is_pinned=False, is_changed=True)
    # It stays where it was heard: another IP would be told the same, or greylist it anew.
    return Stay(egress.id, is_pinned=True, is_changed=was_changed)
