"""What one client may ask of us: octets, seconds, counts."""

from __future__ import annotations

from dataclasses import dataclass

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Defaults suit a submission port. RFC 5321 §4.5.3 gives the least that must be taken.

    size_bytes            largest content, unstuffed; announced as SIZE (RFC 1870 §4)
    discard_bytes         octets of a refused content that are read to find its end, before we hang up instead
    text_line_octets      longest line of content without its CRLF (§4.5.3.1.6); 0: any
    command_octets        longest command line with its CRLF; 512 and what the extensions add (§4.5.3.1.4)
    auth_line_octets      the same for AUTH and what it is answered with (RFC 4954 §4)
    recipients            of one transaction (§4.5.3.1.8)
    messages              of one connection; the client may connect again
    errors                bad commands of one connection
    auth_failures         of one connection
    connections           at once, from all peers
    connections_per_peer  at once from one IPv4 address or one IPv6 /64
    idle_seconds          silence before a command (§4.5.3.2.7), in content, or with our replies unread
    handshake_seconds     for TLS
    session_seconds       after that no transaction begins; after twice that an open one ends
    content_seconds       time that any content may take; beyond it the pace below must be kept on average
    bytes_per_second      of content; also refuses the sender that drips a byte a minute
    linger_seconds        how long we wait for the peer to read our last reply and close
    """

    size_bytes: int = 40 * _MIB
    discard_bytes: int = 100 * _MIB
    text_line_octets: int = 998
    command_octets: int = 2048
    auth_line_octets: int = 12288
    recipients: int = 1000
    messages: int = 1000
    errors: int = 10
    auth_failures: int = 3
    connections: int = 1000
    connections_per_peer: int = 100
    idle_seconds: float = 300.0
    handshake_seconds: float = 30.0
    session_seconds: float = 3600.0
    content_seconds: float = 300.0
    bytes_per_second: int = 1024
    linger_seconds: float = 2.0
