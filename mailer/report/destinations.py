"""What an address of ours is for, read from the address alone. Pure.

    <token>@bounce.example.com           what is returned of one recipient's mail (compose/verp.py)
    complaints@bounce.example.com        feedback loops, as registered with providers (RFC 5965, RFC 6449)
    dmarc-reports@, tls-reports@ ...     what domains ask for in the DNS (RFC 7489 §6.2, RFC 8460 §3)
    postmaster@, abuse@ every domain     people (RFC 5321 §4.5.1, RFC 2142 §2 and §4)

Whether the domain is one of ours, and the recipient is known, the database says.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

from mailer.listener import Path
from mailer.report.addresses import ABUSE, COMPLAINTS, DMARC_REPORTS, POSTMASTER, TLS_REPORTS

UNSUBSCRIBE = "unsubscribe-"  # before a token of its own purpose


class Kind(enum.StrEnum):
    """What an address is for, as it is kept with each mail."""

    RETURN_PATH = "return-path"
    UNSUBSCRIBE = "unsubscribe"
    COMPLAINTS = "complaints"
    REPORTS = "reports"
    PERSON = "person"  # of the operator


@dataclass(frozen=True, slots=True)
class Destination:
    """token_of: the recipient whose token it bears, which is proved; None: it bears none.

    domain  in lower case; "" of the bare <postmaster>, which every host has (RFC 5321 §4.5.1)
    """

    kind: Kind
    domain: str
    token_of: int | None = None


_BY_LOCAL = {
    DMARC_REPORTS: Kind.REPORTS,
    TLS_REPORTS: Kind.REPORTS,
    COMPLAINTS: Kind.COMPLAINTS,
    POSTMASTER: Kind.PERSON,
    ABUSE: Kind.PERSON,
}

ReadToken = Callable[[str], int | None]


def destination_of(
    path: Path, *, read_return_path: ReadToken, read_unsubscribe: ReadToken
) -> Destination | None:
    """None: no address of ours looks like this, or its token was not made by us.

    read_return_path, read_unsubscribe  the recipient id that a token of that purpose proves
    """
    local, domain = path.local.lower(), path.domain.lower()
    kind = _BY_LOCAL.get(local)
    if kind is not None:
        return Destination(kind, domain) if domain or local == POSTMASTER else None
    if local.startswith(UNSUBSCRIBE):
        return _of_token(Kind.UNSUBSCRIBE, domain, read_unsubscribe(local[len(UNSUBSCRIBE) :]))
    return _of_token(Kind.RETURN_PATH, domain, read_return_path(local))


def _of_token(kind: Kind, domain: str, token_of: int | None) -> Destination | None:
    return None if token_of is None else Destination(kind, domain, token_of)
