"""Why a message that a submitter wrote cannot be sent as it is: one error for each way to mend it."""

from __future__ import annotations

from typing import ClassVar


class MalformedMessage(ValueError):
    """The message cannot be sent. The text is a sentence for people and repeats no value of the message.

    status  the enhanced status a door answers with (RFC 3463 §3.7)
    field   the header field at fault as its RFC writes it, None where it is not one field
    """

    status: ClassVar[str] = "5.6.0"

    def __init__(self, detail: str, *, field: str | None = None) -> None:
        super().__init__(detail)
        self.field = field


class LineError(MalformedMessage):
    """A line over 998 octets, a bare CR or LF, or a NUL (RFC 5321 §2.3.8, §4.5.3.1.6)."""


class HeaderBlockError(MalformedMessage):
    """The header has a line that is no field, or is too long: readers would differ on where it ends."""


class AuthorError(MalformedMessage):
    """From or Sender is missing, doubled or unreadable, so nobody can tell whose message it is."""


class DestinationError(MalformedMessage):
    """To, Cc and Bcc do not tell whom the message is for, where nothing else does."""


class ListFieldError(MalformedMessage):
    """List-Unsubscribe fields that receivers would not heed, or each in another way (RFC 8058 §3.1)."""


class ControlFieldError(MalformedMessage):
    """A field that steers this mailer (X-Mailer-*) is unknown, doubled or has no valid value."""


class LoopError(MalformedMessage):
    """The message has been here before, or has passed too many hosts (RFC 5321 §6.3)."""

    status: ClassVar[str] = "5.4.6"
