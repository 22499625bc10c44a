"""A session: connected, greeted, TLS settled, logged in; ready for mail (mailer/relay/smtp/opening.py)."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field

from mailer.policy import tls
from mailer.policy.egress import Egress
from mailer.policy.outcome import Unsuitable
from mailer.policy.routing import TlsMode
from mailer.policy.tls import ANYTHING, Demand, Proof, Wish
from mailer.protocol.reply import ProtocolError
from mailer.relay.carrier import Consignment
from mailer.relay.smtp.content import Capabilities
from mailer.relay.smtp.protocol import SessionProtocol


@dataclass(frozen=True, slots=True)
class Target:
    """A host we may speak to, and how. Sessions are reused for an equal target only, and for one whose demand
    they meet.

    host        name (an MX host or a route's host), or an address literal
    from_route  its addresses come from the system's resolver and are dialled whatever they are
    demand      what an MX host must prove; a route says it in `tls`
    egress      where sessions with it leave from; None: the system's choice
    """

    host: str
    port: int
    tls: TlsMode = TlsMode.OPPORTUNISTIC
    username: str | None = None
    password: str | None = None
    from_route: bool = False
    demand: Demand = field(default=ANYTHING, compare=False)
    egress: Egress | None = None

    def __repr__(self) -> str:
        return f"Target({self.host}:{self.port} {self.tls})"  # never the password


class Session:
    """One SMTP session with one host.

    proof  what it proved of its host
    told   recipient domains whose TLS results this session stands in
    """

    __slots__ = (
        "_lost", "address", "capabilities", "egress_ip", "messages", "opened_at", "owed", "place", "proof",
        "protocol", "target", "tls", "told", "used_at",
    )  # fmt: skip

    def __init__(
        self, target: Target, address: str, protocol: SessionProtocol, offered: Capabilities, at: float
    ) -> None:
        self.target = target
        self.address = address
        self.place = place(address, target.port)
        self.protocol = protocol
        self.capabilities = offered
        self.opened_at = at
        self.used_at = at
        self.messages = 0  # transactions begun here
        self.owed = 0  # replies to our parting words after a refusal that nobody has read yet
        self.tls = describe_tls(protocol)
        self.proof = Proof()
        self.told: set[str] = set()
        self.egress_ip = local_ip(protocol)
        self._lost = asyncio.Event()
        protocol.on_lost = self._lost.set
        if protocol.transport is None:  # gone already
            self._lost.set()

    def proved(self, proof: Proof) -> None:
        """Called once, by who opened it."""
        self.proof = proof
        if self.tls is not None and proof.usage is not None:
            self.tls = self.tls.replace("verified=no", f"verified=dane-{_USAGES[proof.usage]}")

    def serves(self, target: Target) -> bool:
        """Whether it is one with this target, and proved what that demands."""
        return self.target == target and (
            target.demand is self.target.demand or tls.meets(self.proof, target.demand)
        )

    def lack(self, mail: Consignment) -> Unsuitable | None:
        """Why this mail must not go over this session as it is; None if it may."""
        if mail.tls.wish is Wish.REQUIRETLS:
            proved = self.proof.is_verified or self.proof.usage is not None
            if not (proved and self.capabilities.requiretls):
                missing = "does not offer REQUIRETLS" if proved else "did not prove who it is"
                return Unsuitable(
                    "5.7.30", f"REQUIRETLS was asked for, and the host {missing} (RFC 8689 §4.2.1)"
                )
        return self.capabilities.lack(mail)

    @property
    def is_usable(self) -> bool:
        """In step, as far as we can know: the next reply will answer the next command."""
        return self.protocol.failure is None and (bool(self.owed) or self.protocol.is_quiet)

    def discard(self, why: str = "given up") -> None:
        """Hangs up at once; what the peer still says is not heard."""
        self.protocol.transcript = None
        self.protocol.fail(ConnectionAbortedError(why))

    async def quit(self, seconds: float) -> None:
        """Leaves politely (RFC 5321 §4.1.1.10), within `seconds`. Never raises for what the peer does."""
        self.protocol.transcript = None
        try:
            async with asyncio.timeout(seconds):
                while self.owed:
                    await self.protocol.reply(seconds)
                    self.owed -= 1
                self.protocol.write(b"QUIT\r\n")
                await self.protocol.reply(seconds)
        except (OSError, ProtocolError):  # TimeoutError is one: the peer had its chance
            pass
        finally:
            self.discard()

    async def closed(self) -> None:
        """Returns when the socket is gone."""
        await self._lost.wait()


_USAGES = {2: "ta", 3: "ee"}  # RFC 7218 §2.1


def describe(error: BaseException) -> str:
    """An exception as a cause that people can read."""
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def describe_tls(protocol: SessionProtocol) -> str | None:
    """Version, cipher and whether the certificate was verified; None in clear."""
    if protocol.transport is None:
        return None
    tls = protocol.transport.get_extra_info("ssl_object")
    if tls is None:
        return None
    verified = "yes" if tls.context.verify_mode is ssl.CERT_REQUIRED else "no"
    return f"{tls.version()} {tls.cipher()[0]} verified={verified}"


def local_ip(protocol: SessionProtocol) -> str | None:
    name = protocol.transport.get_extra_info("sockname") if protocol.transport is not None else None
    return str(name[0]) if name else None


def place(address: str, port: int) -> str:
    """An address and port as people write them."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
