"""List-Unsubscribe and List-Unsubscribe-Post: ours, and those of a message (RFC 2369 §3.2, RFC 8058 §3.1).

Ours are header fields of one recipient and stand in the signed prefix, since a receiver offers one click only
where a DKIM signature covers both (RFC 8058 §4). The HTTPS URI comes first: of several the leftmost is
preferred (RFC 2369 §2). The one at an address is beside it for readers that know no other way (RFC 8058 §3.1
allows it): Gmail and Yahoo ask for the HTTPS one, mail programs on a desk often follow the other.

A message's own fields are taken as they are or not at all. Nobody can tell whether a URI of a stranger takes
the POST that List-Unsubscribe-Post promises, so none is added to them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mailer.compose import fields
from mailer.compose.subscriber import Subscriber, mail_address, make_subject, make_token

LIST_UNSUBSCRIBE = "List-Unsubscribe"
LIST_UNSUBSCRIBE_POST = "List-Unsubscribe-Post"
NAMES = frozenset({LIST_UNSUBSCRIBE.lower(), LIST_UNSUBSCRIBE_POST.lower()})
ONE_CLICK = "List-Unsubscribe=One-Click"  # RFC 8058 §3.1: the only value there is
PATH = "/u/"  # of the page, behind the public URL

_HTTPS = "https://"
_URI = re.compile(r"<([^<>]*)>")
_COMMENT = re.compile(r"\([^()<>]*\)")


class UnsubscribeFieldError(ValueError):
    """What a message brings to be unsubscribed by cannot be sent. field: the name of the one at fault."""

    def __init__(self, detail: str, *, field: str) -> None:
        super().__init__(detail)
        self.field = field


@dataclass(frozen=True, slots=True)
class Links:
    """How links are made here.

    public_url  that strangers reach the page by, without a slash at its end; None: they cannot
    secrets     of the tokens, 32 octets each: the first makes them, all are good
    by_mail     whether the host of a return path takes mail for us
    """

    public_url: str | None
    secrets: Sequence[bytes]
    by_mail: bool

    @property
    def is_compliant(self) -> bool:
        """Whether there is the one HTTPS URI that receivers want on broadcast mail (RFC 8058 §3.1)."""
        return self.public_url is not None and self.public_url.startswith(_HTTPS)

    def url(self, subscriber: Subscriber) -> str | None:
        """None: nobody could reach it."""
        if self.public_url is None:
            return None
        return f"{self.public_url}{PATH}{make_token(subscriber, self.secrets[0])}"

    def fields(self, subscriber: Subscriber, return_path_domain: str) -> bytes:
        """The fields of this recipient's copy, each ending in CRLF; none if there is no way to name.

        return_path_domain  "" for mail without a reverse-path
        """
        uris = []
        url = self.url(subscriber)
        if url is not None:
            uris.append(f"<{url}>")
        if self.by_mail and return_path_domain:
            address = mail_address(subscriber.recipient_id, self.secrets[0], return_path_domain)
            subject = make_subject(subscriber, self.secrets[0]).replace(" ", "%20")  # RFC 6068 §2
            uris.append(f"<mailto:{address}?subject={subject}>")
        if not uris:
            return b""
        made = fields.structured_field(LIST_UNSUBSCRIBE, ", ".join(uris))
        if self.is_compliant:
            made += fields.structured_field(LIST_UNSUBSCRIBE_POST, ONE_CLICK)
        return made.encode("ascii")


def check_own(unsubscribe: Sequence[str], post: Sequence[str]) -> bool:
    """Whether a message brings its own. Raises UnsubscribeFieldError.

    unsubscribe, post  the values of its fields of either name, unfolded
    """
    for name, values in ((LIST_UNSUBSCRIBE, unsubscribe), (LIST_UNSUBSCRIBE_POST, post)):
        if len(values) > 1:
            raise UnsubscribeFieldError(f"the header field {name} is given more than once", field=name)
    if post:
        _check_post(unsubscribe[0] if unsubscribe else "", post[0])
    return bool(unsubscribe)


def https_uris(value: str) -> int:
    """How many a List-Unsubscribe has."""
    uris = ("".join(found.split()) for found in _URI.findall(_COMMENT.sub("", value)))
    return sum(uri.lower().startswith(_HTTPS) for uri in uris)


def _check_post(unsubscribe: str, post: str) -> None:
    if post.strip().lower() != ONE_CLICK.lower():
        raise UnsubscribeFieldError(
            f"the header field {LIST_UNSUBSCRIBE_POST} says {ONE_CLICK} or nothing (RFC 8058 §3.1)",
            field=LIST_UNSUBSCRIBE_POST,
        )
    if https_uris(unsubscribe) != 1:
        raise UnsubscribeFieldError(
            f"the header field {LIST_UNSUBSCRIBE_POST} stands only beside a {LIST_UNSUBSCRIBE} with exactly"
            " one HTTPS URI (RFC 8058 §3.1)",
            field=LIST_UNSUBSCRIBE_POST,
        )
