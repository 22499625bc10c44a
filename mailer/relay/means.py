"""What the parts of one worker share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from mailer.ids import IdMaker
from mailer.policy.suppressionkey import Keys
from mailer.relay.inhand import InHand
from mailer.relay.lease import Lease
from mailer.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """One worker's store, its hold on its incarnation, what it has in hand, its ids and its clock.

    keys  by what entries of suppression lists are found
    """

    store: Store
    lease: Lease
    in_hand: InHand
    new_id: IdMaker
    process_number: int
    keys: Keys
    now: Callable[[], datetime]
    monotonic: Callable[[], float]
