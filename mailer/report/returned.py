"""Mail for our own return-path addresses: whose it is, what it says, and that it is told.

The address proves it: its local part is the signed token of one recipient (compose/verp.py). What a message
means is the recogniser's to say, which later reads more than three kinds; the path stays. A mail that means
nothing, or whose token is not ours, changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from mailer import ids
from mailer.compose.verp import read_token
from mailer.ids import IdMaker
from mailer.queue import feedback
from mailer.report.recognised import Recogniser, recognise
from mailer.store import Store

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnPaths:
    """secrets: those that tokens were signed with. Safe from any thread."""

    store: Store
    secrets: Sequence[bytes]
    new_id: IdMaker
    now: Callable[[], datetime]
    recognise: Recogniser = recognise

    def owner_of(self, local: str) -> int | None:
        """The recipient whose return-path has this local part; None: nobody's."""
        return read_token(local, self.secrets)

    def take(self, recipient_id: int, domain: str, content: bytes) -> None:
        """What `content`, sent to this recipient's token at `domain`, says is on record and told, once.

        Does nothing if it says nothing, or the recipient is not there (any more), or was sent with another
        domain. Safe to repeat. Raises StoreUnavailable: the sender should come again.
        """
        finding = self.recognise(content)
        if finding is None:
            return
        is_new = feedback.record(
            self.store,
            recipient_id,
            finding.type,
            domain=domain,
            facts=finding.facts,
            new_id=self.new_id,
            now=self.now(),
        )
        _log.info(
            "report.heard", type=finding.type, recipient_id=ids.show("rcpt", recipient_id), is_new=is_new
        )
