"""Which URLs may be called: told when an endpoint is made, so that nobody waits for calls that cannot be."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import httpx

from mailer.outward import Guard
from mailer.outward.addresses import is_address

_MOST_CHARS = 2000
_WEB_PORTS = frozenset({80, 443})
_LEAST_OTHER_PORT = 1024  # below stand services that speak something else: mail, shells, databases of names
_MOST_PORT = 65535
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class UrlRules:
    """is_live: only https is taken. guard: which addresses may be called; a name is judged at each call."""

    is_live: bool
    guard: Guard = field(default_factory=Guard)

    def fault(self, url: str) -> str | None:
        """What is wrong with `url`, in a sentence for its owner; None if it may be called."""
        if len(url) > _MOST_CHARS:
            return f"a URL may have {_MOST_CHARS} characters at most"
        if not url.isascii() or not url.isprintable() or " " in url:
            return "a URL is made of printable ASCII characters: encode others, and host names as A-labels"
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL:
            return "this is not a URL"
        return self._fault_of_scheme(parsed) or _fault_of_parts(parsed) or self._fault_of_host(_host(parsed))

    def _fault_of_scheme(self, url: httpx.URL) -> str | None:
        if url.scheme not in ("http", "https"):
            return "a URL starts with https://"
        if url.scheme == "http" and self.is_live and not self._is_inside(_host(url)):
            return "what is told stands in clear on the way: a URL starts with https://"
        return None

    def _is_inside(self, host: str) -> bool:
        """An address that is not public and that the operator allows all the same."""
        return is_address(host) and self.guard.refusal(host) is None and Guard().refusal(host) is not None

    def _fault_of_host(self, host: str) -> str | None:
        if is_address(host):
            return None if self.guard.refusal(host) is None else "the host's address may not be called"
        # All digits and dots: inet_aton would read it as an address.
        if not _NAME.fullmatch(host) or host.rpartition(".")[2].isdigit():
            return "the host must be a name or an IP address"
        return None


def _fault_of_parts(url: httpx.URL) -> str | None:
    if url.userinfo:
        return "a URL carries no user name or password: verify the signature instead"
    if url.fragment:
        return "a URL to be called has no fragment (#...)"
    if not url.raw_host:
        return "a URL names a host"
    if url.port is None or url.port in _WEB_PORTS or _LEAST_OTHER_PORT <= url.port <= _MOST_PORT:
        return None
    return f"the port must be 80, 443, or {_LEAST_OTHER_PORT} and above"


def _host(url: httpx.URL) -> str:
    """As it is dialled, a name in A-labels."""
    return url.raw_host.decode("ascii")
