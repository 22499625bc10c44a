"""What a reply's words say beside its code: when to come back, and which enhanced status it bears."""

from __future__ import annotations

import re
from datetime import timedelta

from mailer.protocol.enhanced import EnhancedStatus
from mailer.protocol.phase import Phase
from mailer.protocol.reply import Reply

_UNIT = {"s": 1, "m": 60, "h": 3600}
# milter-greylist: "Greylisting in action, please come back in 00:05:00"; postgrey: "Greylisted for 300
# seconds"; others: "try again in 5 minutes", "retry after 1 hour".
_CUE = re.compile(r"\b(?:try|retry|again|come back|greylist\w*|wait)\b", re.IGNORECASE)
_SPAN = re.compile(r"\b(\d{1,6})\s*(s(?:ec(?:ond)?s?)?|m(?:in(?:ute)?s?)?|h(?:(?:ou)?rs?)?)\b", re.IGNORECASE)
_CLOCK = re.compile(r"\b(\d{1,2}):([0-5]\d):([0-5]\d)\b")
_REACH = 48  # characters after the cue in which its duration must begin


def wished_delay(reply: Reply) -> timedelta | None:
    """How long the peer asks us to wait, if its text says so; no bounds applied."""
    text = reply.text
    for cue in _CUE.finditer(text):
        near = text[cue.end() : cue.end() + _REACH]
        if clock := _CLOCK.search(near):
            hours, minutes, seconds = (int(part) for part in clock.groups())
            return timedelta(hours=hours, minutes=minutes, seconds=seconds)
        if span := _SPAN.search(near):
            return timedelta(seconds=int(span[1]) * _UNIT[span[2][0].lower()])
    return None


# What a bare code means where the peer gave no enhanced status (RFC 5248 §2.2, RFC 3463 §3).
_PLAIN = {
    (550, Phase.RCPT): (1, 1),
    (551, Phase.RCPT): (1, 6),
    (553, Phase.RCPT): (1, 3),
    (553, Phase.MAIL): (1, 7),
    (552, Phase.END_OF_DATA): (3, 4),
    (552, Phase.MAIL): (3, 4),
    (554, Phase.END_OF_DATA): (6, 0),
    (556, Phase.RCPT): (1, 10),  # RFC 7504 §4
}


def status_of(reply: Reply, phase: Phase) -> EnhancedStatus:
    """The enhanced status a reply bears, else the one its code and phase stand for."""
    found = EnhancedStatus.find(reply.text, reply.code)
    if found is not None:
        return found
    subject, detail = _PLAIN.get((reply.code, phase), (0, 0))
    return EnhancedStatus(5 if reply.code >= 500 else 4, subject, detail)
