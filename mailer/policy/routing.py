"""Smart-host routes: which domains go to a named relay instead of their own MX hosts.

    *=127.0.0.1:2525;tls=none, example.org=smtp.example.net:587;tls=required;user=ann;password=s%2Cret

The most specific pattern wins: the domain itself, then the longest ".parent", then "*". In values "%2C",
"%3B" and "%25" stand for comma, semicolon and percent.
"""

from __future__ import annotations

import enum
import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import unquote

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_OPTIONS = frozenset({"tls", "user", "password"})


class RouteError(ValueError):
    """A route that cannot be read; the text is one sentence for the operator."""


class TlsMode(enum.StrEnum):
    """How a host is spoken to."""

    NONE = "none"  # in clear, also where STARTTLS is offered
    OPPORTUNISTIC = "opportunistic"  # STARTTLS where offered, any certificate
    REQUIRED = "required"  # STARTTLS with a verified certificate, else nothing is sent
    IMPLICIT = "implicit"  # TLS from the first octet, verified (RFC 8314 §3.3)


_DEFAULT_PORT = {
    TlsMode.NONE: 25,
    TlsMode.OPPORTUNISTIC: 25,
    TlsMode.REQUIRED: 587,
    TlsMode.IMPLICIT: 465,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Mail for the domains of `pattern` goes to this host.

    pattern             "*", "example.org" (only itself), or ".example.org" (every name below it)
    host                name or address literal without brackets
    username, password  for AUTH (RFC 4954); None: no AUTH
    """

    pattern: str
    host: str
    port: int = 25
    tls: TlsMode = TlsMode.OPPORTUNISTIC
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def site(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"route:{host}:{self.port}"


class RouteTable:
    """Routes by pattern; no two may share one."""

    def __init__(self, routes: Iterable[Route] = ()) -> None:
        self._by_pattern: dict[str, Route] = {}
        for route in routes:
            if route.pattern in self._by_pattern:
                raise RouteError(f"two routes for {route.pattern!r}: which one should be taken?")
            self._by_pattern[route.pattern] = route

    @classmethod
    def parse(cls, text: str) -> RouteTable:
        """Raises RouteError. An empty text is an empty table: everything goes by MX look-up."""
        return cls(_parse_route(entry.strip()) for entry in text.split(",") if entry.strip())

    @property
    def routes(self) -> tuple[Route, ...]:
        return tuple(self._by_pattern.values())

    def match(self, domain: str) -> Route | None:
        """The most specific route for a domain (A-label, lower case); None: look up its MX hosts."""
        found = self._by_pattern.get(domain)
        if found is not None:
            return found
        rest = domain
        while "." in rest:
            rest = rest.partition(".")[2]
            found = self._by_pattern.get("." + rest)
            if found is not None:
                return found
        return self._by_pattern.get("*")

    def site(self, domain: str) -> str | None:
        """The site of the route for a domain; None: it has none."""
        route = self.match(domain)
        return None if route is None else route.site


def _parse_route(entry: str) -> Route:
    pattern, equals, target = entry.partition("=")
    pattern = pattern.strip().lower().rstrip(".")
    if not equals or not target.strip():
        # Only the part before any option: an error message must not carry a password.
        raise RouteError(f"route {pattern.partition(';')[0]!r} must read domain=host:port, or *=host:port")
    if pattern != "*" and not _NAME.fullmatch(pattern.removeprefix(".")):
        raise RouteError(f"route pattern {pattern!r} must be '*', a domain, or '.domain'")
    place, *options = (part.strip() for part in target.split(";"))
    given = _parse_options(pattern, options)
    tls = _parse_tls(pattern, given.get("tls"))
    host, port = _parse_place(pattern, place, _DEFAULT_PORT[tls])
    route = Route(
        pattern=pattern,
        host=host,
        port=port,
        tls=tls,
        username=given.get("user"),
        password=given.get("password"),
    )
    _check_credentials(route)
    return route


def _parse_options(pattern: str, options: Iterable[str]) -> dict[str, str]:
    given: dict[str, str] = {}
    for option in filter(None, options):
        name, equals, value = option.partition("=")
        name = name.strip().lower()
        if not equals or name not in _OPTIONS:
            raise RouteError(f"route {pattern!r}: unknown option {name!r}; there are tls, user and password")
        if name in given:
            raise RouteError(f"route {pattern!r}: option {name!r} is given twice")
        given[name] = unquote(value.strip())
    return given


def _parse_tls(pattern: str, value: str | None) -> TlsMode:
    if value is None:
        return TlsMode.OPPORTUNISTIC
    try:
        return TlsMode(value.lower())
    except ValueError:
        raise RouteError(
            f"route {pattern!r}: tls must be none, opportunistic, required or implicit, not {value!r}"
        ) from None


def _parse_place(pattern: str, place: str, default_port: int) -> tuple[str, int]:
    host, _, port = place.rpartition("]") if place.startswith("[") else place.partition(":")
    if place.startswith("["):
        if port and not port.startswith(":"):
            raise RouteError(f"route {pattern!r}: {place!r} must read [address]:port")
        host, port = host[1:], port[1:]
        _check_literal(pattern, host)
    elif ":" in port:
        raise RouteError(f"route {pattern!r}: an IPv6 address stands in brackets, as in [::1]:25")
    elif not _NAME.fullmatch(host.lower()):
        raise RouteError(f"route {pattern!r}: {host!r} is no host name or address")
    if not port:
        return host.lower(), default_port
    if not (port.isascii() and port.isdigit()) or len(port) > 5 or not 0 < int(port) < 65536:
        raise RouteError(f"route {pattern!r}: the port must be a number from 1 to 65535, not {port!r}")
    return host.lower(), int(port)


def _check_literal(pattern: str, host: str) -> None:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        raise RouteError(f"route {pattern!r}: {host!r} in brackets is no IPv6 address") from None


def _check_credentials(route: Route) -> None:
    """A password goes through TLS, or no further than this machine (RFC 4954 §4)."""
    if (route.username is None) != (route.password is None):
        raise RouteError(f"route {route.pattern!r}: user and password belong together")
    if route.username is None or route.tls in (TlsMode.REQUIRED, TlsMode.IMPLICIT):
        return
    if route.host != "localhost" and not _is_loopback(route.host):
        raise RouteError(
            f"route {route.pattern!r}: a password needs tls=required or tls=implicit,"
            " since it would travel in clear"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
