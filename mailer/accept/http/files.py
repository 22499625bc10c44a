"""The attachments of a request, decoded and judged one by one."""

from __future__ import annotations

from collections.abc import Sequence

from mailer.accept.http import base64text, enclosure
from mailer.accept.http.base64text import Base64Error
from mailer.accept.http.complaints import Complain, tried
from mailer.accept.http.wire import pointer
from mailer.accept.submission import Fault, SubmissionError
from mailer.compose import attachments
from mailer.compose.attachments import Attachment, AttachmentError, Disposition


def attachments_of(given: Sequence[enclosure.Attachment], complain: Complain) -> tuple[Attachment, ...]:
    """What can be sent of `given`, in order; what cannot is complained about."""
    found: list[Attachment] = []
    seen: set[str] = set()
    for index, one in enumerate(given):
        attachment = tried(complain, _attachment, one, index)
        if attachment is None:
            continue
        if attachment.content_id in seen:
            complain(_invalid("another attachment has this content id", index, "content_id"))
        if attachment.content_id is not None:
            seen.add(attachment.content_id)
        found.append(attachment)
    return tuple(found)


def _attachment(given: enclosure.Attachment, index: int) -> Attachment:
    try:
        return attachments.attachment(
            given.filename,
            base64text.decode(given.content),
            content_type=given.content_type,
            content_id=given.content_id,
            disposition=None if given.disposition is None else Disposition(given.disposition),
        )
    except Base64Error as error:
        raise _invalid(f"the content of an attachment {error}", index, "content") from None
    except AttachmentError as error:
        raise _invalid(str(error), index, error.field) from None


def _invalid(detail: str, index: int, field: str) -> SubmissionError:
    return SubmissionError(Fault.INVALID_FIELD, detail, pointer=pointer("attachments", index, field))
