"""Which DSN a submitter is owed, and which of those owed is sent (RFC 3461 §4.1, §5.2; RFC 5321 §6.1).

What is owed is decided with the outcome, from what the submitter asked of this recipient. Whether it can be
sent is decided later, from facts that an outcome need not wait for: whose the reverse-path is, what the
tenant wants.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime, timedelta

from mailer.events import AttemptState, EventType, NoticeKind
from mailer.policy.classify import status_of
from mailer.protocol.enhanced import EnhancedStatus
from mailer.protocol.phase import Phase
from mailer.protocol.reply import Reply

NOT_SAID = ""
# RFC 3461 §4.1 leaves to us whether delays belong to it. No: whoever waits for one asks, and programs that
# never heard of NOTIFY would take it for a failure.
_DEFAULT = frozenset({"FAILURE"})
_UNHEARD = EnhancedStatus(4, 4, 2)  # RFC 3463 §3.5: bad connection
_OURS = 550  # a status of class 5 is looked for
_TIME_OVER = EnhancedStatus(4, 4, 7)  # RFC 3463 §3.5: delivery time expired


class Dropped(enum.StrEnum):
    """Why a DSN that was owed is not sent."""

    EVENTS_ONLY = "events_only"  # its tenant wants none
    NULL_REVERSE_PATH = "null_reverse_path"  # RFC 5321 §4.5.5
    ABOUT_A_DSN = "about_a_dsn"  # RFC 5321 §6.1
    FOREIGN_REVERSE_PATH = "foreign_reverse_path"  # not of its tenant's domains: nobody there sent anything
    OVERTAKEN = "overtaken"  # delayed no longer: it has ended
    NO_OPERATOR_DOMAIN = "no_operator_domain"  # there is nobody to send it from


def owed(
    notify: str | None, event: EventType | None, *, passed_on: bool = False, is_late: bool = False
) -> NoticeKind | None:
    """The DSN that this change of a recipient brings about; None: none.

    notify     the words of NOTIFY between commas; NOT_SAID: the default; None: never
    event      that tells of the change; None: nothing changed
    passed_on  the next hop was told what its submitter asked, and answers for DSNs from now on
    is_late    the delay has lasted long enough to tell of it
    """
    if notify is None:
        return None
    words = _DEFAULT if notify == NOT_SAID else frozenset(notify.split(","))
    match event:
        case EventType.BOUNCED | EventType.EXPIRED | EventType.SUPPRESSED if "FAILURE" in words:
            return NoticeKind.FAILED
        case EventType.DELAYED if "DELAY" in words and is_late:
            return NoticeKind.DELAYED
        case EventType.DELIVERED if "SUCCESS" in words and not passed_on:
            # RFC 3461 §5.2.2: to a host without the extension we can say no more than that.
            return NoticeKind.RELAYED
        case _:
            return None


def is_late(first_due_at: datetime, next_try_at: datetime | None, patience: timedelta) -> bool:
    """Whether a recipient that is tried again only then has been delayed for longer than `patience`.

    By the next try, since nothing can happen before: a submitter hears of four hours before they are over,
    not at the next retry after them.
    """
    return next_try_at is not None and next_try_at - first_due_at >= patience


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What decides whether an owed DSN is sent.

    is_final           the recipient has reached a final state by now
    door               its message came by
    reverse_path       of its submitter; "" or None for the null one
    is_own             the domain of reverse_path is an active sending domain of the message's tenant
    wants_mail         the tenant's setting: True for DSNs, False for events only
    has_operator       there is a domain to send it from
    """

    kind: NoticeKind
    is_final: bool
    door: str
    reverse_path: str | None
    is_own: bool
    wants_mail: bool
    has_operator: bool


def why_not(facts: Circumstances) -> Dropped | None:
    """Why this DSN is not sent; None if it is."""
    if facts.door == "dsn":
        return Dropped.ABOUT_A_DSN
    if not facts.reverse_path:
        return Dropped.NULL_REVERSE_PATH
    if not facts.wants_mail:
        return Dropped.EVENTS_ONLY
    if facts.kind is NoticeKind.DELAYED and facts.is_final:
        return Dropped.OVERTAKEN
    if not facts.is_own:
        return Dropped.FOREIGN_REVERSE_PATH
    if not facts.has_operator:
        return Dropped.NO_OPERATOR_DOMAIN
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What the last attempt came to, as it is kept. None where nothing was heard, or not that."""

    state: str
    outcome: str | None
    phase: str | None
    code: int | None
    status: str | None


def own_status(last_reply: str | None, heard: str | None) -> EnhancedStatus | None:
    """The status with which mail was ended here, and not by a peer; None: its last attempt ended it.

    last_reply  the words kept of the end: ours begin with a status
    heard       what the last attempt heard; None: there was none
    """
    return None if last_reply is None or last_reply == heard else EnhancedStatus.find(last_reply, _OURS)


def status_for(kind: NoticeKind, *, has_expired: bool, tried: Tried | None) -> EnhancedStatus:
    """The Status of a recipient (RFC 3464 §2.3.4): its class says what the DSN says."""
    if kind is NoticeKind.RELAYED:
        return _heard(tried, 2) or EnhancedStatus(2, 0, 0)
    if has_expired:
        gave_up = tried is not None and tried.state == AttemptState.IN_DOUBT
        return _UNHEARD if gave_up else _TIME_OVER
    class_ = 5 if kind is NoticeKind.FAILED else 4
    heard = _heard(tried, class_)
    if heard is not None:
        return heard
    return EnhancedStatus(5, 0, 0) if kind is NoticeKind.FAILED else _UNHEARD


def _heard(tried: Tried | None, class_: int) -> EnhancedStatus | None:
    if tried is None:
        return None
    if tried.status is not None:
        said = EnhancedStatus.parse(tried.status)
    elif tried.code is not None:
        said = status_of(Reply(tried.code, ("",)), Phase(tried.phase or Phase.END_OF_DATA))
    else:
        return None
    # The class is that of what followed: a 5yz to RCPT may have been taken for a passing refusal.
    return EnhancedStatus(class_, said.subject, said.detail)
