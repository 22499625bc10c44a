"""A reply as we give it (RFC 5321 §4.2), and those that the server gives of its own accord."""

from __future__ import annotations

from functools import lru_cache

import msgspec

from mailer.protocol.enhanced import EnhancedStatus

_LINE_OCTETS = 510  # RFC 5321 §4.5.3.1.5: 512 with CRLF


class ServerReply(msgspec.Struct, frozen=True):
    """code 200 to 599.

    status  None only where RFC 2034 §4 exempts: 3yz, the greeting, answers to HELO and EHLO
    text    one line of ASCII; anything else in it is escaped on the wire, and what is too long is cut
    """

    code: int
    status: EnhancedStatus | None
    text: str

    def __post_init__(self) -> None:
        if self.status is not None and self.status.class_ != self.code // 100:
            raise ValueError(f"the status {self.status} contradicts the code {self.code} (RFC 2034 §4)")

    @property
    def is_positive(self) -> bool:
        return 200 <= self.code < 300

    @property
    def ends_session(self) -> bool:
        """RFC 5321 §3.8: after 421 the server closes; RFC 7504 §3: after 521 as well."""
        return self.code in {421, 521}

    @property
    def is_protocol_error(self) -> bool:
        """The client does not speak SMTP as agreed (X.5.z, RFC 3463 §3.6); no policy refused it."""
        return self.code >= 500 and self.status is not None and self.status.subject == 5

    def encode(self) -> bytes:
        """The line with its CRLF."""
        status = f"{self.status} " if self.status is not None else ""
        text = f"{self.code} {status}{self.text}"
        if not (text.isascii() and text.isprintable()):
            text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
        return text.encode("ascii", "backslashreplace")[:_LINE_OCTETS] + b"\r\n"


class Hangup(Exception):
    """The session ends with `reply`; what the client sent behind it is not read as commands."""

    def __init__(self, reply: ServerReply) -> None:
        super().__init__(reply.code)
        self.reply = reply


def reply(code: int, status: str, text: str) -> ServerReply:
    """Raises ValueError if the status is none or contradicts the code: a mistake in our source."""
    return ServerReply(code, _status(status), text)


_status = lru_cache(EnhancedStatus.parse)  # there are few


OK = reply(250, "2.0.0", "OK")
BYE = reply(221, "2.0.0", "Bye")
CANNOT_VERIFY = reply(252, "2.0.0", "Not verified; send the message and see")  # RFC 5321 §3.5.3
START_INPUT = ServerReply(354, None, "End data with <CR><LF>.<CR><LF>")
START_TLS = reply(220, "2.0.0", "Ready to start TLS")

UNKNOWN_COMMAND = reply(500, "5.5.1", "Command not recognised")
NOT_IMPLEMENTED = reply(502, "5.5.1", "Command not implemented")
NO_BROWSERS = reply(502, "5.7.0", "This is not a web server")
BARE_LINE_END = reply(500, "5.5.2", "Lines end in CR LF, and neither stands alone")
BAD_OCTETS = reply(500, "5.5.2", "The line holds octets that no command has")
LINE_TOO_LONG = reply(500, "5.5.2", "Line too long")
AUTH_LINE_TOO_LONG = reply(500, "5.5.6", "Authentication exchange line is too long")  # RFC 4954 §6
NO_ARGUMENT = reply(501, "5.5.4", "The command takes no argument")
ARGUMENT_NEEDED = reply(501, "5.5.4", "The command needs an argument")
NO_GREETING = reply(503, "5.5.1", "Send EHLO first")
NO_MAIL = reply(503, "5.5.1", "Send MAIL first")
NESTED_MAIL = reply(503, "5.5.1", "A transaction is open already")
NO_RECIPIENTS = reply(554, "5.5.1", "No valid recipients")  # RFC 2920 §3.1
CHUNKS_BEGAN = reply(503, "5.5.1", "The content comes by BDAT; go on with BDAT or send RSET")  # RFC 3030 §2
TOO_MANY_RECIPIENTS = reply(452, "4.5.3", "Too many recipients")  # RFC 5321 §4.5.3.1.10
TOO_LARGE = reply(552, "5.3.4", "Message is larger than this server takes")  # RFC 1870 §6.3
BUSY = reply(452, "4.3.1", "Too much mail is being received at once; try again later")
# RFC 3463 §3.7. A host that takes these for line ends may see two messages in one (RFC 5321 §2.3.8).
BARE_IN_CONTENT = reply(550, "5.6.0", "The content holds CR or LF alone; lines end in CR LF")
NUL_IN_CONTENT = reply(550, "5.6.0", "The content holds NUL")
LONG_TEXT_LINE = reply(550, "5.6.0", "A line of the content is longer than 998 octets")

SILENCE = reply(421, "4.4.2", "Timeout; closing the connection")
SHUTTING_DOWN = reply(421, "4.3.2", "The server is shutting down; try again later")
INTERNAL = reply(451, "4.3.0", "Local error, try again later")
INTERNAL_END = reply(421, "4.3.0", "Local error, try again later")
TOO_MANY_ERRORS = reply(421, "4.7.0", "Too many errors")
TOO_MANY_FAILURES = reply(421, "4.7.0", "Too many failed authentications")
TOO_MANY_CONNECTIONS = reply(421, "4.7.0", "Too many connections; try again later")
ENOUGH = reply(421, "4.7.0", "Enough for one connection; connect again")
