"""Who leaves a stream by mail when the rows of what they got are long gone: address and words say it. Pure.

The address proves that the mail is for a recipient of ours, and has room for no more; the token in the
subject, which the URI of List-Unsubscribe gave the mail (RFC 2369 §3.2, RFC 6068 §2), says who that was. Each
alone is not enough: whoever quotes a token of somebody else writes to another address.
"""

from __future__ import annotations

from collections.abc import Callable

from mailer.compose.subscriber import Subscriber
from mailer.queue.returned import Claimed
from mailer.report.destinations import Kind
from mailer.report.reading import OrdinaryMail, Reading, Unsubscription, subject_and_text

FindSubscriber = Callable[[str], Subscriber | None]


def leaves(mail: Claimed, reading: Reading, find: FindSubscriber) -> Subscriber | None:
    """None: it is to no such address, is automatic, or has no token for the recipient of its address."""
    if mail.kind != Kind.UNSUBSCRIBE or not isinstance(reading, OrdinaryMail | Unsubscription):
        return None
    for words in subject_and_text(mail.content):
        subscriber = find(words)
        if subscriber is not None and subscriber.recipient_id == mail.token_of:
            return subscriber
    return None
