"""SMTP as a server: what the submission door and the report listener speak, and no decision about mail.

    listening       Listener: the sockets, who is connected, the graceful stop
    conversation    one connection: callbacks of the event loop, the loop over commands, the end
    commands        what each verb does
    mailing         MAIL, RCPT, DATA, BDAT: one transaction after another
    content         content off the wire, and what makes it unfit
    authentication  AUTH PLAIN and LOGIN
    wire            octets waiting to be read, replies waiting to be sent, and the patience for both
    path            reverse-paths and forward-paths; pure
    peer            whom to count by; pure
    parameters      of MAIL and RCPT, as types; pure
    seam            Desk, Credentials, Budget: what the owner brings; Session, Transaction: what it gets
    reply, limits, rules

`Conversation` is an aiosmtpd `SMTP`: its constructor, its table of `smtp_` commands and its place in the
event loop are kept. The reading is not. Stock aiosmtpd takes a coroutine step a line of content, parses
addresses with the header parser of the standard library (80 us each), waits for the socket after each
reply, takes a bare LF for the end of a command, keeps bare CR and LF in content, calls its authenticator
on the event loop, and knows neither PIPELINING, CHUNKING, DSN nor ENHANCEDSTATUSCODES.

A whole command of an envelope that arrives alone is answered in the callback that brought it, if the desk has
its answer at hand, and the session's task sleeps on until the content comes: waking it for each of MAIL, RCPT
and DATA took as long as the commands do.

Octets arrive by `data_received`, a public callback, in a buffer of our own. Searching asyncio's
`StreamReader` instead would need three of its private attributes, be slower, and break when they change;
STARTTLS likewise goes by `loop.start_tls`, which uvloop has too, where stock aiosmtpd wires up
`asyncio.sslproto` by hand. Implicit TLS is the same handshake before the greeting, so that a listening
socket outlives its certificate.

What is refused that others take: a command line with a bare LF ends the session, since one party's line
end is another's injected command (RFC 5321 §2.3.8); content with a bare CR or LF, or with NUL, gets 550.
What is taken that the RFC refuses: a space after `FROM:`, an address without its angle brackets, any
printable host name in EHLO. No greeting delay: a client that talks first is answered after the greeting.
"""

from mailer.listener.limits import Limits
from mailer.listener.listening import Listener
from mailer.listener.parameters import Body, MailParameters, Notify, RcptParameters, Ret
from mailer.listener.path import Path
from mailer.listener.peer import network_of
from mailer.listener.reply import ServerReply, reply
from mailer.listener.rules import Rules
from mailer.listener.seam import (
    Answer,
    Budget,
    Busy,
    Credentials,
    Desk,
    Granted,
    Hold,
    Recipient,
    Session,
    Transaction,
    Unanswered,
    Unbounded,
)

__all__ = [
    "Answer",
    "Body",
    "Budget",
    "Busy",
    "Credentials",
    "Desk",
    "Granted",
    "Hold",
    "Limits",
    "Listener",
    "MailParameters",
    "Notify",
    "Path",
    "RcptParameters",
    "Recipient",
    "Ret",
    "Rules",
    "ServerReply",
    "Session",
    "Transaction",
    "Unanswered",
    "Unbounded",
    "network_of",
    "reply",
]
