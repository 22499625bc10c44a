"""The contract between the worker and whatever carries a message to its next hop (SMTP today)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import msgspec

from mailer.policy.egress import Egress
from mailer.policy.outcome import Outcome
from mailer.policy.tls import NOTHING_WANTED, Wanted
from mailer.policy.turns import NOBODY, Party


@dataclass(frozen=True, slots=True)
class Asked:
    """What its submitter asked of DSNs, for a next hop that offers them (RFC 3461 §5.2.1).

    notify  words between commas; None: not said
    orcpt   "type;address", decoded; ret: FULL or HDRS; envid: decoded. None: not said
    """

    notify: str | None
    orcpt: str | None
    ret: str | None
    envid: str | None


class Consignment(msgspec.Struct, frozen=True, kw_only=True):
    """One recipient's copy, ready for the wire.

    attempt_id    the open attempt this carries; the journal's key
    domain        the recipient's domain, A-label, lower case; what MX look-up starts from
    reverse_path  without angle brackets; "" is the null reverse-path (RFC 5321 §4.5.5)
    forward_path  without angle brackets, as it goes on the wire
    content       signed message, CRLF lines, not dot-stuffed; never changed after signing
    is_8bit       content holds octets above 127 (needs 8BITMIME, RFC 6152)
    needs_utf8    an address is not ASCII and has no A-label form (needs SMTPUTF8, RFC 6531)
    in_seven_bits makes the copy for a peer without 8BITMIME, encoded and signed anew; takes CPU, raises
                  CannotDowngrade. None: nothing to encode
    asked         None: nothing was asked
    spend         when its mail transaction may begin, monotonic seconds (first, last); None: at any time
    tls           what its sender wants of TLS
    egress        where it leaves from; None: the system's choice, under our own name
    only_site     the only site that `egress` was granted for; a domain that turns out to be another's goes
                  back without a try, as one does whose site was not yet known (""). None: any
    party         whose turn it is where it waits for a session
    is_unsited    it goes back without a try if its site turns out to have ceilings over time
    """

    attempt_id: int
    recipient_id: int
    domain: str
    reverse_path: str
    forward_path: str
    content: bytes
    is_8bit: bool = False
    needs_utf8: bool = False
    in_seven_bits: Callable[[], Consignment] | None = None
    asked: Asked | None = None
    spend: tuple[float, float] | None = None
    tls: Wanted = NOTHING_WANTED
    egress: Egress | None = None
    only_site: str | None = None
    party: Party = NOBODY
    is_unsited: bool = False


class Step(msgspec.Struct, frozen=True):
    """One line of the SMTP conversation: what was said or heard, and when.

    at_ms  milliseconds since the attempt began
    who    "us", "peer", or "note" for what happened beside the dialogue (DNS, TLS, a lost connection)
    text   the line without CRLF; content is summed up ("<5210 octets>"), credentials are masked
    """

    at_ms: float
    who: str
    text: str


class Report(msgspec.Struct):
    """What one attempt came to.

    site       the set of hosts that answered for the domain ("mx.example.net", "route:127.0.0.1:25"),
               None when resolving failed
    host       the host that gave the outcome, and its address with port; None before a connection
    tls        "TLSv1.3 TLS_AES_256_GCM_SHA384 verified=no", None in clear; then "policy=mta-sts" where
               somebody demanded more than TLS where it is offered (mailer/policy/tls.py)
    egress_ip  local address of the connection, or of the last that was tried; None before one
    passed_on  the host was told what the submitter asked of DSNs: they are its affair now
    """

    outcome: Outcome
    site: str | None = None
    host: str | None = None
    address: str | None = None
    egress_ip: str | None = None
    tls: str | None = None
    passed_on: bool = False
    steps: list[Step] = msgspec.field(default_factory=list)


class DotJournal(Protocol):
    """What the carrier must tell before and after the final dot (mailer/relay/journal.py writes it).

    `about_to_send_dot` is called just before the write that can carry the final dot; it returns False
    when this worker may no longer send it (its lease is stale), and then the dot must not be sent.
    `passed_on` as in Report: a successor of a dead worker must know it, too.
    `heard` is called with the reply to the dot as soon as it is read, before anything else happens.
    BDAT with the end of the content, sent along with its envelope, counts as the dot; `withdrawn` is called
    as soon as it is known that the peer took nothing of it, since it refused what stood before it.
    All are short synchronous appends.
    """

    def about_to_send_dot(self, attempt_id: int, *, passed_on: bool = False) -> bool: ...

    def heard(self, attempt_id: int, code: int, text: str) -> None: ...

    def withdrawn(self, attempt_id: int) -> None: ...


class Carrier(Protocol):
    """Carries one consignment at a time per call; many calls run at once on one loop."""

    async def deliver(self, consignment: Consignment) -> Report:
        """Nothing the peer or the network does raises; an exception out of here is our own bug."""
        ...

    def site_of(self, domain: str) -> str | None:
        """The site of a domain by its route or its last look-up; no I/O, from any thread."""
        ...

    def sessions(self) -> Mapping[str, int]:
        """Connections open now by site; on its event loop."""
        ...

    async def close(self, *, grace_seconds: float) -> None:
        """Reset sessions before the dot, wait up to `grace_seconds` for those after it, then hang up."""
        ...
