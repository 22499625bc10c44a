"""What the sessions of one listener have in common."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field

from mailer.listener.limits import Limits
from mailer.listener.seam import Budget, Credentials, Desk, Unbounded


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """host: our name in greeting and EHLO.

    desk           decides on mail
    credentials    decides on users; None: AUTH is not offered
    tls            makes the context of each handshake, so that certificates can change; None: no TLS
    keeps_dsn      the desk does what RET, ENVID, NOTIFY and ORCPT ask (RFC 3461); else they are not offered
    keeps_requiretls
                   the desk does what REQUIRETLS asks (RFC 8689); else it is not offered, nor in clear
    auth_in_clear  AUTH is offered without TLS too: on a trusted network only
    """

    host: str
    desk: Desk
    credentials: Credentials | None = None
    tls: Callable[[], ssl.SSLContext] | None = None
    auth_in_clear: bool = False
    keeps_dsn: bool = False
    keeps_requiretls: bool = False
    limits: Limits = field(default_factory=Limits)
    budget: Budget = field(default_factory=Unbounded)
