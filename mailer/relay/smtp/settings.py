"""What the SMTP client is told at start."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field

from mailer.policy.routing import RouteTable
from mailer.policy.sites import SiteRules
from mailer.protocol.phase import Phase

_FIELD = {phase: phase.name.lower() for phase in Phase}


class Mode(enum.StrEnum):
    """live delivers by MX look-up; sandbox only by routes, so that no stranger gets mail by accident."""

    LIVE = "live"
    SANDBOX = "sandbox"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds of silence after which a phase is given up (RFC 5321 §4.5.3.2).

    content  for each block of content that the peer does not take (§4.5.3.2.5)
    quit     a courtesy that must not hold anybody
    """

    connect: float = 30.0
    greeting: float = 300.0
    ehlo: float = 300.0
    starttls: float = 60.0
    auth: float = 120.0
    mail: float = 300.0
    rcpt: float = 300.0
    data: float = 120.0
    content: float = 180.0
    end_of_data: float = 600.0
    quit: float = 2.0

    def of(self, phase: Phase) -> float:
        return float(getattr(self, _FIELD[phase]))


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpSettings:
    """One carrier's settings.

    helo_name             our name, as in PTR and A (RFC 5321 §4.1.1.1)
    port                  of MX hosts; routes name their own
    rules                 what providers take; the limits below hold where they ask for no less
    messages_per_session  after which a session is ended, as a courtesy to peers that count
    session_seconds       age after which a session is not used again
    idle_seconds          how long a session is kept without mail
    wait_seconds          how long mail waits for a session before it goes back to the queue
    attempt_seconds       for everything before the final dot, over all hosts
    dials                 addresses tried in one attempt (RFC 5321 §5.1: at least two)
    egress_ip             local address to connect from; None: the system's choice
    ipv6_allowed          asked each time: mail may leave over IPv6 where the system chooses our address
    """

    helo_name: str
    mode: Mode = Mode.LIVE
    routes: RouteTable = field(default_factory=RouteTable)
    rules: SiteRules = field(default_factory=SiteRules)
    timeouts: Timeouts = Timeouts()
    port: int = 25
    connections_per_site: int = 20
    messages_per_session: int = 200
    session_seconds: float = 300.0
    idle_seconds: float = 10.0
    wait_seconds: float = 60.0
    attempt_seconds: float = 1500.0
    dials: int = 6
    egress_ip: str | None = None
    ipv6_allowed: Callable[[], bool] = lambda: True
