"""What a mail that came back says: octets in, a typed reading out. Pure, bounded, and nothing makes it
raise.

The mail is cut into parts once (mime.py). Then the readers are asked, the surest first: a feedback report
and a report on authentication have a part of their own; a challenge may be dressed as a bounce; delivery
reports have the fields of RFC 3464, or else a text of one of the forms that MTAs write (data/forms.toml
says how each begins), or at least an address beside the line of a reply; what is left may be an automatic
reply, an unsubscription, or ordinary mail. What the words of a bounce mean is the classifier's to say
(policy/classifier.py), what became of a recipient, and whether the time of a queue was over, is decided
here.

Nothing here says that a report may be believed: that is for matching, which knows our tokens.

Python's own parser is not used: it holds every line as an object, so that 50 MB cost ten times that, and
recurses into each level of nesting.
"""

from __future__ import annotations

from mailer.report.reading.kinds import (
    AuthReport,
    AuthReportKind,
    AutoReply,
    Challenge,
    DeliveryAction,
    DeliveryReport,
    FeedbackReport,
    OrdinaryMail,
    Original,
    Reading,
    RecipientReport,
    Unparsable,
    Unsubscription,
)
from mailer.report.reading.reader import CONTENT_OCTETS, read, subject_and_text

__all__ = [
    "CONTENT_OCTETS",
    "AuthReport",
    "AuthReportKind",
    "AutoReply",
    "Challenge",
    "DeliveryAction",
    "DeliveryReport",
    "FeedbackReport",
    "OrdinaryMail",
    "Original",
    "Reading",
    "RecipientReport",
    "Unparsable",
    "Unsubscription",
    "read",
    "subject_and_text",
]
