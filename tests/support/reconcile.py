"""Three records laid side by side: the clients' 202s, the sink's final dots, and what the product says.

Pure. What it finds is a list of sentences, so that a failing journey says at once what went wrong where.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from tests.support.load import Accepted
from tests.support.sink import UNANSWERED, DotRead, behaviour_of

_BOUNCES = {"refuse", "refusedot"}
_FINAL = {"delivered", "bounced", "expired", "cancelled", "suppressed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the product says of one recipient. state: its final state, or where it still waits."""

    state: str
    doubts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Notices:
    """Notices to the submitters by SMTP: what the product says of them, and what the sink has.

    owed      recipients that bounced of messages that came by SMTP
    sent      those of them that a notice was sent about
    others    notices about anybody else, or not sent
    carriers  messages that carry the notices
    doubts    attempts in doubt at these
    kept      how many times the sink kept one
    """

    owed: int
    sent: int
    others: int
    carriers: int
    doubts: int
    kept: int

    def broken(self) -> list[str]:
        """What of the promise about them does not hold, as sentences."""
        out = []
        if self.sent != self.owed or self.others:
            out.append(f"of {self.owed} recipients that bounced by SMTP {self.sent} were told of: {self}")
        if not self.carriers <= self.kept <= self.carriers + self.doubts:
            out.append(f"notices were lost, or doubled without a doubt: {self}")
        return out


@dataclass(slots=True)
class Findings:
    """Counts for the reader, and every broken promise as a sentence.

    doubts            attempts in doubt, all of them
    scripted_doubts   those that the sink brought about itself, by not answering a dot
    """

    messages: int = 0
    recipients: int = 0
    states: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0
    doubts: int = 0
    scripted_doubts: int = 0
    broken: list[str] = field(default_factory=list)

    @property
    def unscripted_doubts(self) -> int:
        return self.doubts - self.scripted_doubts


def reconcile(
    accepted: Sequence[Accepted], dots: Sequence[DotRead], told: Mapping[str, Told], *, submitter: str = ""
) -> Findings:
    """What of the promise does not hold.

    told       by recipient id
    submitter  whom the product sends notices to; they are judged by `Notices`
    """
    found = Findings(messages=len(accepted))
    seen: dict[str, list[DotRead]] = defaultdict(list)
    for dot in dots:
        seen[dot.recipient].append(dot)
    seen.pop(submitter, None)
    _check_strangers(found, accepted, seen)
    for one in accepted:
        for address, recipient_id in one.recipients.items():
            found.recipients += 1
            name = f"{recipient_id} of {one.message_id} ({address})"
            _check_recipient(found, name, address, seen.get(address, ()), told.get(recipient_id))
    return found


def _check_strangers(
    found: Findings, accepted: Sequence[Accepted], seen: Mapping[str, Collection[DotRead]]
) -> None:
    """Each id was accepted once; the sink saw nothing that no client has a 202 for."""
    ids = Counter(a.message_id for a in accepted)
    found.broken += [f"{message_id} answers {n} submissions" for message_id, n in ids.items() if n > 1]
    known = {address for a in accepted for address in a.recipients}
    found.broken += [f"the sink saw {r}, which no client has a 202 for" for r in seen.keys() - known]


def _check_recipient(
    found: Findings, name: str, address: str, dots: Collection[DotRead], told: Told | None
) -> None:
    if told is None:
        found.broken.append(f"{name} was accepted and is gone")
        return
    kept = sum(d.kept for d in dots)
    scripted = sum(d.did in UNANSWERED for d in dots)
    found.states[told.state] += 1
    found.duplicates += max(0, kept - 1)
    found.doubts += told.doubts
    found.scripted_doubts += min(scripted, told.doubts)
    found.broken += [f"{name}: {what}" for what in _faults(address, kept, scripted, told)]


def _faults(address: str, kept: int, scripted: int, told: Told) -> list[str]:
    wanted = "bounced" if behaviour_of(address)[0] in _BOUNCES else "delivered"
    faults = []
    if told.state not in _FINAL:
        faults.append(f"is stuck in state {told.state}")
    elif told.state != wanted:
        faults.append(f"ended {told.state}, not {wanted}")
    if told.state == "delivered" and not kept:
        faults.append("is called delivered, and the sink does not have it")
    if kept > 1 and kept - 1 > told.doubts:
        faults.append(f"arrived {kept} times with {told.doubts} attempts in doubt")
    if told.doubts < scripted:
        faults.append(f"{scripted} dots got no answer, {told.doubts} attempts are in doubt")
    return faults
