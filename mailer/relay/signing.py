"""From a claimed recipient to the bytes that go on the wire: load, prefix, sign.

Signing happens here, at the attempt, with the then active keys; the bytes never change afterwards.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Protocol

import structlog

from mailer.compose import dkim, downgrade, headers
from mailer.compose.subscriber import Subscriber
from mailer.compose.unsubscribe import Links
from mailer.compose.verp import TokenKeys, reverse_path
from mailer.policy.tls import wanted_by
from mailer.queue import bodies
from mailer.queue.bodies import MissingBody, StoredContent
from mailer.queue.claim import Claimed
from mailer.relay.carrier import Asked, Consignment
from mailer.store import Store

_log = structlog.get_logger(__name__)

_KEYS_SECONDS = 10.0  # how long a new or retired key takes to be noticed


class SigningDomain(Protocol):
    """A sending domain with its active keys."""

    @property
    def name(self) -> str: ...
    @property
    def keys(self) -> Sequence[dkim.SigningKey]: ...


KeyFinder = Callable[[int], SigningDomain | None]


@dataclass(frozen=True, slots=True)
class Unready:
    """This recipient cannot be sent now: its content is missing, or its domain may no longer sign."""

    claimed: Claimed
    reason: str
    content_missing: bool


class KeyRing:
    """Signing keys by domain, looked up at most every ten seconds; safe from any thread."""

    def __init__(self, find: KeyFinder, monotonic: Callable[[], float]) -> None:
        self._find = find
        self._monotonic = monotonic
        self._known: dict[int, tuple[float, SigningDomain | None]] = {}
        self._lock = threading.Lock()

    def of(self, domain_id: int) -> SigningDomain | None:
        now = self._monotonic()
        known = self._known.get(domain_id)
        if known is not None and known[0] > now:
            return known[1]
        with self._lock:
            known = self._known.get(domain_id)
            if known is None or known[0] <= now:
                known = (now + _KEYS_SECONDS, self._find(domain_id))
                self._known[domain_id] = known
        return known[1]


class Signer:
    """Makes consignments. token_keys: those of the return-path tokens, as they are by now."""

    def __init__(
        self,
        store: Store,
        keys: KeyRing,
        *,
        token_keys: Callable[[], TokenKeys],
        now: Callable[[], datetime],
        links: Links | None = None,
    ) -> None:
        """links: how recipients leave a stream; None: there is no way to name."""
        self._store = store
        self._keys = keys
        self._token_keys = token_keys
        self._links = links
        self._now = now

    def load(self, claimed: Sequence[Claimed]) -> Mapping[int, StoredContent]:
        """Contents of what was claimed. Raises StoreUnavailable."""
        ids = {c.content_id for c in claimed}
        try:
            return bodies.load(self._store, ids)
        except MissingBody:
            return self._load_each(ids)

    def _load_each(self, ids: set[int]) -> Mapping[int, StoredContent]:
        """One missing file must not stop the others."""
        found: dict[int, StoredContent] = {}
        for content_id in ids:
            try:
                found |= bodies.load(self._store, [content_id])
            except MissingBody as error:
                _log.error("content.missing", content_id=content_id, error=str(error))
        return found

    def consign(self, claimed: Claimed, content: StoredContent | None) -> Consignment | Unready:
        """The signed copy of one recipient. Raises StoreUnavailable when keys had to be looked up."""
        if content is None:
            return Unready(claimed, "the message's content is missing from the store", content_missing=True)
        domain = self._keys.of(claimed.domain_id)
        if domain is None or not domain.keys:
            return Unready(claimed, "the sending domain has no active DKIM key", content_missing=False)
        return self._copy(claimed, content, domain)

    def _copy(self, claimed: Claimed, content: StoredContent, domain: SigningDomain) -> Consignment:
        token = self._token_keys().make(claimed.recipient_id)
        block = headers.per_recipient_prefix(token) + self._unsubscribe(claimed) + content.headers
        signatures = dkim.sign(
            block, body_hash=content.body_hash, domain=domain.name, keys=domain.keys, at=self._now()
        )
        return Consignment(
            attempt_id=claimed.attempt_id,
            recipient_id=claimed.recipient_id,
            domain=claimed.domain,
            # None of its own: a DSN, which nobody is told of when it fails (RFC 5321 §6.1).
            reverse_path=reverse_path(token, claimed.return_path_domain)
            if claimed.return_path_domain
            else "",
            forward_path=claimed.address,
            content=b"".join((signatures, block, b"\r\n", content.body)),
            is_8bit=content.is_8bit,
            needs_utf8=content.needs_utf8 or not claimed.address.isascii(),
            in_seven_bits=partial(self._in_seven_bits, claimed, content, domain) if content.is_8bit else None,
            asked=_asked(claimed),
            spend=None if claimed.spend is None else (claimed.spend.begins, claimed.spend.ends),
            tls=wanted_by(claimed.tls, claimed.stream_tls),
            egress=claimed.egress,
            only_site=claimed.only_site,
            party=claimed.party,
            is_unsited=claimed.is_unsited,
        )

    def _unsubscribe(self, claimed: Claimed) -> bytes:
        """The same on every attempt, as the reverse-path is."""
        if claimed.subscribed_to is None or self._links is None:
            return b""
        subscriber = Subscriber(
            claimed.tenant_id, claimed.subscribed_to, claimed.recipient_id, claimed.address
        )
        return self._links.fields(subscriber, claimed.return_path_domain)

    def _in_seven_bits(self, claimed: Claimed, content: StoredContent, domain: SigningDomain) -> Consignment:
        """RFC 6152 §3. Raises CannotDowngrade."""
        block, body = downgrade.to_7bit(content.headers, content.body)
        encoded = StoredContent(
            block, body, dkim.body_hash(body), is_8bit=False, needs_utf8=content.needs_utf8
        )
        return self._copy(claimed, encoded, domain)


def _asked(c: Claimed) -> Asked | None:
    """For the next hop. An empty NOTIFY was not said, and must not be (RFC 3461 §5.2.1).

    The reverse-path is ours, so a DSN of the next hop comes to us. Of mail that came with a null one nothing
    is asked but NEVER, although RFC 3461 §5.2.1 would pass any NOTIFY on: nobody waits for an answer.
    """
    if c.notify is None and c.orcpt is None and c.ret is None and c.envid is None:
        return None
    return Asked(c.notify or None, c.orcpt, c.ret, c.envid)
