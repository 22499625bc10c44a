"""A session: connected, greeted, TLS settled, logged in; ready for mail (mailer/relay/smtp/opening.py)."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass

from mailer.policy.routing import TlsMode
from mailer.protocol.reply import ProtocolError
from mailer.relay.smtp.content import Capabilities
from mailer.relay.smtp.protocol import SessionProtocol


@dataclass(frozen=True, slots=True)
class Target:
    """A host we may speak to, and how. Sessions are reused for an equal target only.

    host        name (an MX host or a route's host), or an address literal
    from_route  its addresses come from the system's resolver and are dialled whatever they are
    """

    host: str
    port: int
    tls: TlsMode = TlsMode.OPPORTUNISTIC
    username: str | None = None
    password: str | None = None
    from_route: bool = False

    def __repr__(self) -> str:
        return f"Target({self.host}:{self.port} {self.tls})"  # never the password


class Session:
    """One SMTP session with one host."""

    __slots__ = (
        "_lost", "address", "capabilities", "egress_ip", "messages", "opened_at", "owed", "place",
        "protocol", "target", "tls", "used_at",
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
        self.egress_ip = _local_ip(protocol)
        self._lost = asyncio.Event()
        protocol.on_lost = self._lost.set
        if protocol.transport is None:  # gone already
            self._lost.set()

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


def _local_ip(protocol: SessionProtocol) -> str | None:
    name = protocol.transport.get_extra_info("sockname") if protocol.transport is not None else None
    return str(name[0]) if name else None


def place(address: str, port: int) -> str:
    """An address and port as people write them."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
