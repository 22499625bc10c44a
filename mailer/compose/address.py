"""Mailboxes: who a message is from and for (RFC 5322 §3.4, RFC 5321 §4.1.2, RFC 6531 §3.3).

One mailbox at a time, as forms and APIs give it. Groups, comments, source routes and address
literals are legal in a header and have no place in a request to send: they are refused, by name.
"""

from __future__ import annotations

import re
import unicodedata

import idna
import msgspec
from msgspec.structs import replace

_LOCAL_OCTETS = 64  # RFC 5321 §4.5.3.1.1
_DOMAIN_OCTETS = (
    253  # RFC 5321 §4.5.3.1.2 says 255; a name as text fits a DNS message up to 253 (RFC 1035 §2.3.4)
)
_ADDR_SPEC_OCTETS = 254  # RFC 5321 §4.5.3.1.3: a path is 256 with its angle brackets
_NAME_CHARS = 998  # a display name longer than a line of mail is a mistake or an attack
_TEXT_CHARS = 8192

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
# The last label holds a letter: 192.0.2.1 without brackets is a typing error, not a domain (RFC 3696 §2).
_LAST_LABEL = r"(?=[0-9-]*[A-Za-z])" + _LABEL
_DOT_ATOM = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_DOMAIN = re.compile(rf"(?:{_LABEL}\.)+{_LAST_LABEL}")
_ORDINARY = re.compile(rf"({_DOT_ATOM.pattern})@({_DOMAIN.pattern})")
_ORDINARY_DOMAIN_CHARS = _ADDR_SPEC_OCTETS - 1 - _LOCAL_OCTETS  # up to here no sum of lengths is too long
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_NAME_AND_ANGLE = re.compile(r'("(?:[^"\\]|\\.)*"[ \t]*|[^<"]*)<(.*)>')
_QUOTED_PAIR = re.compile(r"\\(.)")
_NEEDS_BACKSLASH = re.compile(r'(["\\])')
_AMBIGUOUS_IN_PHRASE = re.compile(r'[<>",;:\\]')
_ATOM_OR_UTF8 = re.compile(r"(?:[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]|[^\x00-\x7f])+")
# Joiners shape words in Persian, Indic scripts and emoji; other invisible characters only deceive.
_JOINERS = "\u200c\u200d"
_NOT_IN_LOCAL = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp", "Zs"})
_NOT_IN_NAME = frozenset({"Cc", "Cs", "Zl", "Zp"})


class AddressError(ValueError):
    """The text is not one mailbox. The message is a sentence for people and repeats nothing of the text."""


class Mailbox(msgspec.Struct, frozen=True):
    """One mailbox; every instance is valid. Two spellings of the same mailbox are equal.

    display_name  as people read it, neither quoted nor encoded; "" when there is none
    local         without quotes and backslashes, case kept; NFC where not ASCII
    domain        A-labels, lower case, at least two, no trailing dot

    Raises AddressError.
    """

    display_name: str
    local: str
    domain: str

    def __post_init__(self) -> None:
        if self.display_name:
            _check_display_name(self.display_name)
        if not self.domain.islower() or _DOMAIN.fullmatch(self.domain) is None:
            raise AddressError("the domain is not in its ASCII lower-case form")
        if _DOT_ATOM.fullmatch(self.local) is None:
            _check_unusual_local(self.local)
        elif len(self.local) <= _LOCAL_OCTETS and len(self.domain) <= _ORDINARY_DOMAIN_CHARS:
            return  # nearly every mailbox there is
        _check_lengths(_local_on_the_wire(self.local), self.domain)

    @property
    def addr_spec(self) -> str:
        """As it goes between angle brackets on the wire; the local part quoted where it must be."""
        return f"{_local_on_the_wire(self.local)}@{self.domain}"

    @property
    def needs_utf8(self) -> bool:
        """The local part is not ASCII; unlike a domain it has no other form (RFC 6531 §3.3)."""
        return not self.local.isascii()

    def named(self, display_name: str) -> Mailbox:
        """The same mailbox under `display_name`. Raises AddressError."""
        return replace(self, display_name=display_name)


def parse_mailbox(text: str) -> Mailbox:
    """The one mailbox in `text`: `a@b.example`, `Name <a@b.example>`, `"Name, Quoted" <a@b.example>`.

    Raises AddressError and nothing else, whatever the text.
    """
    if len(text) > _TEXT_CHARS:
        raise AddressError(f"an address is at most {_TEXT_CHARS} characters long")
    ordinary = _ordinary(text)
    if ordinary is not None:
        return ordinary
    text = text.strip(" \t")
    if not text.endswith(">"):
        return parse_addr_spec(text)
    named = _NAME_AND_ANGLE.fullmatch(text)
    if named is None:
        raise AddressError("quotes or angle brackets around the display name or the address do not match")
    return parse_addr_spec(named[2]).named(_read_phrase(named[1].strip(" \t")))


def ordinary_addr_spec(text: str) -> str | None:
    """`parse_mailbox(text).addr_spec`, at a fifth of its cost, where the address is as nearly all are; None:
    it must be parsed."""
    found = _ORDINARY.fullmatch(text)
    if found is None or len(found[1]) > _LOCAL_OCTETS or len(found[2]) > _ORDINARY_DOMAIN_CHARS:
        return None
    return f"{found[1]}@{found[2].lower()}"


def parse_addr_spec(text: str) -> Mailbox:
    """The mailbox of a bare `local@domain`, without display name, brackets or spaces around it.

    Raises AddressError and nothing else, whatever the text.
    """
    if len(text) > _TEXT_CHARS:
        raise AddressError(f"an address is at most {_TEXT_CHARS} characters long")
    ordinary = _ordinary(text)
    if ordinary is not None:
        return ordinary
    _refuse_other_syntax(text)
    local, at, domain = text.rpartition("@")
    if not at:
        raise AddressError("an address has the form local-part@domain, '@' is missing")
    return Mailbox("", _read_local(local), _read_domain(domain))


def _ordinary(text: str) -> Mailbox | None:
    """The mailbox of an address as nearly all are; None: it must be parsed. Raises AddressError."""
    found = _ORDINARY.fullmatch(text)
    return None if found is None else Mailbox("", found[1], found[2].lower())


def quote(text: str) -> str:
    """`text` (printable) as a quoted-string (RFC 5322 §3.2.4)."""
    return '"' + _NEEDS_BACKSLASH.sub(r"\\\1", text) + '"'


def _check_display_name(name: str) -> None:
    if len(name) > _NAME_CHARS:
        raise AddressError(f"the display name is longer than {_NAME_CHARS} characters")
    if name.isascii() and name.isprintable():
        return
    if any(unicodedata.category(c) in _NOT_IN_NAME for c in name):
        raise AddressError("the display name holds a control character or a line break")


def _check_unusual_local(local: str) -> None:
    """A local part that needs quotes or is not ASCII."""
    if not local:
        raise AddressError("the part before '@' is empty")
    if local.isascii():
        if not local.isprintable():
            raise AddressError("the part before '@' holds a control character")
        return
    if any(unicodedata.category(c) in _NOT_IN_LOCAL and c not in _JOINERS + " " for c in local):
        raise AddressError("the part before '@' holds a character that cannot be seen")
    if not unicodedata.is_normalized("NFC", local):
        raise AddressError("the part before '@' is not in Unicode normalisation form C")


def _local_on_the_wire(local: str) -> str:
    """RFC 5321 §4.1.2: quoted only where it must be, so that equal mailboxes look equal."""
    if _DOT_ATOM.fullmatch(local):
        return local
    if all(_ATOM_OR_UTF8.fullmatch(atom) for atom in local.split(".")):
        return local
    return quote(local)


def _check_lengths(local: str, domain: str) -> None:
    """In octets of UTF-8, which is what peers count (RFC 6531 §3.3)."""
    if len(domain) > _DOMAIN_OCTETS:
        raise AddressError(f"the domain is longer than {_DOMAIN_OCTETS} octets")
    octets = len(local) if local.isascii() else len(local.encode())
    if octets > _LOCAL_OCTETS:
        raise AddressError(f"the part before '@' is longer than {_LOCAL_OCTETS} octets")
    if octets + 1 + len(domain) > _ADDR_SPEC_OCTETS:
        raise AddressError(f"the address is longer than {_ADDR_SPEC_OCTETS} octets")


def _read_phrase(phrase: str) -> str:
    """The display name as people read it. Stricter than RFC 5322 §3.2.5 where a list could be meant."""
    quoted = _QUOTED.fullmatch(phrase)
    if quoted is not None:
        return _QUOTED_PAIR.sub(r"\1", quoted[1])
    if _AMBIGUOUS_IN_PHRASE.search(phrase):
        raise AddressError('a display name with one of < > " , ; : \\ must stand in double quotes')
    return phrase


def _refuse_other_syntax(text: str) -> None:
    """Names what is legal in mail and not taken here, instead of a vague "malformed"."""
    if not text:
        raise AddressError("the address is empty")
    if text.endswith(";"):
        raise AddressError("a group of mailboxes is not an address")
    if text.endswith(")") or text.startswith("("):
        raise AddressError("comments in an address are not taken")
    if text.startswith("@"):
        raise AddressError("a source route is not an address")
    if text.endswith("]"):
        raise AddressError("an address literal such as user@[192.0.2.1] is not taken; a domain is needed")


def _read_local(local: str) -> str:
    if _DOT_ATOM.fullmatch(local):
        return local
    if local.startswith('"'):
        quoted = _QUOTED.fullmatch(local)
        if quoted is None:
            raise AddressError("the quotes before '@' do not match")
        return unicodedata.normalize("NFC", _QUOTED_PAIR.sub(r"\1", quoted[1]))
    if local.startswith(".") or local.endswith(".") or ".." in local:
        raise AddressError("the part before '@' has a dot at its start, at its end, or two in a row")
    if local and not all(_ATOM_OR_UTF8.fullmatch(atom) for atom in local.split(".")):
        raise AddressError("the part before '@' holds a character that needs quotes")
    return unicodedata.normalize("NFC", local)


def _read_domain(domain: str) -> str:
    """A-labels in lower case (RFC 5890 §2.3.2.1), mapped by UTS 46, which is what browsers do too."""
    if not domain:
        raise AddressError("the part after '@' is empty")
    # Before idna sees it: its work grows faster than the length of a hostile name.
    if len(domain) > _DOMAIN_OCTETS:
        raise AddressError(f"the domain is longer than {_DOMAIN_OCTETS} octets")
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True, std3_rules=True).decode("ascii")
        except (UnicodeError, IndexError):
            raise AddressError("the domain is not a valid internationalised domain name") from None
    if domain.endswith("."):
        raise AddressError("the domain ends in a dot")
    if "." not in domain:
        raise AddressError("the domain has one label only, mail needs a full domain name")
    if _DOMAIN.fullmatch(domain) is None:
        raise AddressError("the domain is not made of letters, digits and hyphens in labels of 1 to 63")
    return domain.lower()
