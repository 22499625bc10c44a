"""What a message that came back says: a complaint, an unsubscription, an automatic reply, or nothing we know.

Pure, and bounded: it reads the header, and of a feedback report the beginning of its parts. Nothing in it
raises, whatever the octets. A parser of everything that comes back takes its place, not its callers'.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from mailer.events import EventType

_HEADER_OCTETS = 64 * 1024
_REPORT_OCTETS = 256 * 1024
_MOST_PARTS = 10
_VALUE_CHARS = 200

_FIELD = re.compile(rb"([!-9;-~]{1,100})[ \t]*:(.*)", re.DOTALL)  # RFC 5322 §2.2
_BOUNDARY = re.compile(r'boundary\s*=\s*(?:"([^"]{1,70})"|([^\s";]{1,70}))', re.IGNORECASE)  # RFC 2046 §5.1.1
_REPORT_TYPE = re.compile(r'report-type\s*=\s*"?feedback-report\b', re.IGNORECASE)  # RFC 5965 §2
# RFC 5965 §7.3. "not-spam" (RFC 6430 §3) takes a complaint back: it is none.
_COMPLAINTS = frozenset({"abuse", "fraud", "virus", "other"})


@dataclass(frozen=True, slots=True)
class Finding:
    """type: the event it means.

    facts  for the event's data: `reason`, how it is known, and words of a stranger, printable and short
    """

    type: EventType
    facts: Mapping[str, str] = field(default_factory=dict)


Recogniser = Callable[[bytes], Finding | None]


def recognise(content: bytes) -> Finding | None:
    """None: kept, and without consequence."""
    fields = _fields(content[:_HEADER_OCTETS].partition(b"\r\n\r\n")[0])
    kind = fields.get("content-type", "")
    if kind.lower().startswith("multipart/report"):
        # Other reports (RFC 6522 §3) are automatic too, and speak of a delivery, not of a person.
        return _complaint(content[:_REPORT_OCTETS], kind) if _REPORT_TYPE.search(kind) else None
    submitted = fields.get("auto-submitted", "no").partition(";")[0].strip().lower()  # RFC 3834 §5
    if submitted == "auto-replied":
        return Finding(
            EventType.AUTO_REPLIED, _said(reason="auto_submitted", subject=fields.get("subject", ""))
        )
    if submitted == "no" and fields.get("subject", "").lower() == "unsubscribe":
        return Finding(EventType.UNSUBSCRIBED, _said(reason="unsubscribe_mail"))
    return None


def _complaint(content: bytes, kind: str) -> Finding | None:
    boundary = _BOUNDARY.search(kind)
    if boundary is None:
        return None
    for part in _parts(content, (boundary[1] or boundary[2]).encode("utf-8", "replace")):
        head, _, body = part.partition(b"\r\n\r\n")
        if _fields(head).get("content-type", "").lower().startswith("message/feedback-report"):
            report = _fields(body[:_HEADER_OCTETS])
            feedback_type = report.get("feedback-type", "").lower()
            if feedback_type not in _COMPLAINTS:
                return None
            agent = report.get("user-agent", "")
            facts = _said(reason="feedback_report", feedback_type=feedback_type, user_agent=agent)
            return Finding(EventType.COMPLAINED, facts)
    return None


def _parts(content: bytes, boundary: bytes) -> Iterator[bytes]:
    """Each without its boundary line; the preamble is none (RFC 2046 §5.1.1)."""
    pieces = content.split(b"\r\n--" + boundary, _MOST_PARTS + 1)
    for piece in pieces[1 : _MOST_PARTS + 1]:
        yield piece.partition(b"\r\n")[2]


def _fields(section: bytes) -> dict[str, str]:
    """The first value of each name in lower case, unfolded. What is no field is left out."""
    found: dict[str, str] = {}
    for line in re.sub(rb"\r\n(?=[ \t])", b"", section).split(b"\r\n"):
        given = _FIELD.fullmatch(line)
        if given is not None:
            found.setdefault(given[1].decode("ascii").lower(), given[2].decode("utf-8", "replace").strip())
    return found


def _said(**words: str) -> dict[str, str]:
    """Printable, short, and only what was said."""
    plain = {name: "".join(c for c in word if c.isprintable())[:_VALUE_CHARS] for name, word in words.items()}
    return {name: word for name, word in plain.items() if word}
