"""What follows from a mail that was read: events, once for each recipient and kind. Pure.

Nothing follows from a mail that does not prove whose it is: anybody can write one. A report about another
address than the one we sent to - somebody forwards their mail, or an alias stands for it - is told, and held
against nobody. A bounce of mail that left long ago says nothing about the address today.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from mailer.events import EventType
from mailer.policy.bounceclass import Blame, BounceClass
from mailer.policy.classifier import Judgement
from mailer.policy.suppression import Said
from mailer.protocol.phase import RETURNED
from mailer.queue.returned import Known
from mailer.report.destinations import Kind
from mailer.report.reading import (
    AutoReply,
    Challenge,
    DeliveryAction,
    DeliveryReport,
    FeedbackReport,
    OrdinaryMail,
    Reading,
    RecipientReport,
    Unsubscription,
)

BOUNCES_FOR = timedelta(days=30)  # after the recipient's mail had ended
_WORDS = 1000  # of a stranger, as far as an event carries them
_SHORT = 200


@dataclass(frozen=True, slots=True)
class Consequence:
    """What is told of a recipient.

    once  the word under which it is noted, so that it is told once
    said  what it means for the suppression list; None: it is held against nobody
    """

    type: EventType
    facts: Mapping[str, Any] = field(default_factory=dict)
    once: str | None = None
    said: Said | None = None


def consequence_of(reading: Reading, kind: Kind, about: Known, *, now: datetime) -> Consequence | None:
    """None: it is kept, and nothing follows.

    kind   of the address that it came to
    about  the recipient that it is proved to speak of
    """
    if isinstance(reading, DeliveryReport):
        return _of_delivery(reading, about, now)
    if isinstance(reading, FeedbackReport):
        return _of_feedback(reading)
    if isinstance(reading, AutoReply | Challenge):
        facts = said(reason=reading.reason, subject=reading.subject)
        return Consequence(
            EventType.AUTO_REPLIED, {**facts, "class": reading.bounce_class, "phase": RETURNED}
        )
    if isinstance(reading, Unsubscription):
        return _unsubscribed(reading.reason)
    if isinstance(reading, OrdinaryMail) and kind is Kind.UNSUBSCRIBE:
        # Whatever a mail program writes there: the address says it all (RFC 2369 §3.2).
        return _unsubscribed("unsubscribe_mail")
    return None


def _of_feedback(reading: FeedbackReport) -> Consequence | None:
    if reading.bounce_class is not BounceClass.COMPLAINT:
        return None
    facts = said(
        reason="feedback_report", feedback_type=reading.feedback_type, user_agent=reading.user_agent or ""
    )
    return _by_a_person(EventType.COMPLAINED, BounceClass.COMPLAINT, facts)


def _unsubscribed(reason: str) -> Consequence:
    return _by_a_person(EventType.UNSUBSCRIBED, BounceClass.UNSUBSCRIBE, said(reason=reason))


def _by_a_person(kind: EventType, meant: BounceClass, facts: Mapping[str, Any]) -> Consequence:
    of_them = Said(bounce_class=meant, blame=Blame.RECIPIENT)
    return Consequence(kind, {**facts, **of_them.as_facts(), "phase": RETURNED}, said=of_them)


def _of_delivery(reading: DeliveryReport, about: Known, now: datetime) -> Consequence | None:
    if about.settled_at is not None and now - about.settled_at > BOUNCES_FOR:
        return None
    if not reading.recipients:
        # It names nobody; the address that it came to was given to one recipient's mail only.
        return None if reading.unnamed is None else _bounced(reading.unnamed, None)
    mine = [one for one in reading.recipients if is_about(one, about.address)]
    told = (mine or list(reading.recipients))[0]
    if told.action is DeliveryAction.FAILED:
        return _bounced(told.judgement, told, is_of_it=bool(mine))
    if told.action is DeliveryAction.DELAYED and mine:
        return Consequence(EventType.DELAYED, _facts(told.judgement, told), once="delayed_there")
    return None


def _bounced(judgement: Judgement, told: RecipientReport | None, *, is_of_it: bool = True) -> Consequence:
    facts = _facts(judgement, told)
    if is_of_it:
        of_it = Said(bounce_class=judgement.bounce_class, blame=judgement.blame, action=judgement.action)
        return Consequence(EventType.BOUNCED, facts, said=of_it)
    facts |= said(forwarded_to=told.address if told else "")
    return Consequence(EventType.BOUNCED, facts, once="bounced_elsewhere")


def _facts(judgement: Judgement, told: RecipientReport | None) -> dict[str, Any]:
    status = judgement.status if told is None or told.status is None else told.status
    facts: dict[str, Any] = {
        "reason": "delivery_report",
        "class": judgement.bounce_class,
        "action": judgement.action,
        "blame": judgement.blame,
        "phase": RETURNED,
        "rule": judgement.rule,
    }
    if status is not None:
        facts["status"] = str(status)
    if told is not None:
        facts |= said(
            reply=told.diagnostic, reporting_mta=told.reporting_mta or "", remote_mta=told.remote_mta or ""
        )
    return facts


def is_about(report: RecipientReport, address: str) -> bool:
    """Whether what failed is the address that we sent to: not one that it was forwarded to, or is an alias
    of, even where the report names ours as the original recipient."""
    return folded(address) == folded(report.address)


def folded(address: str) -> str:
    """For comparing only: hosts on the way change the case of local parts although they must not."""
    return address.strip().strip("<>").casefold()


def said(**words: str) -> dict[str, str]:
    """Printable, short, and only what was said."""
    most = {"reply": _WORDS}
    plain = {
        name: "".join(c if c.isprintable() else " " for c in word).strip()[: most.get(name, _SHORT)]
        for name, word in words.items()
    }
    return {name: word for name, word in plain.items() if word}
