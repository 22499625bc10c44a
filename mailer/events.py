"""The dictionary: every word for what can happen to a message, as code, tables, JSON and logs say it."""

from __future__ import annotations

import enum


class EventType(enum.StrEnum):
    """What callers are told, one per change of a recipient's state or fact beside it, or of a stream's."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    SUPPRESSED = "suppressed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    UNSUBSCRIBED = "unsubscribed"
    OPENED = "opened"
    CLICKED = "clicked"
    AUTO_REPLIED = "auto_replied"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    # Of a stream, and of no message: how its mail is received, and what follows.
    STREAM_WARNED = "stream_warned"
    STREAM_PAUSED = "stream_paused"
    STREAM_RESUMED = "stream_resumed"


class RecipientState(enum.StrEnum):
    """Where a recipient stands. The last five are final: written once, never changed."""

    QUEUED = "queued"  # due now, waits for a worker with a permit
    DEFERRED = "deferred"  # waits for its due time: a retry, or a send time in the future
    HELD = "held"  # waits for an operator
    LEASED = "leased"  # a worker holds it; an attempt is open
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    SUPPRESSED = "suppressed"


FINAL_STATES = frozenset(
    {
        RecipientState.DELIVERED,
        RecipientState.BOUNCED,
        RecipientState.EXPIRED,
        RecipientState.CANCELLED,
        RecipientState.SUPPRESSED,
    }
)


class AttemptState(enum.StrEnum):
    """What became of one attempt (one mail transaction tried for one recipient)."""

    OPEN = "open"
    SETTLED = "settled"  # an answer was heard, or the try ended before the final dot
    RELEASED = "released"  # never sent: not counted as an attempt
    IN_DOUBT = "in_doubt"  # the dot was sent and no answer is on disk: may repeat


class WaitReason(enum.StrEnum):
    """Why a recipient that is not final waits. Every requeue names one."""

    NEW = "new"  # accepted, not yet claimed
    SCHEDULED = "scheduled"  # send time lies ahead
    REFUSED = "refused"  # the peer deferred it (4yz)
    BROKEN = "broken"  # connection lost or timed out before the final dot
    UNROUTABLE = "unroutable"  # DNS gave no answer
    TLS_FAILED = "tls_failed"  # a handshake failed, or a host did not prove what is asked of it
    IN_DOUBT = "in_doubt"  # the dot was sent, its answer not heard
    WORKER_LOST = "worker_lost"  # its worker died before the dot; no attempt counted
    RELEASED = "released"  # its worker stopped before dialling; no attempt counted
    RETRY_ASKED = "retry_asked"  # its tenant asked for a try now
    NO_PERMIT = "no_permit"  # the site's connections are all in use; no attempt counted
    LIMITED = "limited"  # its turn under a ceiling over time passed unused; no attempt counted
    WARMUP = "warmup"  # the IPs it may go out from are warming up and had all they may have today
    SUSPENDED = "suspended"  # its site does not want our IPs at the moment
    NO_EGRESS = "no_egress"  # no IP of its pool is active and on a live host; no attempt counted
    HELD = "held"  # an operator holds it


class NoticeKind(enum.StrEnum):
    """What a DSN tells a submitter of a recipient: an Action (RFC 3464 §2.3.3).

    Never "delivered", which is not for us to say: the next hop may be no mailbox.
    """

    FAILED = "failed"
    DELAYED = "delayed"
    RELAYED = "relayed"  # the next hop took it and sends no DSNs


class NoticeState(enum.StrEnum):
    """What became of a DSN that is owed."""

    DUE = "due"
    SENT = "sent"
    DROPPED = "dropped"
