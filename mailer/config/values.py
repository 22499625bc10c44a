"""Texts of settings as types. Each parser raises ValueError with the rest of a sentence about the setting."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BeforeValidator

Network = IPv4Network | IPv6Network

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)", re.ASCII)
_HOST_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)", re.ASCII | re.IGNORECASE)
_NOT_IN_PUBLIC_URL = re.compile(r"[^!-~]|[?#@<>\"'\\^`{|},]")  # RFC 3986 §2; a comma would end it in a list
_PUBLIC_URL_CHARS = 200
_MAX_DURATION = timedelta(days=3650)
SECRET_BYTES = 32


def parse_duration(text: object) -> timedelta:
    """`90s`, `5m`, `4h`, `4d`, `200ms`."""
    if isinstance(text, timedelta):
        return text
    found = _DURATION.fullmatch(str(text).strip())
    if not found:
        raise ValueError(f"must be a duration such as 90s, 5m, 4h or 4d, not {str(text)!r}")
    duration = timedelta(seconds=float(found[1]) * _UNITS[found[2]])
    if not timedelta(0) < duration <= _MAX_DURATION:
        raise ValueError("must be longer than nothing and shorter than ten years")
    return duration


def show_duration(duration: timedelta) -> str:
    """The shortest text that `parse_duration` reads back as the same duration."""
    milliseconds = round(duration / timedelta(milliseconds=1))
    for unit in ("d", "h", "m", "s"):
        whole, rest = divmod(milliseconds, round(_UNITS[unit] * 1000))
        if not rest:
            return f"{whole}{unit}"
    return f"{milliseconds}ms"


def parse_durations(value: object) -> tuple[timedelta, ...]:
    """`1m,5m,15m`; at least one."""
    durations = tuple(parse_duration(item) for item in _items(value))
    if not durations:
        raise ValueError("must list one duration or more, such as 1m,5m,15m")
    return durations


def parse_resolvers(value: object) -> tuple[str, ...]:
    """`192.0.2.53, [2001:db8::53]:5353` as `address:port` texts, IPv6 addresses in brackets."""
    return tuple(_resolver(str(item)) for item in _items(value))


def _resolver(text: str) -> str:
    """A resolver is an address: a name would need a resolver."""
    try:
        parts = urlsplit(f"//{_bracketed(text)}")
        address, port = ip_address(parts.hostname or ""), parts.port or 53
    except ValueError:
        raise ValueError(
            f"must list IP addresses with an optional port, such as 192.0.2.53:53, not {text!r}"
        ) from None
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def _bracketed(text: str) -> str:
    return f"[{text}]" if text.count(":") > 1 and not text.startswith("[") else text


def parse_networks(value: object) -> tuple[Network, ...]:
    """`10.0.0.0/8, fd12::/16`; a single address is a network of one."""
    try:
        return tuple(ip_network(str(item)) for item in _items(value))
    except ValueError:
        raise ValueError(f"must list IP networks such as 10.1.0.0/16, not {str(value)!r}") from None


def parse_secret(value: object) -> bytes | None:
    """Hexadecimal or base64 of 32 bytes; empty: none is given."""
    if isinstance(value, bytes) and len(value) == SECRET_BYTES:
        return value
    if value is None or value == "":
        return None
    for decode in (bytes.fromhex, _base64):
        try:
            secret = decode(str(value))
        except ValueError:
            continue
        if len(secret) == SECRET_BYTES:
            return secret
    raise ValueError(f"must be {SECRET_BYTES} random bytes in hexadecimal or base64 (`openssl rand -hex 32`)")


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error


def parse_hostname(value: object) -> str:
    """A name for EHLO (RFC 5321 §4.1.1.1), ASCII, without a trailing dot."""
    name = str(value)
    if len(name) > 253 or not all(_HOST_LABEL.fullmatch(label) for label in name.split(".")):
        raise ValueError(f"must be a host name such as mail.example.org, not {name!r}")
    return name.lower()


def parse_folder(value: object) -> Path:
    path = _absolute(str(value))
    if not str(value) or set("?#%\n") & set(str(path)):
        raise ValueError("must be a folder whose path has none of ? # % in it, for it becomes part of a URL")
    return path


def parse_path(value: object) -> Path | None:
    return None if value is None or value == "" else _absolute(str(value))


def _absolute(text: str) -> Path:
    if "\0" in text:
        raise ValueError("must be a path, and no path holds a NUL")
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:  # ~NAME of somebody who is not known here
        raise ValueError("must not begin with ~ and the name of a user who is not known here") from None


def parse_database_url(value: object) -> str:
    """PostgreSQL by psycopg, whatever driver the URL names or leaves open."""
    scheme, found, rest = str(value).partition("://")
    if found and scheme in {"postgres", "postgresql", "postgresql+psycopg"}:
        return f"postgresql+psycopg://{rest}"
    if found and scheme == "sqlite" and rest.startswith("/") and rest not in {"/", "/:memory:"}:
        return str(value)
    raise ValueError(
        "must be a URL such as postgresql://user@host/mailer or sqlite:////folder/mailer.sqlite3"
    )


def parse_public_url(value: object) -> str | None:
    """A URL that others reach us by, ASCII, without a slash at its end; empty: there is none."""
    text = str(value or "").strip().rstrip("/")
    if not text:
        return None
    try:
        parts = urlsplit(text)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good or _NOT_IN_PUBLIC_URL.search(text) or len(text) > _PUBLIC_URL_CHARS:
        raise ValueError(
            f"must be a URL of at most {_PUBLIC_URL_CHARS} characters without user, query and fragment,"
            f" such as https://mail.example.org, not {text[:_PUBLIC_URL_CHARS]!r}"
        )
    return text


def parse_broker_url(value: object) -> str:
    schemes = ("bell", "amqp", "amqps", "redis", "rediss")
    scheme, found, _ = str(value).partition("://")
    if not found or scheme not in schemes:
        raise ValueError(f"must be a URL that starts with {', '.join(f'{s}://' for s in schemes)}")
    return str(value)


def reachable(host: str) -> str:
    """An address to dial for one to listen on, which may mean all of this machine's."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104


def is_loopback(host: str) -> bool:
    """Nobody else can reach it. A name is a resolver's word, but for localhost (RFC 6761 §6.3)."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def without_password(url: str) -> str:
    """The URL as it may be shown."""
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", url)


def _items(value: object) -> list[Any]:
    """The items of a list, or of a text with commas."""
    if isinstance(value, str):
        return [item.strip() for item in value.split(",") if item.strip()]
    return list(value) if isinstance(value, Iterable) else [value]


def _by(parse: Callable[[object], object]) -> BeforeValidator:
    return BeforeValidator(parse)


Duration = Annotated[timedelta, _by(parse_duration)]
Durations = Annotated[tuple[timedelta, ...], _by(parse_durations)]
Resolvers = Annotated[tuple[str, ...], _by(parse_resolvers)]
Networks = Annotated[tuple[Network, ...], _by(parse_networks)]
Secret = Annotated[bytes | None, _by(parse_secret)]
Hostname = Annotated[str, _by(parse_hostname)]
Folder = Annotated[Path, _by(parse_folder)]
OptionalPath = Annotated[Path | None, _by(parse_path)]
PublicUrl = Annotated[str | None, _by(parse_public_url)]
DatabaseUrl = Annotated[str, _by(parse_database_url)]
BrokerUrl = Annotated[str, _by(parse_broker_url)]
