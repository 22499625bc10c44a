"""A DNS server on loopback, UDP and TCP, that answers from a dictionary and can misbehave by name.

    zone = {("example.net", "MX"): ["10 mx.example.net."], ("mx.example.net", "A"): ["192.0.2.1"]}

A name with other records answers NODATA, a name without any NXDOMAIN. `faults` maps a name, or a
(name, type), to "servfail", "silent" or "refused"; `truncate` names answer over UDP with TC set.
"""

from __future__ import annotations

import asyncio
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Self, cast

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

Zone = Mapping[tuple[str, str], Sequence[str]]
_SOA = "ns.test. hostmaster.test. 1 3600 600 86400 {negative}"


class DnsServer:
    """`async with DnsServer(zone) as dns:` then `dns.place` is "127.0.0.1:port"."""

    def __init__(
        self,
        zone: Zone,
        *,
        faults: Mapping[str | tuple[str, str], str] | None = None,
        truncate: Sequence[str] = (),
        ttl: int = 300,
        negative_ttl: int = 60,
        authentic: bool = False,
    ) -> None:
        """authentic: says that DNSSEC proves its answers, to those who ask (RFC 6840 §5.8)."""
        self._authentic = authentic
        self.zone = dict(zone)
        self.faults = dict(faults or {})
        self._truncate = set(truncate)
        self._ttl = ttl
        self._negative_ttl = negative_ttl
        self.asked: Counter[tuple[str, str]] = Counter()
        self.asked_by_tcp: Counter[tuple[str, str]] = Counter()
        self.port = 0

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._tcp = await asyncio.start_server(self._serve_tcp, "127.0.0.1", 0)
        self.port = self._tcp.sockets[0].getsockname()[1]
        self._udp, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(self), local_addr=("127.0.0.1", self.port)
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._udp.close()
        self._tcp.close()
        await self._tcp.wait_closed()

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.port}"

    def answer(self, wire: bytes, *, by_tcp: bool) -> bytes | None:
        """The response to a query; None: say nothing."""
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked[name, kind] += 1
        if by_tcp:
            self.asked_by_tcp[name, kind] += 1
        response = dns.message.make_response(query)
        fault = self.faults.get((name, kind), self.faults.get(name))
        if fault == "silent":
            return None
        if fault is not None:
            response.set_rcode(dns.rcode.SERVFAIL if fault == "servfail" else dns.rcode.REFUSED)
        elif name in self._truncate and not by_tcp:
            response.flags |= dns.flags.TC
        else:
            self._fill(response, name, kind)
        if self._authentic and query.flags & dns.flags.AD:
            response.flags |= dns.flags.AD
        return response.to_wire()

    def _fill(self, response: dns.message.Message, name: str, kind: str) -> None:
        response.flags |= dns.flags.RA
        owner = name
        while alias := self.zone.get((owner, "CNAME")):
            response.answer.append(self._rrset(owner, "CNAME", alias))
            owner = alias[0].rstrip(".").lower()
        records = self.zone.get((owner, kind))
        if records:
            response.answer.append(self._rrset(owner, kind, records))
            return
        if not any(known == owner for known, _ in self.zone):
            response.set_rcode(dns.rcode.NXDOMAIN)
        soa = dns.rrset.from_text("test.", self._ttl, "IN", "SOA", _SOA.format(negative=self._negative_ttl))
        response.authority.append(soa)

    def _rrset(self, name: str, kind: str, records: Sequence[str]) -> dns.rrset.RRset:
        return dns.rrset.from_text(name + ".", self._ttl, "IN", kind, *records)

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            (length,) = struct.unpack("!H", await reader.readexactly(2))
            response = self.answer(await reader.readexactly(length), by_tcp=True)
            if response is not None:
                writer.write(struct.pack("!H", len(response)) + response)
                await writer.drain()
        except asyncio.IncompleteReadError:
            pass  # the client went away
        finally:
            writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: object) -> None:
        response = self._server.answer(data, by_tcp=False)
        if response is not None:
            self._transport.sendto(response, cast("tuple[str, int]", addr))
