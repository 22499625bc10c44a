"""A consignment as it goes on the wire: commands and content, checked so that neither can be forged."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from mailer.policy.outcome import Unsuitable
from mailer.policy.tls import Wish
from mailer.protocol.xtext import address_text, xtext
from mailer.relay.carrier import Asked, Consignment

_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the peer's EHLO offered.

    size  octets it takes at most; 0: offered without a limit; None: not offered (RFC 1870 §4)
    """

    pipelining: bool = False
    size: int | None = None
    eightbit: bool = False
    smtputf8: bool = False
    dsn: bool = False
    requiretls: bool = False
    chunking: bool = False

    @classmethod
    def of(cls, extensions: dict[str, str]) -> Capabilities:
        """extensions: EHLO keywords in lower case and their parameters."""
        size = extensions.get("size")
        return cls(
            pipelining="pipelining" in extensions,
            size=None if size is None else int(size) if size.isascii() and size.isdigit() else 0,
            eightbit="8bitmime" in extensions,
            smtputf8="smtputf8" in extensions,
            dsn="dsn" in extensions,
            requiretls="requiretls" in extensions,
            chunking="chunking" in extensions,
        )

    def lack(self, mail: Consignment) -> Unsuitable | None:
        """Why this peer cannot take this mail as it is; None if it can."""
        octets = len(mail.content)
        if self.size and octets > self.size:
            # RFC 1870 §6.1 (2): told before, the octets need not travel.
            return Unsuitable("5.3.4", f"{octets} octets, the peer takes {self.size}")
        if mail.needs_utf8 and not self.smtputf8:
            return Unsuitable("5.6.7", "the peer does not offer SMTPUTF8 (RFC 6531 §3.5)")
        if mail.is_8bit and not self.eightbit:
            return Unsuitable("5.6.3", "the peer does not offer 8BITMIME (RFC 6152 §3)")
        return None


@dataclass(frozen=True, slots=True)
class Wire:
    """A consignment's octets, made and checked once an attempt.

    content  stuffed, with the final dot
    """

    mail: Consignment
    content: bytes

    @classmethod
    def of(cls, mail: Consignment) -> Wire:
        """Raises ValueError for content or paths that would break out of their place in the dialogue."""
        paths = mail.reverse_path + mail.forward_path
        if _CONTROLS.search(paths):
            raise ValueError("a path with control characters")
        if not (mail.needs_utf8 or paths.isascii()):
            raise ValueError("a path in UTF-8 that was not declared")
        return cls(mail, _stuffed(mail.content))

    @property
    def chunk(self) -> bytes:
        """The content for BDAT: as it is, and like that for DATA with a line end at its end."""
        content = self.mail.content
        return content if content.endswith(b"\r\n") else content + b"\r\n"

    def envelope(self, offered: Capabilities) -> tuple[str, str, str]:
        """MAIL with the parameters the peer offered (RFC 5321 §4.1.1.2), RCPT, and DATA."""
        mail = self.mail
        size = "" if offered.size is None else f" SIZE={len(mail.content)}"
        body = " BODY=8BITMIME" if mail.is_8bit else ""
        utf8 = " SMTPUTF8" if mail.needs_utf8 else ""
        requiretls = " REQUIRETLS" if mail.tls.wish is Wish.REQUIRETLS and offered.requiretls else ""
        # RFC 3461 §5.2.2: to a host without the extension nothing of it is said.
        of_mail, of_rcpt = _dsn_parameters(mail.asked) if mail.asked and offered.dsn else ("", "")
        return (
            f"MAIL FROM:<{mail.reverse_path}>{size}{body}{utf8}{requiretls}{of_mail}",
            f"RCPT TO:<{mail.forward_path}>{of_rcpt}",
            "DATA",
        )

    def passes_on(self, offered: Capabilities) -> bool:
        """Whether this peer is told when the submitter wants a DSN, and so becomes answerable for them."""
        return offered.dsn and self.mail.asked is not None and self.mail.asked.notify is not None


def _dsn_parameters(asked: Asked) -> tuple[str, str]:
    """Of MAIL and of RCPT: what was said to us, and nothing that was not (RFC 3461 §5.2.1)."""
    kind, _, address = (asked.orcpt or "").partition(";")
    of_mail = {"RET": asked.ret, "ENVID": asked.envid and xtext(asked.envid)}
    of_rcpt = {"NOTIFY": asked.notify, "ORCPT": asked.orcpt and f"{kind};{address_text(kind, address)}"}
    return _parameters(of_mail), _parameters(of_rcpt)


def _parameters(given: Mapping[str, str | None]) -> str:
    return "".join(f" {keyword}={value}" for keyword, value in given.items() if value)


def _stuffed(content: bytes) -> bytes:
    """Content with dots doubled and the final dot behind it (RFC 5321 §4.5.2).

    Raises ValueError for a bare CR or LF: some servers take "LF . LF" for the end, and what follows for
    the next command (SMTP smuggling; RFC 5321 §2.3.8 forbids both).
    """
    lines = content.count(b"\r\n")
    if content.count(b"\n") != lines or content.count(b"\r") != lines:
        raise ValueError("content with a bare CR or LF")
    if b"\n." in content:
        content = content.replace(b"\r\n.", b"\r\n..")
    if content.startswith(b"."):
        content = b"." + content
    return content + (b".\r\n" if content.endswith(b"\r\n") else b"\r\n.\r\n")
