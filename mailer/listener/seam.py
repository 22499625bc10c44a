"""What the server asks of its owner and tells it. The server speaks SMTP; the owner decides."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from mailer.listener.parameters import MailParameters, RcptParameters
from mailer.listener.path import Path
from mailer.listener.reply import ServerReply


@dataclass(slots=True)
class Session:
    """One connection.

    peer         the client's IP address, as text
    port         the port of ours that it came to
    host_name    what it calls itself in HELO or EHLO, printable; "" before, and again after STARTTLS
    is_extended  it said EHLO
    tls          protocol version, None in clear text
    cipher       of TLS, None in clear text
    identity     what `authenticate` granted; None before
    on_leave     of what was granted; None once it was called
    sender       reverse-path of the transaction under way, for `rcpt`; None outside one
    """

    peer: str
    port: int
    host_name: str = ""
    is_extended: bool = False
    tls: str | None = None
    cipher: str | None = None
    identity: object | None = None
    sender: Path | None = None
    on_leave: Callable[[], None] | None = None

    def leave(self) -> None:
        """Whoever was authenticated is not here any more. More than once does no harm."""
        on_leave, self.on_leave = self.on_leave, None
        if on_leave is not None:
            on_leave()


class Recipient(msgspec.Struct, frozen=True):
    """A forward-path that `rcpt` took."""

    path: Path
    parameters: RcptParameters


@dataclass(slots=True)
class Transaction:
    """An envelope, and its content once that is complete (RFC 5321 §3.3).

    content  unstuffed, CRLF line ends and no CR, LF or NUL besides; 8-bit whatever BODY says. By BDAT its
             last line may lack its CRLF
    """

    reverse_path: Path
    parameters: MailParameters
    recipients: list[Recipient] = field(default_factory=list)
    content: bytes = b""

    def give_content(self) -> bytes:
        """The content, which the transaction holds no more: whoever takes it decides how long it stays."""
        content, self.content = self.content, b""
        return content


@dataclass(frozen=True, slots=True)
class Granted:
    """Authentication succeeded.

    identity  the owner's own object, kept in the session
    on_leave  called once, when the session ends or forgets whose it was (RFC 3207 §4.2)
    """

    identity: object
    on_leave: Callable[[], None] | None = None


class Unanswered(Exception):
    """Raised by a desk that wants the connection closed without a reply, to see what a client does then."""


Answer = ServerReply | Coroutine[Any, Any, ServerReply]  # at once, or after waiting


class Desk(Protocol):
    """The owner's side of mail transactions. One desk serves many sessions at once on one event loop.

    What `mail` and `rcpt` can say without waiting they say at once, which costs half as much. Calls are not
    timed. Any exception but Unanswered is our own bug: it is logged, answered with 451 4.3.0, and ends the
    transaction. When the client goes, the call under way is cancelled. A reply of 421 or 521 closes the
    connection.
    """

    def mail(self, session: Session, reverse_path: Path, parameters: MailParameters) -> Answer: ...

    def rcpt(self, session: Session, forward_path: Path, parameters: RcptParameters) -> Answer: ...

    async def take(self, session: Session, transaction: Transaction) -> ServerReply:
        """The message is complete. A positive reply takes responsibility for it (RFC 5321 §6.1)."""
        ...


class Credentials(Protocol):
    """Who a client is (RFC 4954 §4)."""

    async def authenticate(self, user: str, secret: str, session: Session) -> Granted | ServerReply:
        """A refusal of 5yz counts towards `Limits.auth_failures`. May sleep to slow a guesser down."""
        ...


class Busy(Exception):
    """There is no room for these octets now."""


class Hold(Protocol):
    """One content's share of the memory that all of them may take."""

    def grow_to(self, octets: int) -> None:
        """Raises Busy."""
        ...


class Budget(Protocol):
    """Octets of content that may be held at once."""

    def hold(self) -> AbstractContextManager[Hold]:
        """An empty share, given back when the block ends."""
        ...


class Unbounded:
    """A budget that never runs out: tests, and owners that count elsewhere."""

    def hold(self) -> AbstractContextManager[Hold]:
        return nullcontext(self)

    def grow_to(self, octets: int) -> None:
        """Always room."""
