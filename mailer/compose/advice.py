"""What can be sent and yet had better not be: what receivers and readers are known to dislike in a draft.

The words are stable. The limits are other people's, read in their own documents, and may change with them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from mailer.compose.attachments import called_for
from mailer.compose.mime import Draft

_MANY_RECEIVERS_OCTETS = 10 * 1024 * 1024  # what servers of companies take, by default or by habit
_LARGE_RECEIVERS_OCTETS = 20 * 1024 * 1024  # Outlook.com 20 MB, Gmail and Yahoo 25 MB
_GMAIL_CLIPS_OCTETS = 102 * 1024  # of HTML; the rest is behind a link that few follow
_SEEN_RECIPIENTS = 25

# What Gmail and Outlook refuse by its name, in an archive too.
_EXECUTABLE = frozenset(
    {
        "ade", "adp", "apk", "app", "appx", "appxbundle", "bat", "cab", "chm", "cmd", "com", "cpl", "diagcab",
        "dll", "dmg", "exe", "hta", "img", "inf", "ins", "iso", "isp", "jar", "jnlp", "js", "jse", "lib",
        "lnk", "mde", "msc", "msi", "msix", "msp", "mst", "nsh", "pif", "ps1", "reg", "scr", "sct", "shb",
        "sys", "vb", "vbe", "vbs", "vhd", "vxd", "wsc", "wsf", "wsh", "xll",
    }
)  # fmt: skip
_DEAD_HTML = re.compile(r"(?i)<(script|iframe|object|embed|form)\b")
_DATA_IMAGE = re.compile(r"(?i)\bsrc\s*=\s*[\"']?data:")


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing to think about. word: stable; steps: where in a send request; () for all of it."""

    word: str
    detail: str
    steps: tuple[str | int, ...] = ()


def advise(
    draft: Draft,
    *,
    is_broadcast: bool,
    size_bytes: int,
    has_words: bool = True,
    links_are_given: bool = False,
) -> list[Advice]:
    """In the order of the draft.

    size_bytes  as sent
    has_words   False: its subject, text and HTML are not known, so that nothing can be said of them
    links_are_given
                broadcast mail without a List-Unsubscribe gets one that is as receivers want it
    """
    found = [
        *_on_header(draft, needs_link=is_broadcast and not links_are_given),
        *_on_texts(draft),
        *_on_files(draft),
        *_on_size(size_bytes),
    ]
    return found if has_words else [advice for advice in found if not _is_on_words(advice)]


def _is_on_words(advice: Advice) -> bool:
    return advice.word == "unused-content-id" or advice.steps in {("subject",), ("text",), ("html",)}


def _on_header(draft: Draft, *, needs_link: bool) -> Iterator[Advice]:
    if "@" in draft.from_.display_name:
        yield Advice(
            "from-name-is-address",
            "the name in From holds an '@': filters take an address in front of another one for a disguise",
            ("from",),
        )
    if len(draft.to) + len(draft.cc) > _SEEN_RECIPIENTS:
        yield Advice("recipients-see-each-other", "every recipient sees all addresses in To and Cc", ("to",))
    if any(m.needs_utf8 for m in (draft.from_, *draft.to, *draft.cc, *draft.reply_to)):
        yield Advice(
            "needs-smtputf8",
            "an address without ASCII form makes a message that many receivers cannot take (RFC 6531 §3.4)",
        )
    if not draft.subject.strip():
        yield Advice("empty-subject", "a message without a subject is often taken for spam", ("subject",))
    yield from _on_unsubscribing(draft, needs_link=needs_link)


def _on_unsubscribing(draft: Draft, *, needs_link: bool) -> Iterator[Advice]:
    names = {name.lower() for name, _ in draft.headers}
    if needs_link and "list-unsubscribe" not in names:
        yield Advice(
            "broadcast-without-unsubscribe",
            "Gmail and Yahoo want List-Unsubscribe on broadcast mail (RFC 2369 §3.2)",
            ("headers",),
        )
    elif "list-unsubscribe" in names and "list-unsubscribe-post" not in names:
        yield Advice(
            "unsubscribe-without-one-click",
            "Gmail and Yahoo want List-Unsubscribe-Post beside List-Unsubscribe (RFC 8058 §3.1)",
            ("headers",),
        )


def _on_texts(draft: Draft) -> Iterator[Advice]:
    if draft.html is None:
        return
    if draft.text is None:
        yield Advice(
            "no-text-part",
            "a message in HTML alone is unreadable to some and scores as spam with others (RFC 2046 §5.1.4)",
            ("text",),
        )
    if len(draft.html.encode("utf-8", "replace")) > _GMAIL_CLIPS_OCTETS:
        yield Advice("html-clipped", "Gmail shows the first 102 KB of the HTML only", ("html",))
    if _DEAD_HTML.search(draft.html):
        yield Advice("html-stripped", "scripts, frames and forms do not work in mail readers", ("html",))
    if _DATA_IMAGE.search(draft.html):
        yield Advice(
            "data-image", "Gmail shows no images of data: URLs; attach them with a content id", ("html",)
        )
    ids = {attachment.content_id for attachment in draft.attachments}
    if called_for(draft.html) - ids:
        yield Advice("unknown-content-id", "the HTML shows a cid: that no attachment has", ("html",))


def _on_files(draft: Draft) -> Iterator[Advice]:
    called = called_for(draft.html or "")
    for index, attachment in enumerate(draft.attachments):
        if attachment.filename.rpartition(".")[2].lower() in _EXECUTABLE:
            yield Advice(
                "executable-attachment",
                "programs are refused by most receivers: link to it instead",
                ("attachments", index, "filename"),
            )
        if attachment.content_id is not None and attachment.content_id not in called:
            yield Advice(
                "unused-content-id",
                "the HTML does not show this attachment by its content id; it will be listed as a file",
                ("attachments", index, "content_id"),
            )


def _on_size(size_bytes: int) -> Iterator[Advice]:
    if size_bytes > _LARGE_RECEIVERS_OCTETS:
        yield Advice("very-large-message", "even large receivers refuse messages of more than 20 to 25 MB")
    elif size_bytes > _MANY_RECEIVERS_OCTETS:
        yield Advice("large-message", "many receivers refuse messages of more than 10 MB")
