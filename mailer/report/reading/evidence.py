"""What shows, before a word is understood, that a machine wrote a mail, or that it is about a delivery."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mailer.report.reading.addresses import listed
from mailer.report.reading.fields import Fields
from mailer.report.reading.mime import Part
from mailer.report.reading.wording import wording

# RFC 5321 §6.1 wants the null reverse-path; the names are those that MTAs sign their reports with.
_DAEMON = wording("daemon")
_SUBJECT = wording("report-subject")
_NO_REPLY = wording("no-reply")
# Words of a refusal at the beginning of what such a mail says.
_AUTOMATIC = frozenset({"auto-generated", "auto-replied", "auto-notified"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """is_bounce: a host speaks of a delivery. is_automatic: a machine wrote it, or its subject says so.

    is_null_sender  the reverse-path is empty
    own             the addresses that the mail is from and to
    """

    is_bounce: bool
    is_automatic: bool
    is_null_sender: bool
    is_from_daemon: bool
    own: tuple[str, ...]


def evidence_of(root: Part) -> Evidence:
    header = root.fields
    subject = header.text("subject")
    sender = f"{header.text('from')} {header.text('sender')}".strip()
    is_daemon = bool(_DAEMON.search(sender)) or (
        "from" in header
        and not any("@" in header.raw(n) for n in ("from", "sender"))
        and ("<>" in header.raw("from") or "daemon" in sender.lower())
    )
    is_null = _is_null(header)
    is_about = bool(_SUBJECT.search(subject))
    if "resent-from" in header or "resent-to" in header:
        # Somebody passed it on by hand (RFC 5322 §3.6.6): it is about mail of theirs.
        return Evidence(
            is_bounce=False, is_automatic=False, is_null_sender=False, is_from_daemon=False, own=()
        )
    is_report = is_delivery_report(root) or "x-failed-recipients" in header
    automatic = submitted(header) in _AUTOMATIC
    return Evidence(
        is_bounce=is_report or (is_daemon and (is_about or is_null or automatic)) or (is_null and is_about),
        is_automatic=is_daemon or is_null or is_about or automatic or bool(_NO_REPLY.search(sender)),
        is_null_sender=is_null,
        is_from_daemon=is_daemon,
        own=listed(
            header.raw(name) for name in ("to", "from", "sender", "reply-to", "return-path", "delivered-to")
        ),
    )


def is_delivery_report(root: Part) -> bool:
    """A multipart/report of no other kind (RFC 6522 §3): the parameter is left out often enough."""
    given = root.type.parameters.get("report-type", "delivery-status").strip().lower()
    return root.type.essence == "multipart/report" and given == "delivery-status"


def submitted(header: Fields) -> str:
    """The keyword of Auto-Submitted, in lower case (RFC 3834 §5); "no" where there is none."""
    return re.split(r"[;\s(]", header.raw("auto-submitted").strip().lower() or "no")[0]


def _is_null(header: Fields) -> bool:
    path = header.raw("return-path").strip().lower()
    return "return-path" in header and (
        path in {"<>", "", "<mailer-daemon>", "<null>"} or path.startswith("<mailer-daemon")
    )
