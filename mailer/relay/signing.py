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

import msgspec
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
from mailer.store import Store, StoreUnavailable

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


class _Copy(msgspec.Struct, frozen=True):
    """One recipient's copy, all but its signatures.

    token  of its reverse-path
    """

    claimed: Claimed
    content: StoredContent
    domain: SigningDomain
    token: str
    letter: dkim.Letter


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
        copy = self._begin(claimed, content)
        return copy if isinstance(copy, Unready) else self._sign([copy])[0]

    def consign_all(
        self, claimed: Sequence[Claimed], contents: Mapping[int, StoredContent]
    ) -> list[tuple[Claimed, Consignment | Unready | None]]:
        """The signed copy of each; signed together they cost less (signbatch.py). None: its keys cannot be
        looked up now. A bug of ours with one makes that one Unready, and does not stop the others."""
        made: list[tuple[Claimed, Consignment | Unready | None]] = []
        copies = []
        for one in claimed:
            copy = self._begun(one, contents.get(one.content_id))
            if isinstance(copy, _Copy):
                copies.append(copy)
            else:
                made.append((one, copy))
        return made + self._signed(copies)

    def _begun(self, claimed: Claimed, content: StoredContent | None) -> _Copy | Unready | None:
        try:
            return self._begin(claimed, content)
        except StoreUnavailable:
            return None
        except Exception:  # noqa: BLE001 - see consign_all
            return _failed(claimed)

    def _signed(self, copies: Sequence[_Copy]) -> list[tuple[Claimed, Consignment | Unready | None]]:
        try:
            return [(copy.claimed, made) for copy, made in zip(copies, self._sign(copies), strict=True)]
        except Exception:  # noqa: BLE001 - see consign_all: each is tried alone
            if len(copies) > 1:
                return [one for copy in copies for one in self._signed([copy])]
            return [(copies[0].claimed, _failed(copies[0].claimed))]

    def _begin(self, claimed: Claimed, content: StoredContent | None) -> _Copy | Unready:
        if content is None:
            return Unready(claimed, "the message's content is missing from the store", content_missing=True)
        domain = self._keys.of(claimed.domain_id)
        if domain is None or not domain.keys:
            return Unready(claimed, "the sending domain has no active DKIM key", content_missing=False)
        return self._copy(claimed, content, domain)

    def _copy(self, claimed: Claimed, content: StoredContent, domain: SigningDomain) -> _Copy:
        token = self._token_keys().make(claimed.recipient_id)
        block = headers.per_recipient_prefix(token) + self._unsubscribe(claimed) + content.headers
        body_hash = content.body_hash or dkim.body_hash(content.body)
        letter = dkim.Letter(block, body_hash, domain.name, domain.keys, self._now())
        return _Copy(claimed, content, domain, token, letter)

    def _sign(self, copies: Sequence[_Copy]) -> list[Consignment]:
        signatures = dkim.sign([copy.letter for copy in copies])
        return [self._consignment(copy, fields) for copy, fields in zip(copies, signatures, strict=True)]

    def _consignment(self, copy: _Copy, signatures: bytes) -> Consignment:
        claimed, content = copy.claimed, copy.content
        return Consignment(
            attempt_id=claimed.attempt_id,
            recipient_id=claimed.recipient_id,
            domain=claimed.domain,
            # None of its own: a DSN, which nobody is told of when it fails (RFC 5321 §6.1).
            reverse_path=reverse_path(copy.token, claimed.return_path_domain)
            if claimed.return_path_domain
            else "",
            forward_path=claimed.address,
            content=b"".join((signatures, copy.letter.headers, b"\r\n", content.body)),
            is_8bit=content.is_8bit,
            needs_utf8=content.needs_utf8 or not claimed.address.isascii(),
            in_seven_bits=partial(self._in_seven_bits, copy) if content.is_8bit else None,
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

    def _in_seven_bits(self, copy: _Copy) -> Consignment:
        """RFC 6152 §3. Raises CannotDowngrade."""
        content = copy.content
        block, body = downgrade.to_7bit(content.headers, content.body)
        encoded = StoredContent(
            block, body, dkim.body_hash(body), is_8bit=False, needs_utf8=content.needs_utf8
        )
        return self._sign([self._copy(copy.claimed, encoded, copy.domain)])[0]


def _asked(c: Claimed) -> Asked | None:
    """For the next hop. An empty NOTIFY was not said, and must not be (RFC 3461 §5.2.1).

    The reverse-path is ours, so a DSN of the next hop comes to us. Of mail that came with a null one nothing
    is asked but NEVER, although RFC 3461 §5.2.1 would pass any NOTIFY on: nobody waits for an answer.
    """
    if c.notify is None and c.orcpt is None and c.ret is None and c.envid is None:
        return None
    return Asked(c.notify or None, c.orcpt, c.ret, c.envid)


def _failed(claimed: Claimed) -> Unready:
    """Called where a bug of ours is caught."""
    _log.exception("sign.failed", attempt_id=claimed.attempt_id, message_id=claimed.message_id)
    return Unready(claimed, "the message could not be signed", content_missing=True)
