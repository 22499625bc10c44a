"""AUTH: any user name, an API key as password (RFC 4954)."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from mailer.accept.credentials import Authenticator
from mailer.accept.smtp.sessions import KeySessions
from mailer.accept.submission import Fault, SubmissionError
from mailer.listener import Granted, ServerReply, Session, network_of, reply

_log = structlog.get_logger(__name__)

_BAD = reply(535, "5.7.8", "The password is not a good API key")
_AWAY = reply(454, "4.7.0", "The key cannot be checked at the moment; try again later")
_TOO_OFTEN = reply(421, "4.7.0", "Too many failed authentications from your address; try again later")
# RFC 4954 §6. Not 421: clients that try their next mechanism would report a lost connection, and no reason.
_TOO_MANY = reply(454, "4.7.0", "Too many sessions with this API key at once; try again later")
_FORGIVEN_SECONDS = 600.0
_MOST_FAILURES = 50  # of one peer within that time; each further one ends its connection
_FIRST_PAUSE_SECONDS = 0.25  # doubled with every further failure
_LONGEST_PAUSE_SECONDS = 4.0
_PEERS_KEPT = 10_000


@dataclass(slots=True)
class _Failures:
    count: int
    last_at: float


class KeyLogin:
    """Lives on one event loop. Guessing is slowed down by peer address (of IPv6: by /64), whatever connection
    it comes by.

    A good key is let in whatever its address did before: behind it may be many programs of one host, of which
    one has a key that was revoked, and no number of guesses finds 256 bits.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        monotonic: Callable[[], float],
        sessions: KeySessions | None = None,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """What judges AUTH.

        sessions  how many of one key there may be; None: any number
        sleep     what a failure is made to cost
        """
        self._authenticator = authenticator
        self._sessions = sessions or KeySessions(0)
        self._monotonic = monotonic
        self._sleep = sleep
        self._failures: OrderedDict[str, _Failures] = OrderedDict()

    async def authenticate(self, user: str, secret: str, session: Session) -> Granted | ServerReply:
        """The user name is not used: the key says whose it is."""
        try:
            identity = await self._authenticator.identify(f"Bearer {secret}")
        except SubmissionError as error:
            if error.fault is not Fault.UNAUTHENTICATED:
                return _AWAY
            peer = network_of(session.peer)
            pause = self._failed(peer)
            _log.warning("smtp.auth_refused", reason=error.detail, pause=pause)
            await self._sleep(pause)
            return _TOO_OFTEN if self._count(peer) > _MOST_FAILURES else _BAD
        self._failures.pop(network_of(session.peer), None)
        leave = self._sessions.enter(identity.key_id)
        if leave is None:
            _log.warning("smtp.too_many_sessions", tenant_id=identity.tenant_id, key_id=identity.key_id)
            return _TOO_MANY
        if session.tls is None:
            _log.warning("smtp.auth_in_clear", tenant_id=identity.tenant_id, key_id=identity.key_id)
        return Granted(identity, leave)

    def _count(self, peer: str) -> int:
        failures = self._failures.get(peer)
        if failures is None or self._monotonic() - failures.last_at > _FORGIVEN_SECONDS:
            return 0
        return failures.count

    def _failed(self, peer: str) -> float:
        """Seconds that this failure costs."""
        count = self._count(peer) + 1
        self._failures[peer] = _Failures(count, self._monotonic())
        self._failures.move_to_end(peer)
        if len(self._failures) > _PEERS_KEPT:
            self._failures.popitem(last=False)
        return min(_FIRST_PAUSE_SECONDS * 2.0 ** min(count - 1, 10), _LONGEST_PAUSE_SECONDS)
