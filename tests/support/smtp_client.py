"""A carrier that knows one way, a journal that remembers, and mail for it."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from mailer.policy.outcome import Unroutable
from mailer.policy.routing import RouteTable
from mailer.protocol.phase import Phase
from mailer.relay.carrier import Consignment
from mailer.relay.hosts import Exchange, MxSet
from mailer.relay.smtp.carrier import SmtpCarrier
from mailer.relay.smtp.settings import Mode, SmtpSettings, Timeouts
from mailer.relay.smtp.tls_policies import TlsParts

CONTENT = b"From: a@example.com\r\nTo: b@example.net\r\nSubject: hi\r\n\r\nOne.\r\n.two\r\n"
_PATIENT = {name: 5.0 for name in ("connect", "greeting", "ehlo", "starttls", "auth", "mail", "rcpt", "data")}
PATIENT = Timeouts(**_PATIENT, content=5.0, end_of_data=5.0, quit=0.2)


def impatient_at(phase: Phase, seconds: float = 0.3) -> Timeouts:
    """Patient, so that a busy machine breaks nothing, but for the phase that a test leaves in silence."""
    return replace(PATIENT, **{phase.name.lower(): seconds})


_attempt_ids = itertools.count(1)


@dataclass
class NotedJournal:
    """Remembers what it was told, in order; `may_send` False stands for a stale lease."""

    may_send: bool = True
    entries: list[tuple[Any, ...]] = field(default_factory=list)
    passed_on: list[int] = field(default_factory=list)

    def about_to_send_dot(self, attempt_id: int, *, passed_on: bool = False) -> bool:
        self.entries.append(("dot", attempt_id))
        if passed_on:
            self.passed_on.append(attempt_id)
        return self.may_send

    def heard(self, attempt_id: int, code: int, text: str) -> None:
        self.entries.append(("heard", attempt_id, code, text))

    def withdrawn(self, attempt_id: int) -> None:
        self.entries.append(("withdrawn", attempt_id))


class NoDns:
    """For carriers that have a route for everything."""

    async def find(self, domain: str) -> MxSet | Unroutable:
        raise AssertionError(f"an MX look-up for {domain} in spite of a route")

    async def addresses(self, host: str) -> tuple[str, ...] | Unroutable:
        raise AssertionError(f"an address look-up for {host} in spite of a route")

    def known_site(self, domain: str) -> str | None:
        return None


class OneHost:
    """Every domain's MX is one host, of this site and with these addresses."""

    def __init__(self, site: str, *addresses: str) -> None:
        self._site = site
        self._addresses = addresses

    async def find(self, domain: str) -> MxSet | Unroutable:
        return MxSet(self._site, (Exchange(10, "mx.example"),))

    async def addresses(self, host: str) -> tuple[str, ...] | Unroutable:
        return self._addresses

    def known_site(self, domain: str) -> str | None:
        return self._site


def mail(content: bytes = CONTENT, *, domain: str = "example.net", **more: Any) -> Consignment:
    """A consignment with an attempt id of its own."""
    attempt_id = next(_attempt_ids)
    fields: dict[str, Any] = {
        "attempt_id": attempt_id,
        "recipient_id": attempt_id,
        "domain": domain,
        "reverse_path": "bounce@example.com",
        "forward_path": f"b@{domain}",
        "content": content,
    }
    return Consignment(**(fields | more))


def settings(routes: str = "", **more: Any) -> SmtpSettings:
    """Settings for tests: sandbox with these routes, no TLS surprises."""
    fields: dict[str, Any] = {
        "helo_name": "client.example",
        "mode": Mode.SANDBOX,
        "routes": RouteTable.parse(routes),
        "timeouts": PATIENT,
    }
    return SmtpSettings(**(fields | more))


@asynccontextmanager
async def carrier_to(
    port: int, journal: NotedJournal | None = None, *, tls: str = "none", **more: Any
) -> AsyncIterator[SmtpCarrier]:
    """A carrier whose mail all goes to 127.0.0.1:`port`; closed at the end."""
    keep = {k: more.pop(k) for k in ("connections_of",) if k in more}
    parts = {k: more.pop(f"tls_{k}") for k in ("memory", "contexts", "results") if f"tls_{k}" in more}
    carrier = SmtpCarrier(
        settings(f"*=127.0.0.1:{port};tls={tls}", **more),
        NoDns(),
        journal or NotedJournal(),
        tls=TlsParts(**parts),
        **keep,
    )
    try:
        yield carrier
    finally:
        await carrier.close(grace_seconds=0)
