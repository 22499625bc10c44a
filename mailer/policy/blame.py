"""Whose fault a refusal is, by its enhanced status and its words.

Only a refusal that blames our IP may be answered by another IP. Trouble with the content, the sending domain
or its authentication goes along with the mail: from another IP it would spoil that one too.
"""

from __future__ import annotations

import enum
import re

from mailer.policy.classify import status_of
from mailer.protocol.phase import Phase
from mailer.protocol.reply import Reply


class Blame(enum.StrEnum):
    """What a refusal blames."""

    RECIPIENT = "recipient"
    SENDER = "sender"  # the sending domain or its authentication
    CONTENT = "content"
    OUR_IP = "our-ip"
    GREYLIST = "greylist"  # nobody: come again, as you are
    REMOTE = "remote"  # the peer's own state, or nothing that is known


_GREYLIST = re.compile(r"gr[ae]y[- ]?list", re.IGNORECASE)
_SENDER = re.compile(
    r"\b(?:spf|dkim|dmarc|arc)\b|\bunauthenticated\b|\bnot authenticated\b|authentication (?:checks?|fail)"
    r"|sender(?:'s)? (?:address|domain)|sending domain|domain(?:'s)? reputation"
    r"|reputation of (?:the |your )?(?:sending )?domain|\bmail[ -]?from domain\b|sender verify",
    re.IGNORECASE,
)
_CONTENT = re.compile(
    r"\b(?:virus|malware|phish\w*|surbl|uribl|dbl)\b|\burls?\b|\blinks? in\b"
    r"|spam[- ]?(?:score|content|message)|message (?:content|looks|appears)"
    r"|content (?:rejected|blocked|filter)|identified as spam|considered spam"
    r"|message (?:is|was) (?:likely|detected|classified)",
    re.IGNORECASE,
)
_OUR_IP = re.compile(
    r"\b(?:your|sending|client|connecting|source|this|sender) (?:mta'?s? )?(?:ip\b|host\b|server\b|network\b)"
    r"|\bip (?:address|reputation|block\w*|range)|\b(?:dns)?(?:rbl|bl)\b|block[- ]?list|black[- ]?list|dnsbl"
    r"|spamhaus|spamcop|barracuda ?central|\btss?0[1-9]\b|reverse dns|\bptr\b|\brdns\b"
    r"|\bs\d{4}\b.*\bblock",
    re.IGNORECASE,
)
_SENDER_DETAILS = frozenset({20, 21, 22, 23, 24, 26, 27, 28, 29, 30})  # x.7.y: RFC 7372 §3, RFC 8616 §6
_FLOOD = 28  # x.7.28: mail flood detected (RFC 7372 is silent on whose; Gmail says it of IPs and of domains)
_NO_REVERSE_NAME = 25  # x.7.25: reverse DNS validation failed (RFC 7372 §3.3)


def blame_of(reply: Reply, phase: Phase) -> Blame:
    """What the peer blames; REMOTE where it does not say."""
    status, words = status_of(reply, phase), reply.text
    if reply.code // 100 == 4 and is_about_greylisting(words):
        return Blame.GREYLIST
    if status.subject == 7 and status.detail == _NO_REVERSE_NAME:
        return Blame.OUR_IP
    is_of_sender = status.subject == 7 and status.detail in _SENDER_DETAILS
    is_flood_of_ip = status.detail == _FLOOD and _OUR_IP.search(words) is not None
    if _SENDER.search(words) or (is_of_sender and not is_flood_of_ip):
        return Blame.SENDER
    if _OUR_IP.search(words):
        return Blame.OUR_IP
    if status.subject == 6 or _CONTENT.search(words):
        return Blame.CONTENT
    return Blame.RECIPIENT if status.subject in (1, 2) else Blame.REMOTE


def is_about_greylisting(words: str) -> bool:
    """Whether a deferral says that it is greylisting."""
    return _GREYLIST.search(words) is not None
