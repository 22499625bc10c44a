"""Opening a session: dial, greeting, EHLO, STARTTLS, AUTH.

aiosmtplib drives EHLO, STARTTLS and AUTH on our protocol. Everything that fails before MAIL is the
host's failure and not the recipient's, so it comes out as a value that names the phase, and the next
host is tried (RFC 5321 §5.1).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from aiosmtplib import SMTP
from aiosmtplib.errors import SMTPException, SMTPHeloError, SMTPResponseException
from aiosmtplib.response import SMTPResponse

from mailer.policy.outcome import Broken, Refused, Unproven
from mailer.policy.routing import TlsMode
from mailer.policy.tls import Demand, Need, Proof
from mailer.policy.tls_dane import Mismatch, authenticate
from mailer.protocol.phase import Phase
from mailer.protocol.reply import ProtocolError, Reply
from mailer.relay.smtp.content import Capabilities
from mailer.relay.smtp.handshake import TlsNotProven, chain_of, is_unproven, result_of, result_with
from mailer.relay.smtp.protocol import SessionProtocol
from mailer.relay.smtp.session import Session, Target, describe, describe_tls, local_ip, place
from mailer.relay.smtp.settings import SmtpSettings
from mailer.relay.smtp.tls import TlsContexts, TlsMemory
from mailer.relay.smtp.tls_results import SUCCESS, TlsResults
from mailer.relay.smtp.transcript import Transcript

_READY = 220


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialer:
    """What opening a session takes beside the target."""

    settings: SmtpSettings
    contexts: TlsContexts
    memory: TlsMemory
    results: TlsResults
    now: Callable[[], datetime]
    monotonic: Callable[[], float]

    async def open(self, target: Target, address: str, transcript: Transcript) -> Session | Refused | Broken:
        """A session with `target` at `address`, or why there is none. Nothing the peer does raises."""
        opening = _Opening(self, target, address, transcript)
        opened, failure = await self._run(opening)
        if isinstance(opened, Session) or not failure:
            return opened
        if target.demand.is_lenient:
            transcript.note(f"reported as {failure}; the policy is in testing, so the mail goes all the same")
            lenient = replace(target, demand=replace(target.demand, need=Need.OPPORTUNISTIC))
            again, _ = await self._run(_Opening(self, lenient, address, transcript))
            if isinstance(again, Session):
                again.proved(replace(again.proof, failure=failure))
            opened = again
        if not isinstance(opened, Session) and target.demand.published is not None:
            words = opened.cause if isinstance(opened, Broken) else opened.reply.text
            self.results.note(
                target.demand.published,
                failure,
                host=target.host,
                address=address,
                sending_ip=opening.egress_ip,
                reason=words,
            )
        return opened

    async def _run(self, opening: _Opening) -> tuple[Session | Refused | Broken, str]:
        """And the word of RFC 8460 §4.3, where it was TLS that failed; else ""."""
        try:
            return await opening.run(), ""
        except SMTPResponseException as error:
            opening.abort()
            return Refused(_reply(error), opening.phase), opening.tls_failure(error)
        except (OSError, EOFError, ProtocolError, SMTPException) as error:
            opening.abort()
            broken = Unproven if is_unproven(error) else Broken
            return broken(opening.phase, describe(error)), opening.tls_failure(error)
        except BaseException:  # cancelled: the connection must not outlive us
            opening.abort()
            raise

    def tell(self, session: Session, demand: Demand) -> None:
        """Counts a session among the TLS results of a recipient's domain, once."""
        published = demand.published
        if published is None or published.recipient in session.told:
            return
        session.told.add(published.recipient)
        self.results.note(
            published,
            result_with(session.proof, demand) or SUCCESS,
            host=session.target.host,
            address=session.address,
            sending_ip=session.egress_ip or "",
        )


class _Client(SMTP):
    """aiosmtplib's client on our protocol, at an address that was checked before."""

    def __init__(self, opening: _Opening) -> None:
        egress = opening.target.egress
        # RFC 5321 §4.1.1.1: the name of the place it leaves from, as in that address's PTR and A.
        name = opening.dialer.settings.helo_name if egress is None else egress.helo
        super().__init__(hostname=opening.target.host, local_hostname=name, start_tls=False)
        self._opening = opening

    async def _create_connection(self, timeout: float | None) -> SMTPResponse:  # noqa: ASYNC109 -- theirs
        reply = await self._opening.dial_and_be_greeted()
        self.protocol = self._opening.protocol
        self.transport = self._opening.wire.transport
        return SMTPResponse(reply.code, reply.text)


class _Opening:
    """The steps that make a session; `phase` says which one it stands at."""

    def __init__(self, dialer: Dialer, target: Target, address: str, transcript: Transcript) -> None:
        self.dialer = dialer
        self.target = target
        self.address = address
        self.transcript = transcript
        self.phase = Phase.CONNECT
        self.protocol: SessionProtocol | None = None
        self.client = _Client(self)
        self.proof = Proof()
        self.egress_ip = ""

    async def run(self) -> Session:
        await self.client.connect()
        await self._ehlo()
        if self.target.tls is TlsMode.IMPLICIT:
            self.proof = Proof(is_encrypted=True, is_verified=True)
        elif self.target.tls is TlsMode.REQUIRED:
            await self._require_tls()
        elif self.target.tls is TlsMode.OPPORTUNISTIC:
            demanded = self.target.demand.need > Need.OPPORTUNISTIC
            await (self._prove(self.target.demand) if demanded else self._try_tls())
        if self.target.username is not None:
            await self._log_in(self.target.username, self.target.password or "")
        offered = Capabilities.of(self.client.esmtp_extensions)
        session = Session(self.target, self.address, self.wire, offered, self.dialer.monotonic())
        session.proved(self.proof)
        return session

    def tls_failure(self, error: BaseException) -> str:
        """The word of RFC 8460 §4.3 if it was TLS that failed; else ""."""
        return result_of(error) if self.phase is Phase.STARTTLS else ""

    @property
    def wire(self) -> SessionProtocol:
        if self.protocol is None:
            raise ConnectionError("not connected")
        return self.protocol

    def abort(self) -> None:
        if self.protocol is not None:
            self.protocol.transcript = None
            self.protocol.fail(ConnectionAbortedError("given up"))

    async def dial_and_be_greeted(self) -> Reply:
        """RFC 5321 §3.1; the address is a literal, so nothing is resolved between check and connect."""
        loop = asyncio.get_running_loop()
        self.protocol = protocol = SessionProtocol(loop, self.transcript)
        self.transcript.note(f"connecting to {self.target.host} {place(self.address, self.target.port)}")
        seconds = self._seconds
        source = self.source
        if source is not None:
            self.transcript.note(f"from {source}")
        async with asyncio.timeout(seconds):
            await loop.create_connection(
                lambda: protocol,
                self.address,
                self.target.port,
                local_addr=(source, 0) if source else None,
                **self._implicit_tls(seconds),
            )
        self._note_tls()
        self.egress_ip = local_ip(protocol) or ""
        self.phase = Phase.GREETING
        reply = await protocol.reply(self._seconds)
        if reply.code != _READY:
            raise SMTPResponseException(reply.code, "\n".join(reply.lines))
        return reply

    @property
    def source(self) -> str | None:
        """The local address; None: the system's choice. Whoever dials has seen to it that there is one."""
        egress = self.target.egress
        return self.dialer.settings.egress_ip if egress is None else egress.source_for(self.address)

    def _implicit_tls(self, seconds: float) -> dict[str, Any]:
        """Arguments for TLS from the first octet (RFC 8314 §3.3)."""
        if self.target.tls is not TlsMode.IMPLICIT:
            return {}
        return {
            "ssl": self.dialer.contexts.verified,
            "server_hostname": self.target.host,
            "ssl_handshake_timeout": seconds,
        }

    async def _ehlo(self) -> None:
        self.phase = Phase.EHLO
        try:
            await self.client.ehlo(timeout=self._seconds)
        except SMTPHeloError as error:
            if error.code // 100 != 5 or self.wire.failure is not None:
                raise
            # RFC 5321 §3.2: a server that does not know EHLO is greeted with HELO.
            await self.client.helo(timeout=self._seconds)

    async def _require_tls(self) -> None:
        self.phase = Phase.STARTTLS
        if not self.client.supports_extension("starttls"):
            raise ConnectionError("the route requires TLS and the host does not offer STARTTLS")
        await self._start_tls(self.dialer.contexts.verified)
        self.proof = Proof(is_encrypted=True, is_verified=True)
        await self._ehlo()

    async def _prove(self, demand: Demand) -> None:
        """TLS by which the host proves what is demanded. Raises TlsNotProven, and what fails on the way."""
        self.phase = Phase.STARTTLS
        if not self.client.supports_extension("starttls"):
            raise TlsNotProven(
                "starttls-not-supported", f"{demand.by} demands TLS, and the host does not offer STARTTLS"
            )
        contexts = self.dialer.contexts
        is_verified = demand.need is Need.VERIFIED
        await self._start_tls(
            contexts.verified if is_verified else contexts.any_certificate,
            server_name=demand.names[0] if demand.names else None,
        )
        self.proof = Proof(is_encrypted=True, is_verified=is_verified)
        if demand.need is Need.DANE:
            self._match(demand)
        self.dialer.memory.note_tls(self.target.host, self.dialer.now())
        await self._ehlo()

    def _match(self, demand: Demand) -> None:
        """RFC 7672 §3: nothing but the TLSA records says whose certificate it is. Raises TlsNotProven."""
        found = authenticate(chain_of(self.wire), demand.tlsa, demand.names, self.dialer.now())
        if isinstance(found, Mismatch):
            raise TlsNotProven(found.result, f"DANE: {found.cause}")
        self.transcript.note(f"the certificate matches a TLSA record of usage {found}")
        self.proof = Proof(is_encrypted=True, usage=found, tlsa=demand.tlsa, names=demand.names)

    async def _try_tls(self) -> None:
        """STARTTLS where offered; clear text only for a host not seen with TLS for 30 days."""
        host, memory, now = self.target.host, self.dialer.memory, self.dialer.now()
        # RFC 8689 §5: whoever said TLS-Required: No has the mail in clear rather than not at all.
        seen = self.target.demand.need is not Need.OPTIONAL and memory.seen_with_tls(host, now)
        if not self.client.supports_extension("starttls"):
            if seen:
                self.phase = Phase.STARTTLS
                raise TlsNotProven(
                    "starttls-not-supported", "no STARTTLS from a host that offered it in the last 30 days"
                )
            return
        if not seen and memory.failed_before(host, now):
            self.transcript.note("in clear: an earlier handshake failed, and mail was deferred for it")
            self.proof = Proof(failure="validation-failure")
            return
        self.phase = Phase.STARTTLS
        try:
            await self._start_tls(self.dialer.contexts.any_certificate)
        except (OSError, EOFError, ProtocolError, SMTPException):
            memory.note_failure(host, now)
            raise
        memory.note_tls(host, now)
        self.proof = Proof(is_encrypted=True)
        await self._ehlo()

    async def _start_tls(self, context: ssl.SSLContext, server_name: str | None = None) -> None:
        """RFC 3207 §4; what EHLO said before is forgotten, and must be asked again (§4.2).

        server_name  for SNI (RFC 7672 §8.1); None: the host
        """
        response = await self.client.starttls(
            tls_context=context, server_hostname=server_name or self.target.host, timeout=self._seconds
        )
        if response.code != _READY:
            raise SMTPResponseException(response.code, response.message)
        self._note_tls()

    async def _log_in(self, username: str, password: str) -> None:
        """RFC 4954 §4; the route saw to it that a password does not travel in clear."""
        self.phase = Phase.AUTH
        self.wire.hides_commands = True
        await self.client.login(username, password, timeout=self._seconds)
        self.wire.hides_commands = False

    def _note_tls(self) -> None:
        if tls := describe_tls(self.wire):
            self.transcript.note(tls)

    @property
    def _seconds(self) -> float:
        return self.dialer.settings.timeouts.of(self.phase)


def _reply(error: SMTPResponseException) -> Reply:
    return Reply(error.code, tuple(error.message.split("\n")))
