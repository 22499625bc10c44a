"""Whether a provider that the operator has an agreement with signed a mail (RFC 6376).

A feedback loop that strips our token sends reports that prove nothing by themselves; its signature does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import dkim
import structlog

_log = structlog.get_logger(__name__)

_MOST_SIGNATURES = 5  # tried of one mail; each costs a DNS look-up
_MOST_OCTETS = 10 * 1024 * 1024

TxtRecord = Callable[[bytes], bytes | None]  # a name's TXT, its strings joined; None: there is none


class Trust:
    """domains: A-labels in lower case, as they stand in d=. Safe from any thread; waits for the DNS."""

    def __init__(self, domains: Collection[str], txt_record: TxtRecord) -> None:
        self._domains = frozenset(domains)
        self._txt_record = txt_record

    def __call__(self, content: bytes) -> bool:
        """One of its signatures is by a trusted domain, and holds. Never raises."""
        return bool(self._domains) and self._signer(content, self._domains) is not None

    def signer_of(self, content: bytes) -> str | None:
        """The domain of the first signature that holds; None: none does. Never raises."""
        return self._signer(content, None)

    def _signer(self, content: bytes, among: Collection[str] | None) -> str | None:
        if len(content) > _MOST_OCTETS:
            return None
        try:
            verifier = dkim.DKIM(content)
            signatures = [value for name, value in verifier.headers if name.lower() == b"dkim-signature"]
        except Exception as error:  # noqa: BLE001 - a stranger's octets in a library that is not ours
            _log.info("trust.not_read", cause=type(error).__name__)
            return None
        for index, value in enumerate(signatures[:_MOST_SIGNATURES]):
            domain = self._holding(verifier, index, value, among)
            if domain is not None:
                return domain
        return None

    def _holding(
        self, verifier: dkim.DKIM, index: int, value: bytes, among: Collection[str] | None
    ) -> str | None:
        """Its domain, if it holds."""
        try:
            tags = dkim.util.parse_tag_value(value)
            domain = tags.get(b"d", b"").strip().decode("ascii", "replace").lower()
            # RFC 6376 §8.2: with l= what stands below could be anybody's.
            if (among is not None and domain not in among) or b"l" in tags:
                return None
            return domain if verifier.verify(idx=index, dnsfunc=self._look_up) else None
        except Exception as error:  # noqa: BLE001 - as above
            _log.info("trust.not_verified", cause=type(error).__name__)
            return None

    def _look_up(self, name: bytes, timeout: int = 5) -> bytes | None:
        return self._txt_record(name)
