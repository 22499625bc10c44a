"""The client for programs in Python: `Mailer`, and `AsyncMailer` for asyncio.

    from mailer.client import Mailer

    with Mailer(api_key) as mailer:
        accepted = mailer.messages.send(from_="shop@example.org", to="ann@example.net", text="Hello")
        print(mailer.messages.get(accepted.id).recipients[0].state)

It needs nothing of the server's packages. Every operation is a `Call` (call.py, calls/): a value that says
what is sent, what comes back and whether it may be repeated; transport.py makes calls in both ways, so that
the two clients hold no logic and cannot differ.

A send without an idempotency key is given one, so that what failed on the way is tried again without a
second message. Tried again is what the server puts off (429, 503), as long as it asks to wait, and after a
broken connection or another 5xx only what may be done twice.
"""

from mailer.client.call import Patience
from mailer.client.errors import (
    ApiError,
    AuthenticationFailed,
    Conflict,
    ConnectionFailed,
    FieldError,
    InvalidRequest,
    MailerError,
    NotAllowed,
    NotFound,
    RateLimited,
    ServerFailed,
    UnreadableAnswer,
)
from mailer.client.letters import attachment, inline
from mailer.client.mailer import AsyncMailer, Mailer

__all__ = [
    "ApiError",
    "AsyncMailer",
    "AuthenticationFailed",
    "Conflict",
    "ConnectionFailed",
    "FieldError",
    "InvalidRequest",
    "Mailer",
    "MailerError",
    "NotAllowed",
    "NotFound",
    "Patience",
    "RateLimited",
    "ServerFailed",
    "UnreadableAnswer",
    "attachment",
    "inline",
]
