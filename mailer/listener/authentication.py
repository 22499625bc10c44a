"""AUTH PLAIN and AUTH LOGIN (RFC 4954 §4, RFC 4616 §2; LOGIN: draft-murchison-sasl-login-00)."""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode

from mailer.listener.limits import Limits
from mailer.listener.reply import (
    AUTH_LINE_TOO_LONG,
    TOO_MANY_FAILURES,
    Hangup,
    ServerReply,
    reply,
)
from mailer.listener.seam import Credentials, Granted, Session
from mailer.listener.wire import LineTooLong, Wire

_GRANTED = reply(235, "2.7.0", "Authentication succeeded")
_CANCELLED = reply(501, "5.7.0", "Authentication cancelled")
_NOT_BASE64 = reply(501, "5.5.2", "Not base64")
_NOT_PLAIN = reply(501, "5.5.2", "Not the three parts of PLAIN")
_NOT_UTF8 = reply(501, "5.5.2", "User name or password is not UTF-8")
_INVALID = reply(535, "5.7.8", "Authentication credentials invalid")
_UNKNOWN_MECHANISM = reply(504, "5.5.4", "Authentication mechanism not supported")
_SYNTAX = reply(501, "5.5.4", "Syntax: AUTH mechanism [initial-response]")


class _Refused(Exception):
    """The exchange is over without anyone's credentials having been looked at."""

    def __init__(self, reply: ServerReply) -> None:
        super().__init__(reply.code)
        self.reply = reply


class Authentication:
    """The attempts of one session. Secrets pass through; none is kept or logged."""

    def __init__(self, credentials: Credentials, session: Session, wire: Wire, limits: Limits) -> None:
        self._credentials = credentials
        self._session = session
        self._wire = wire
        self._limits = limits
        self._failures = 0

    async def run(self, arg: str) -> ServerReply:
        """The reply to `AUTH arg`. Raises Hangup at the last failure allowed, and what `Wire.line` raises."""
        try:
            user, secret = await self._exchange(arg)
            answer: Granted | ServerReply = _INVALID
            if user:
                answer = await self._credentials.authenticate(user, secret, self._session)
        except _Refused as refused:
            answer = refused.reply
        if isinstance(answer, Granted):
            self._session.identity, self._session.on_leave = answer.identity, answer.on_leave
            return _GRANTED
        self._failures += answer.code >= 500
        if self._failures >= self._limits.auth_failures:
            raise Hangup(TOO_MANY_FAILURES)
        return answer

    async def _exchange(self, arg: str) -> tuple[str, str]:
        """User name and password. Raises _Refused."""
        words = arg.split(" ")
        if not words[0] or len(words) > 2:
            raise _Refused(_SYNTAX)
        initial = words[1] if len(words) == 2 else None
        match words[0].upper():
            case "PLAIN":
                octets = await self._ask(b"") if initial is None else _decode_initial(initial)
                return _split_plain(octets)
            case "LOGIN":
                user = await self._ask(b"Username:") if initial is None else _decode_initial(initial)
                return _text(user), _text(await self._ask(b"Password:"))
        raise _Refused(_UNKNOWN_MECHANISM)

    async def _ask(self, challenge: bytes) -> bytes:
        self._wire.say(b"334 " + b64encode(challenge) + b"\r\n")
        until = self._wire.now() + self._limits.idle_seconds
        try:
            line = await self._wire.line(self._limits.auth_line_octets, until)
        except LineTooLong:
            raise _Refused(AUTH_LINE_TOO_LONG) from None
        if line == b"*":
            raise _Refused(_CANCELLED)
        return _decode(line)


def _decode_initial(text: str) -> bytes:
    """RFC 4954 §4: "=" is an initial response of no octets."""
    return b"" if text == "=" else _decode(text.encode())


def _decode(text: bytes) -> bytes:
    try:
        return b64decode(text, validate=True)
    except binascii.Error:
        raise _Refused(_NOT_BASE64) from None


def _split_plain(octets: bytes) -> tuple[str, str]:
    """RFC 4616 §2. Acting for somebody else (an authorization identity of another name) is nobody's right."""
    parts = octets.split(b"\0")
    if len(parts) != 3:
        raise _Refused(_NOT_PLAIN)
    acts_for, user, secret = (_text(part) for part in parts)
    if acts_for not in {"", user}:
        raise _Refused(_INVALID)
    return user, secret


def _text(octets: bytes) -> str:
    try:
        return octets.decode()
    except UnicodeDecodeError:
        raise _Refused(_NOT_UTF8) from None
