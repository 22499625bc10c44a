"""The parameters of MAIL and RCPT (RFC 5321 §4.1.1.11), read into types. Pure."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from mailer.listener.reply import ServerReply, reply

_KEYWORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
_VALUE = re.compile("[!-<>-~\x80-\U0010ffff]+")  # with UTF-8 after SMTPUTF8 (RFC 6531 §3.3)
_SIZE = re.compile(r"[0-9]{1,20}")  # RFC 1870 §5
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*")  # RFC 3461 §4
_HEX = re.compile(r"\+([0-9A-F]{2})")
_UTF8_XTEXT = re.compile(r"(?:[!-*,-<>-\[\]-~\x80-\U0010ffff]|\\x\{[0-9A-F]{2,6}\})*")  # RFC 6533 §3
_CODE_POINT = re.compile(r"\\x\{([0-9A-F]{2,6})\}")
_ADDR_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
_MAIL_KEYWORDS = frozenset({"SIZE", "BODY", "SMTPUTF8", "RET", "ENVID", "AUTH", "REQUIRETLS"})
_RCPT_KEYWORDS = frozenset({"NOTIFY", "ORCPT"})
_ENVID_CHARS = 100  # RFC 3461 §4.4
_ORCPT_CHARS = 500  # RFC 3461 §4.2

_T = TypeVar("_T")


class Body(enum.StrEnum):
    """RFC 6152 §2."""

    SEVEN_BIT = "7BIT"
    EIGHT_BIT = "8BITMIME"


class Ret(enum.StrEnum):
    """How much of the message a failure notification returns (RFC 3461 §4.3)."""

    FULL = "FULL"
    HEADERS = "HDRS"


class Notify(enum.StrEnum):
    """When the sender wants a DSN (RFC 3461 §4.1)."""

    NEVER = "NEVER"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    DELAY = "DELAY"


@dataclass(frozen=True, slots=True, kw_only=True)
class MailParameters:
    """size: octets that the client announces, None if it does not (RFC 1870 §5).

    body   None if not said, which means 7BIT
    ret    None if not said
    envid  decoded, printable; None if not said
    auth   decoded: who submitted it first; "<>" for nobody known (RFC 4954 §5); None if not said
    requiretls  it may only go on over verified TLS to hosts that do the same (RFC 8689 §2)
    """

    size: int | None = None
    body: Body | None = None
    smtputf8: bool = False
    ret: Ret | None = None
    envid: str | None = None
    auth: str | None = None
    requiretls: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RcptParameters:
    """notify: empty if not said. orcpt: address type in lower case and address, decoded; None if not said."""

    notify: frozenset[Notify] = frozenset()
    orcpt: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Takes:
    """Which parameters are understood: AUTH (RFC 4954 §5); RET, ENVID, NOTIFY, ORCPT; REQUIRETLS."""

    auth: bool
    dsn: bool
    requiretls: bool


NO_MAIL_PARAMETERS = MailParameters()
NO_RCPT_PARAMETERS = RcptParameters()


class ParameterError(Exception):
    """reply says what is wrong with the parameters."""

    def __init__(self, reply: ServerReply) -> None:
        super().__init__(reply.text)
        self.reply = reply


def mail_parameters(
    text: str, *, takes_auth: bool, takes_dsn: bool = True, takes_requiretls: bool = False
) -> MailParameters:
    """text  what follows the path, from its space on. Raises ParameterError.

    takes_auth  whether AUTH= is understood (RFC 4954 §5)
    takes_requiretls
                whether REQUIRETLS is: over TLS only (RFC 8689 §2)
    """
    if not text:
        return NO_MAIL_PARAMETERS
    given = _split(text, _MAIL_KEYWORDS)
    if "AUTH" in given and not takes_auth:
        raise _unknown("AUTH")
    if "REQUIRETLS" in given and not takes_requiretls:
        raise _unknown("REQUIRETLS")
    _check_dsn(given, takes_dsn)
    return MailParameters(
        size=_given(given, "SIZE", _size),
        body=_given(given, "BODY", _body),
        smtputf8=_given(given, "SMTPUTF8", partial(_flag, "SMTPUTF8")) or False,
        ret=_given(given, "RET", _ret),
        envid=_given(given, "ENVID", _envid),
        auth=_given(given, "AUTH", _auth),
        requiretls=_given(given, "REQUIRETLS", partial(_flag, "REQUIRETLS")) or False,
    )


def rcpt_parameters(text: str, *, is_utf8: bool, takes_dsn: bool = True) -> RcptParameters:
    """is_utf8: the transaction's MAIL said SMTPUTF8. Raises ParameterError."""
    if not text:
        return NO_RCPT_PARAMETERS
    if not is_utf8 and not text.isascii():
        raise _malformed("A parameter is not ASCII")
    given = _split(text, _RCPT_KEYWORDS)
    _check_dsn(given, takes_dsn)
    return RcptParameters(
        notify=_given(given, "NOTIFY", _notify) or frozenset(), orcpt=_given(given, "ORCPT", _orcpt)
    )


def _check_dsn(given: Mapping[str, str | None], takes_dsn: bool) -> None:
    """RFC 3461 §4: what is not done must not be taken."""
    for keyword in ("RET", "ENVID", "NOTIFY", "ORCPT"):
        if keyword in given and not takes_dsn:
            raise _unknown(keyword)


def _split(text: str, known: frozenset[str]) -> dict[str, str | None]:
    """Values by keyword in upper case; None for a keyword alone."""
    given: dict[str, str | None] = {}
    if not text.startswith(" "):
        raise _malformed("A space must follow the address")
    for parameter in text.split():
        keyword, equals, value = parameter.partition("=")
        name = keyword.upper()
        if not _KEYWORD.fullmatch(keyword) or (equals and not _VALUE.fullmatch(value)):
            raise _malformed("Syntax error in a parameter")
        if name in given:
            raise _malformed("A parameter stands there twice")
        if name not in known:
            raise _unknown(name)
        given[name] = value if equals else None
    return given


def _given(given: Mapping[str, str | None], name: str, read: Callable[[str | None], _T]) -> _T | None:
    return read(given[name]) if name in given else None


def _unknown(name: str) -> ParameterError:
    return ParameterError(reply(555, "5.5.4", f"Parameter {name[:40]} not recognised"))


def _malformed(text: str) -> ParameterError:
    return ParameterError(reply(501, "5.5.4", text))


def _size(value: str | None) -> int:
    if value is None or not _SIZE.fullmatch(value):
        raise _malformed("SIZE is a number of octets")
    return int(value)


def _body(value: str | None) -> Body:
    try:
        return Body((value or "").upper())
    except ValueError:
        raise _malformed("BODY is 7BIT or 8BITMIME") from None


def _flag(name: str, value: str | None) -> bool:
    if value is not None:
        raise _malformed(f"{name} takes no value")
    return True


def _ret(value: str | None) -> Ret:
    try:
        return Ret((value or "").upper())
    except ValueError:
        raise _malformed("RET is FULL or HDRS") from None


def _envid(value: str | None) -> str:
    if value is None or len(value) > _ENVID_CHARS:
        raise _malformed(f"ENVID has 1 to {_ENVID_CHARS} characters")
    return _decode_xtext(value, "ENVID")


def _auth(value: str | None) -> str:
    if value is None:
        raise _malformed("AUTH needs a value")
    return _decode_xtext(value, "AUTH")


def _notify(value: str | None) -> frozenset[Notify]:
    try:
        asked = frozenset(Notify(word.upper()) for word in (value or "").split(","))
    except ValueError:
        raise _malformed("NOTIFY is NEVER, or some of SUCCESS, FAILURE, DELAY") from None
    if Notify.NEVER in asked and len(asked) > 1:
        raise _malformed("NOTIFY=NEVER stands alone")
    return asked


def _orcpt(value: str | None) -> tuple[str, str]:
    kind, semicolon, address = (value or "").partition(";")
    if not semicolon or not address or len(value or "") > _ORCPT_CHARS or not _ADDR_TYPE.fullmatch(kind):
        raise _malformed("ORCPT has the form type;address")
    if kind.lower() == "utf-8":
        return "utf-8", _decode_utf8_xtext(address)
    return kind.lower(), _decode_xtext(address, "ORCPT")


def _decode_xtext(value: str, name: str) -> str:
    """It may end up in a header field of a DSN: printable ASCII only, also after decoding (RFC 3461 §4.4)."""
    if not _XTEXT.fullmatch(value):
        raise _malformed(f"{name} is not xtext")
    text = _HEX.sub(lambda pair: chr(int(pair[1], 16)), value)
    if not (text.isascii() and text.isprintable()):
        raise _malformed(f"{name} holds a character that is not printable")
    return text


def _decode_utf8_xtext(value: str) -> str:
    """RFC 6533 §3: characters stand as they are or as \\x{code point}."""
    if not _UTF8_XTEXT.fullmatch(value):
        raise _malformed("ORCPT is not utf-8-addr-xtext")
    try:
        text = _CODE_POINT.sub(lambda point: chr(int(point[1], 16)), value)
    except (ValueError, OverflowError):
        raise _malformed("ORCPT names no character") from None
    if not text.isprintable():
        raise _malformed("ORCPT holds a character that is not printable")
    return text
