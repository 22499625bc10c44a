"""Simulated providers as real SMTP servers on loopback: what a running product is pointed at.

Each provider has a port of its own. They keep no mail; what they saw is counted.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path as FilePath

from mailer import clock
from mailer.listener import (
    Limits,
    Listener,
    MailParameters,
    Path,
    RcptParameters,
    Rules,
    ServerReply,
    Session,
    Transaction,
    Unanswered,
    network_of,
)
from mailer.listener.certificate import server_context
from mailer.listener.conversation import Conversation
from mailer.protocol.enhanced import EnhancedStatus
from mailer.protocol.phase import Phase
from mailer.protocol.reply import Reply
from mailer.simulate.behaviour import Moment, Silence
from mailer.simulate.provider import Provider
from mailer.simulate.script import Script
from mailer.simulate.world import World

_LIMITS = Limits(
    text_line_octets=0,
    messages=1_000_000,
    connections=5000,
    connections_per_peer=5000,
    session_seconds=86_400.0,
)
_REMEMBERED = 1_000_000
_STOP_SECONDS = 2.0
_OK = ServerReply(250, EnhancedStatus(2, 0, 0), "OK")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a provider listens, and for which domains."""

    provider: str
    domains: tuple[str, ...]
    host: str
    port: int

    @property
    def routes(self) -> str:
        """As MAILER_ROUTES has it."""
        return ", ".join(f"{domain}={self.host}:{self.port}" for domain in self.domains)


class _Desk:
    """One provider's side of mail transactions."""

    def __init__(self, provider: Provider, elapsed: Callable[[], float], seen: Counter[str]) -> None:
        self._provider = provider
        self._elapsed = elapsed
        self._seen = seen
        self._first_seen: OrderedDict[tuple[str, str, str], float] = OrderedDict()

    async def mail(self, session: Session, reverse_path: Path, parameters: MailParameters) -> ServerReply:
        return await self._answer(session.peer, Phase.MAIL)

    async def rcpt(self, session: Session, forward_path: Path, parameters: RcptParameters) -> ServerReply:
        sender = "" if session.sender is None else session.sender.text
        key = (network_of(session.peer), sender, forward_path.text)
        first = self._first_seen.setdefault(key, self._elapsed())
        while len(self._first_seen) > _REMEMBERED:
            self._first_seen.popitem(last=False)
        return await self._answer(session.peer, Phase.RCPT, first_seen=first)

    async def take(self, session: Session, transaction: Transaction) -> ServerReply:
        transaction.give_content()
        answer = await self._answer(session.peer, Phase.END_OF_DATA)
        if answer.is_positive:
            self._provider.accepted(session.peer, self._elapsed())
            self._seen["accepted"] += 1
        return answer

    async def _answer(self, ip: str, phase: Phase, *, first_seen: float | None = None) -> ServerReply:
        """Raises Unanswered."""
        if silence := self._provider.pause(phase, self._elapsed()):
            await asyncio.sleep(silence)
        return self.at(ip, phase, first_seen=first_seen) or _OK

    def at(
        self, ip: str, phase: Phase, *, first_seen: float | None = None, connections: int = 1
    ) -> ServerReply | None:
        """The provider's refusal, if it refuses. Raises Unanswered."""
        moment = Moment(
            now=self._elapsed(),
            ip=ip,
            phase=phase,
            first_seen=first_seen,
            connections=connections,
            draw=clock.draw,
        )
        answer = self._provider.answer(moment)
        if answer is None:
            return None
        self._seen["refused for rate" if answer[1] else "refused"] += 1
        if isinstance(answer[0], Silence):
            raise Unanswered
        return _spoken(answer[0])


class _Door(Listener):
    """Asks the provider before it greets."""

    def __init__(self, rules: Rules, desk: _Desk) -> None:
        super().__init__(rules)
        self._desk = desk
        self._open: Counter[str] = Counter()
        self._inside: dict[Conversation, str] = {}

    def admit(self, conversation: Conversation) -> ServerReply | None:
        """Raises Unanswered: nobody is there."""
        refusal = super().admit(conversation)
        if refusal is not None:
            return refusal
        ip = conversation.talk.peer
        self._inside[conversation] = ip
        self._open[ip] += 1
        return self._desk.at(ip, Phase.GREETING, connections=self._open[ip])

    def forget(self, conversation: Conversation) -> None:
        super().forget(conversation)
        ip = self._inside.pop(conversation, None)
        if ip is not None:
            self._open[ip] -= 1


class Sink:
    """All providers of a script. Lives on one event loop; the script begins when it is made."""

    def __init__(self, script: Script, seed: int, tls_folder: FilePath) -> None:
        """tls_folder: of the certificate, which is made at first. Raises OSError."""
        self._script = script
        self._world = World(script, seed)
        self._began = clock.monotonic()
        self._tls_folder = tls_folder
        self._doors: list[_Door] = []
        self.seen: dict[str, Counter[str]] = {part.name: Counter() for part in script.parts}

    async def listen(self, host: str, first_port: int) -> list[Place]:
        """Each provider on the next port from `first_port` on; 0: on any free one. Raises OSError."""
        places = []
        for number, part in enumerate(self._script.parts):
            desk = _Desk(self._world.provider(part.name), self._elapsed, self.seen[part.name])
            rules = Rules(host=part.mx, desk=desk, tls=self._tls(part.tls, part.mx), limits=_LIMITS)
            door = _Door(rules, desk)
            self._doors.append(door)
            port = await door.listen(host, first_port and first_port + number)
            places.append(Place(part.name, part.domains, host, port))
        return places

    async def close(self) -> None:
        """Ends all sessions."""
        for door in self._doors:
            await door.close(_STOP_SECONDS)

    def _elapsed(self) -> float:
        return clock.monotonic() - self._began

    def _tls(self, how: str, host: str) -> Callable[[], ssl.SSLContext] | None:
        match how:
            case "none":
                return None
            case "broken":
                # Without a certificate there is no cipher to agree on: the handshake fails.
                return lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            case _:
                context = server_context(self._tls_folder, host, clock.now(), name=f"simulate-{host}")
                return lambda: context


def _spoken(reply: Reply) -> ServerReply:
    """A script's reply as our listener gives it; scripts are checked to bear a status."""
    status = EnhancedStatus.find(reply.text, reply.code)
    if status is None:
        return ServerReply(reply.code, None, reply.text)
    return ServerReply(reply.code, status, reply.text.partition(" ")[2])
