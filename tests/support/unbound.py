"""Debian's Unbound as a validating resolver on loopback, with zones of ours, signed and not.

Each zone is its own trust anchor or none: the network is not asked for anything.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta

import dns.dnssec
import dns.name
import dns.node
import dns.rdatatype
import dns.rdtypes.ANY.TLSA
import dns.resolver
import dns.zone
from cryptography.hazmat.primitives.asymmetric import ec

from mailer import clock
from tests.support.processes import Tree
from tests.support.servers import Server, _program

_TTL = 300


class Unbound(Server):
    """zones: records by origin, as in a zone file, names relative to it.

    signed  origins that DNSSEC proves
    spoilt  names (absolute) whose TLSA records are changed after they were signed
    """

    name = "unbound"

    def __init__(
        self, zones: Mapping[str, Sequence[str]], *, signed: Collection[str], spoilt: Collection[str] = ()
    ) -> None:
        super().__init__()
        self._program = _program("unbound", "unbound", first="/usr/sbin")
        anchors, stubs = "", ""
        for origin, records in zones.items():
            zone = _zone(origin, records)
            if origin in signed:
                anchors += f'  trust-anchor: "{_sign(zone, origin)}"\n'
            for name in spoilt:
                _spoil(zone, name)
            file = self.folder / f"{origin}.zone"
            zone.to_file(str(file))
            stubs += (
                f'auth-zone:\n  name: "{origin}"\n  zonefile: "{file}"\n'
                "  for-upstream: yes\n  for-downstream: no\n  fallback-enabled: no\n"
            )
        (self.folder / "unbound.conf").write_text(
            f"server:\n  interface: 127.0.0.1@{self.port}\n  do-daemonize: no\n  use-syslog: no\n"
            f'  chroot: ""\n  username: ""\n  directory: "{self.folder}"\n  pidfile: ""\n  verbosity: 1\n'
            '  logfile: ""\n  module-config: "validator iterator"\n  do-not-query-localhost: no\n'
            f"  num-threads: 1\n{anchors}remote-control:\n  control-enable: no\n{stubs}"
        )

    @property
    def url(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _launch(self) -> Tree:
        command = [self._program, "-d", "-c", str(self.folder / "unbound.conf")]
        return Tree(command, folder=self.folder, log=self._log)

    def _answers(self) -> bool:
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers, resolver.port, resolver.lifetime = ["127.0.0.1"], self.port, 2.0
        try:
            resolver.resolve("localhost", "A")
        except dns.resolver.NoAnswer:
            return True
        except (dns.resolver.LifetimeTimeout, dns.resolver.NoNameservers):
            return False
        return True


def _zone(origin: str, records: Sequence[str]) -> dns.zone.Zone:
    head = (
        f"$ORIGIN {origin}.\n$TTL {_TTL}\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\n"
    )
    return dns.zone.from_text(head + "\n".join(records) + "\n", origin=origin, relativize=False)


def _sign(zone: dns.zone.Zone, origin: str) -> str:
    """Signs every record; returns the DS that proves the key."""
    private = ec.generate_private_key(ec.SECP256R1())
    key = dns.dnssec.make_dnskey(private.public_key(), dns.dnssec.Algorithm.ECDSAP256SHA256, flags=257)
    now = clock.now()
    dns.dnssec.sign_zone(
        zone, keys=[(private, key)], inception=now - timedelta(days=1), expiration=now + timedelta(days=30)
    )
    ds = dns.dnssec.make_ds(dns.name.from_text(origin), key, "SHA256")
    return f"{origin}. {_TTL} IN DS {ds}"


def _spoil(zone: dns.zone.Zone, name: str) -> None:
    """The records say something else than what was signed."""
    node = zone.get_node(dns.name.from_text(name))
    if node is None:
        return
    rdataset = node.find_rdataset(dns.rdataclass.IN, dns.rdatatype.TLSA)
    [record] = rdataset
    assert isinstance(record, dns.rdtypes.ANY.TLSA.TLSA)
    rdataset.clear()
    rdataset.add(record.replace(cert=bytes(reversed(record.cert))), _TTL)
