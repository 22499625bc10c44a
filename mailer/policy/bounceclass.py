"""The words for what a refusal, a bounce or anything else that comes back means.

A class says what was meant, its group what kind of thing that is; what to do (Action) and whose fault it is
(Fault) are said beside it by the rule that decided, since the same class can ask for different things.
"""

from __future__ import annotations

import enum


class BounceClass(enum.StrEnum):
    """What a reply line or a returned mail means."""

    INVALID_MAILBOX = "invalid-mailbox"
    INVALID_DOMAIN = "invalid-domain"
    INACTIVE_MAILBOX = "inactive-mailbox"
    MOVED = "moved"

    MAILBOX_FULL = "mailbox-full"
    RATE_LIMITED = "rate-limited"
    GREYLISTED = "greylisted"
    SERVER_ERROR = "server-error"
    NETWORK_ERROR = "network-error"
    EXPIRED = "expired"

    SPAM_CONTENT = "spam-content"
    REPUTATION_BLOCK = "reputation-block"
    POLICY_BLOCK = "policy-block"
    AUTH_FAILURE = "auth-failure"
    CONTENT_REJECTED = "content-rejected"
    MESSAGE_TOO_LARGE = "message-too-large"
    PROTOCOL_ERROR = "protocol-error"
    RELAY_DENIED = "relay-denied"
    RECIPIENT_REFUSED = "recipient-refused"

    COMPLAINT = "complaint"
    UNSUBSCRIBE = "unsubscribe"
    AUTH_REPORT = "auth-report"
    AUTO_REPLY = "auto-reply"
    CHALLENGE = "challenge"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    NOT_A_BOUNCE = "not-a-bounce"
    UNDETERMINED = "undetermined"

    @property
    def group(self) -> Group:
        return _GROUP[self]


class Group(enum.StrEnum):
    """What kind of thing a class is."""

    HARD = "hard"  # the recipient is not there
    SOFT = "soft"  # not now
    BLOCK = "block"  # not from us, or not this
    COMPLAINT = "complaint"
    UNSUBSCRIBE = "unsubscribe"
    REPORT = "report"
    AUTO = "auto"
    INFO = "info"
    NONE = "none"
    UNDETERMINED = "undetermined"


class Action(enum.StrEnum):
    """What is to be done with the mail, or with more of it."""

    FAIL = "fail"
    RETRY = "retry"
    RETRY_ELSEWHERE = "retry-other-ip"  # from another IP of ours
    SLOW_DOWN = "slow-down"  # retry, and send less there
    SUSPEND = "suspend"  # retry, and send nothing there from this IP for a time


class Blame(enum.StrEnum):
    """Whose fault it is. Only a recipient's may suppress its address."""

    RECIPIENT = "recipient"
    SENDER_CONTENT = "sender-content"
    OUR_IP = "our-ip"
    REMOTE = "remote"


_MEMBERS = {
    Group.HARD: "invalid-mailbox invalid-domain inactive-mailbox moved",
    Group.SOFT: "mailbox-full rate-limited greylisted server-error network-error expired",
    Group.BLOCK: "spam-content reputation-block policy-block auth-failure content-rejected message-too-large"
    " protocol-error relay-denied recipient-refused",
    Group.COMPLAINT: "complaint",
    Group.UNSUBSCRIBE: "unsubscribe",
    Group.REPORT: "auth-report",
    Group.AUTO: "auto-reply challenge",
    Group.INFO: "delayed delivered",
    Group.NONE: "not-a-bounce",
    Group.UNDETERMINED: "undetermined",
}
_GROUP = {BounceClass(word): group for group, words in _MEMBERS.items() for word in words.split()}
