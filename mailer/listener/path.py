"""Reverse-paths and forward-paths as MAIL and RCPT give them (RFC 5321 §4.1.2, RFC 6531 §3.3). Pure."""

from __future__ import annotations

import ipaddress
import re

import msgspec

_LOCAL_OCTETS = 64  # RFC 5321 §4.5.3.1.1
_DOMAIN_OCTETS = 255  # RFC 5321 §4.5.3.1.2
_PATH_OCTETS = 256  # RFC 5321 §4.5.3.1.3, the angle brackets included
_LABEL_OCTETS = 63  # RFC 1035 §2.3.4

_UTF8 = "\x80-\U0010ffff"
_ATOM = rf"[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~{_UTF8}-]+"
_QUOTED = rf'"(?:[ !#-\[\]-~{_UTF8}]|\\[ -~])*"'
_LOCAL = rf"{_ATOM}(?:\.{_ATOM})*|{_QUOTED}"
_LABEL = rf"[A-Za-z0-9{_UTF8}](?:[A-Za-z0-9{_UTF8}-]*[A-Za-z0-9{_UTF8}])?"
_DOMAIN = rf"{_LABEL}(?:\.{_LABEL})*"
_LITERAL = r"\[(?:[0-9.]{7,15}|[Ii][Pp][Vv]6:[0-9A-Fa-f:.]{2,45})\]"
_MAILBOX = rf"(?P<local>{_LOCAL})@(?P<domain>{_DOMAIN}|{_LITERAL})"
# RFC 5321 §4.1.1.3: a source route is taken and ignored.
_BRACKETED = re.compile(rf"<(?:@{_DOMAIN}(?:,@{_DOMAIN})*:)?{_MAILBOX}>")
# Without brackets it is no path, yet printers and scripts send it, and it can be read in one way only.
_BARE = re.compile(rf"{_MAILBOX}(?= |\Z)")
_PLAIN = re.compile(r"<([A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,64})@([A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
                    r"(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?){0,2})>")  # fmt: skip
_POSTMASTER = re.compile(r"<(postmaster)>", re.IGNORECASE)
_JOINERS = re.compile("[\u200c\u200d]")  # invisible, and needed to spell Persian and Indic names


class PathError(ValueError):
    """The text does not begin with a path. The message is a sentence and repeats nothing of the text."""


class Path(msgspec.Struct, frozen=True):
    """A mailbox as it stood on the wire.

    local   quoted where the client quoted it; "" in the null reverse-path
    domain  a name, or an address literal with its brackets; "" in the null reverse-path and in <postmaster>
    """

    local: str
    domain: str

    @property
    def text(self) -> str:
        """What stands between the angle brackets."""
        return f"{self.local}@{self.domain}" if self.domain else self.local

    @property
    def is_null(self) -> bool:
        """MAIL FROM:<>, which notifications bear (RFC 5321 §4.5.5)."""
        return not self.local

    @property
    def needs_utf8(self) -> bool:
        """May stand only in a transaction with SMTPUTF8 (RFC 6531 §3.2)."""
        return not (self.local.isascii() and self.domain.isascii())


NULL_PATH = Path("", "")


def reverse_path(text: str) -> tuple[Path, str]:
    """The path that `text` begins with, and what follows it. Raises PathError."""
    if text.startswith("<>"):
        return NULL_PATH, text[2:]
    return _mailbox(text)


def forward_path(text: str) -> tuple[Path, str]:
    """The same for RCPT, where <postmaster> needs no domain (RFC 5321 §4.1.1.3) and <> is none."""
    postmaster = _POSTMASTER.match(text)
    if postmaster is not None:
        return Path(postmaster[1], ""), text[postmaster.end() :]
    return _mailbox(text)


def _mailbox(text: str) -> tuple[Path, str]:
    plain = _PLAIN.match(text)
    if plain is not None:
        return Path(plain[1], plain[2]), text[plain.end() :]
    found = (_BRACKETED if text.startswith("<") else _BARE).match(text)
    if found is None:
        raise PathError("Syntax error in the address")
    path = Path(found["local"], found["domain"])
    _check_lengths(path)
    if path.domain.startswith("["):
        _check_literal(path.domain[1:-1])
    if path.needs_utf8 and not _JOINERS.sub("", path.text).isprintable():
        raise PathError("The address holds a character that cannot be seen")
    return path, text[found.end() :]


def _check_lengths(path: Path) -> None:
    """In octets of UTF-8 (RFC 6531 §3.3)."""
    local, domain = len(path.local.encode()), len(path.domain.encode())
    if local > _LOCAL_OCTETS:
        raise PathError(f"The local part is longer than {_LOCAL_OCTETS} octets")
    if domain > _DOMAIN_OCTETS:
        raise PathError(f"The domain is longer than {_DOMAIN_OCTETS} octets")
    if local + 1 + domain + 2 > _PATH_OCTETS:
        raise PathError(f"The path is longer than {_PATH_OCTETS} octets")
    labels = path.domain.split(".") if path.domain.isascii() and not path.domain.startswith("[") else []
    if any(len(label) > _LABEL_OCTETS for label in labels):
        raise PathError(f"A label of the domain is longer than {_LABEL_OCTETS} octets")


def _check_literal(literal: str) -> None:
    """RFC 5321 §4.1.3, of which the general form is not taken: no tag of that kind was ever registered."""
    try:
        if literal[:5].upper() == "IPV6:":
            ipaddress.IPv6Address(literal[5:])
        else:
            ipaddress.IPv4Address(literal)
    except ValueError:
        raise PathError("Syntax error in the address literal") from None
