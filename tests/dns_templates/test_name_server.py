"""What we render is loaded by a real name server (NSD), and what it serves verifies our signatures."""

from __future__ import annotations

import base64
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import dkim
import dns.resolver
import nacl.encoding
import nacl.signing
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from dns_templates import DkimKey, DomainFacts, Format, records, render
from tests.support.processes import free_port

PRIVATE = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EDWARDS = nacl.signing.SigningKey.generate()
MESSAGE = b"From: a@shop.example\r\nTo: b@receiver.example\r\nSubject: x\r\n\r\nhello\r\n"


def facts() -> DomainFacts:
    public = PRIVATE.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return DomainFacts(
        domain="shop.example",
        keys=(
            DkimKey("m1r", "rsa", base64.b64encode(public).decode()),
            DkimKey("m1e", "ed25519", EDWARDS.verify_key.encode(nacl.encoding.Base64Encoder).decode()),
        ),
        return_path_domain="bounce.shop.example",
        return_path_mx="mx.sender.example",
        spf_include="_spf.sender.example",
        dmarc_reports_to="reports@shop.example",
    )


def program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    assert found, f"this test needs {name}: apt-get install nsd"
    return found


@pytest.fixture(params=["zone", "include"])
def name_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dns.resolver.Resolver]:
    """NSD with our zone file; or with a zone of the user's own that includes our records."""
    zone = tmp_path / "shop.example.zone"
    zone.write_text(render(records(facts()), request.param))
    if request.param == "include":
        own = tmp_path / "own.zone"
        own.write_text(
            "$ORIGIN shop.example.\n$TTL 60\n@ IN SOA ns.else.example. me.else.example. 7 1 1 1 1\n"
            f"@ IN NS ns.else.example.\n$ORIGIN www.shop.example.\n$INCLUDE {zone}\n"
        )
        zone = own
    port = free_port()
    config = tmp_path / "nsd.conf"
    config.write_text(
        f'server:\n ip-address: 127.0.0.1@{port}\n username: ""\n chroot: ""\n zonesdir: "{tmp_path}"\n'
        f' pidfile: ""\n zonelistfile: "{tmp_path}/list"\n xfrdfile: ""\n database: ""\n server-count: 1\n'
        "remote-control:\n control-enable: no\n"
        f'zone:\n name: "shop.example"\n zonefile: "{zone}"\n'
    )
    command = [program("nsd"), "-d", "-V", "1", "-c", config]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        said = []
        for line in process.stderr or ():
            said.append(line)
            if "nsd started" in line:
                break
        else:
            pytest.fail(f"NSD ended before it had started: {''.join(said)}")
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = ["127.0.0.1"], port
        yield resolver
        process.terminate()


def texts(resolver: dns.resolver.Resolver, name: str) -> list[bytes]:
    return [b"".join(answer.strings) for answer in resolver.resolve(name, "TXT", tcp=True)]


def test_nsd_finds_no_fault_in_the_zone_file(tmp_path: Path) -> None:
    zone = tmp_path / "zone"
    zone.write_text(render(records(facts()), Format.ZONE))
    checked = subprocess.run(
        [program("nsd-checkzone"), "shop.example", zone], capture_output=True, text=True, check=False
    )

    assert (checked.returncode, checked.stderr) == (0, "")
    assert "zone shop.example is ok" in checked.stdout


def test_every_record_is_served_as_it_was_meant(name_server: dns.resolver.Resolver) -> None:
    txt = [record for record in records(facts()) if record.type == "TXT"]

    assert [texts(name_server, record.name) for record in txt] == [[record.value.encode()] for record in txt]
    assert [str(mx) for mx in name_server.resolve("bounce.shop.example", "MX")] == ["10 mx.sender.example."]


def test_a_stranger_verifies_our_signatures_with_the_served_keys(name_server: dns.resolver.Resolver) -> None:
    """RFC 6376 §3.6.2.2: the strings of a TXT record are joined; RFC 8463 for the second key."""
    pem = PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    seed = EDWARDS.encode(nacl.encoding.Base64Encoder)
    by_rsa = dkim.sign(MESSAGE, b"m1r", b"shop.example", pem)
    by_edwards = dkim.sign(MESSAGE, b"m1e", b"shop.example", seed, signature_algorithm=b"ed25519-sha256")
    verifier = dkim.DKIM(by_rsa + by_edwards + MESSAGE)

    def ask(name: bytes, timeout: float = 5) -> bytes:
        return texts(name_server, name.decode())[0]

    assert [verifier.verify(idx, dnsfunc=ask) for idx in (0, 1)] == [True, True]
