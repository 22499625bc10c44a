"""What is heard of a recipient, as the host that takes what comes back has it told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mailer.events import EventType
from mailer.ids import IdMaker
from mailer.policy.bounceclass import Blame, BounceClass
from mailer.policy.suppression import Said
from mailer.policy.suppressionkey import Keys
from mailer.queue import feedback
from mailer.store import Store

_SAID = {
    EventType.COMPLAINED: Said(bounce_class=BounceClass.COMPLAINT, blame=Blame.RECIPIENT),
    EventType.UNSUBSCRIBED: Said(bounce_class=BounceClass.UNSUBSCRIBE, blame=Blame.RECIPIENT),
}


@dataclass(frozen=True)
class Word:
    """domain: of the return-path that it came to."""

    kind: EventType
    domain: str
    facts: Mapping[str, Any] = field(default_factory=dict)


def record(
    store: Store, recipient_id: int, word: Word, *, keys: Keys, new_id: IdMaker, now: datetime
) -> bool:
    """Whether it was told now; a word that came to another domain's return-path is nobody's."""
    with store.write() as connection:
        known = feedback.locked(connection, recipient_id)
        if known is None or known.return_path_domain != word.domain.lower():
            return False
        heard = feedback.Feedback(kind=word.kind, facts=word.facts, said=_SAID.get(word.kind))
        means = feedback.Means(keys=keys, new_id=new_id, process_number=1, now=now)
        return feedback.hear(connection, known, heard, means)
