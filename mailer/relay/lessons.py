"""What an attempt teaches about its recipient, for the suppression list (queue/suppressions.py).

Only what a peer or the domain's own DNS said counts. Of a recipient that expired, every reply that it ever
got is judged anew: it is suppressed only if all of them blame it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace
from sqlalchemy import select

from mailer.events import AttemptState, RecipientState
from mailer.policy.bounceclass import Action, Blame
from mailer.policy.classifier import Judgement
from mailer.policy.outcome import Outcome, Refused, Unroutable
from mailer.policy.sites import SiteRules
from mailer.policy.suppression import Said
from mailer.policy.suppressionkey import Keys
from mailer.protocol.phase import Phase
from mailer.protocol.reply import Reply
from mailer.queue import suppressions
from mailer.queue.claim import Claimed
from mailer.queue.settle import Settlement
from mailer.store import Store
from mailer.store.tables import attempt

# RFC 3463 §3.2, RFC 7505 §4: no such domain, and one that takes no mail. Of a DNS that did not answer we say
# 4.4.3, which proves nothing.
_AUTHORITATIVE = frozenset({"5.1.2", "5.1.10"})


class Lessons:
    """Adds to a settlement what was heard of the recipient. Safe from any thread."""

    def __init__(self, store: Store, keys: Keys, rules: SiteRules) -> None:
        self._store = store
        self._keys = keys
        self._rules = rules

    def __call__(self, claimed: Claimed, outcome: Outcome, settlement: Settlement) -> Settlement:
        """Raises StoreUnavailable: of an expired recipient the earlier replies are read."""
        judged = settlement.judged
        if judged is None or judged.blame is not Blame.RECIPIENT:
            return settlement
        said = self._said(claimed, outcome, judged, settlement.move.state)
        heard = suppressions.Heard(
            recipient_id=claimed.recipient_id,
            message_id=claimed.message_id,
            tenant_id=claimed.tenant_id,
            stream_id=claimed.stream_id,
            address=claimed.address,
            said=said,
            keys=self._keys,
            site=settlement.heard.site,
            attempt_id=claimed.attempt_id,
            words=settlement.heard.reply,
        )
        return replace(settlement, lesson=heard)

    def _said(self, claimed: Claimed, outcome: Outcome, judged: Judgement, state: RecipientState) -> Said:
        ended = state is RecipientState.BOUNCED
        is_expired = state is RecipientState.EXPIRED
        return Said(
            bounce_class=judged.bounce_class,
            blame=judged.blame,
            # The operator's rules may have it tried again all the same.
            action=judged.action if ended else Action.RETRY,
            is_authoritative=isinstance(outcome, Unroutable) and outcome.status in _AUTHORITATIVE,
            expired_blames=(*self._earlier(claimed), judged.blame) if is_expired else None,
        )

    def _earlier(self, claimed: Claimed) -> Sequence[Blame]:
        """Whom each attempt before this one blamed."""
        tried = (
            select(attempt.c.outcome, attempt.c.phase, attempt.c.code, attempt.c.reply, attempt.c.site)
            .where(
                attempt.c.message_id == claimed.message_id,
                attempt.c.recipient_id == claimed.recipient_id,
                attempt.c.state.in_([AttemptState.SETTLED, AttemptState.IN_DOUBT]),
            )
            .order_by(attempt.c.id)
        )
        with self._store.read() as connection:
            return [self._blame_of(row) for row in connection.execute(tried)]

    def _blame_of(self, row: Any) -> Blame:
        if row.outcome != "refused" or row.code is None:
            return Blame.REMOTE
        words = (row.reply or "").removeprefix(str(row.code)).strip()
        refused = Refused(Reply(row.code, (words,)), Phase(row.phase or Phase.RCPT))
        judged = self._rules.judge(refused, row.site)
        return Blame.REMOTE if judged is None else judged.blame
