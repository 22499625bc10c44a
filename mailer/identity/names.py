"""Names that identify: of tenants, API keys and sending domains; and the error for all that is refused."""

from __future__ import annotations

import re

from mailer.compose.address import AddressError, parse_mailbox

_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,200}")


class IdentityError(Exception):
    """Refused: one clear sentence that the caller can act on.

    at  steps to what is wrong in what was asked, such as ("streams", 0); empty: no part of it
    """

    def __init__(self, sentence: str, *, at: tuple[str | int, ...] = ()) -> None:
        super().__init__(sentence)
        self.at = at


class BadName(IdentityError):
    """The text cannot be such a name."""


class NameTaken(IdentityError):
    """Another tenant, domain, stream or key has this name or id."""


class Unknown(IdentityError):
    """No such tenant, domain, stream or key."""


class NotAllowed(IdentityError):
    """The key that asks has not the right to this."""


class Limited(NotAllowed):
    """The key that asks is limited to other streams or sending domains."""


class NotNow(IdentityError):
    """It contradicts the state of what is to be changed."""


class TooMany(IdentityError):
    """A tenant may have no more of these."""


def parse_name(text: str) -> str:
    """A name for people: one line, 1 to 200 characters, without blanks at the ends."""
    name = text.strip()
    if not _NAME.fullmatch(name):
        raise BadName(f"a name has 1 to 200 characters on one line, {text!r} does not", at=("name",))
    return name


def parse_domain(text: str) -> str:
    """A domain that can stand in a From address, as A-labels in lower case; raises BadName."""
    try:
        return parse_mailbox(f"postmaster@{text.strip()}").domain
    except AddressError as error:
        raise BadName(f"{text!r} is no domain that mail can come from: {error}") from None
