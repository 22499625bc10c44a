"""HTTP to a stranger's URL: whatever its name resolves to, now or later, nothing of ours is reached."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_network
from pathlib import Path

import httpx
import pytest

from mailer.outward import Guard, GuardedTransport, NotAllowed, NotFound, TlsFailed
from mailer.outward.guard import LOOPBACK, GuardedConnect, Network, system_addresses
from mailer.relay.smtp.lookup import Lookup
from tests.support.certificates import server_context, trusting_context
from tests.support.dns_server import DnsServer
from tests.support.receiver import Receiver, receiving

LIVE = Guard()
SANDBOX = Guard(networks=LOOPBACK)
HOST = "hook.example.net"


def client_of(
    guard: Guard, dns: DnsServer | None = None, *, tls: ssl.SSLContext | None = None
) -> httpx.AsyncClient:
    resolve = Lookup([dns.place]).addresses if dns else system_addresses
    transport = GuardedTransport(guard, connections=4, resolve=resolve, tls=tls)
    return httpx.AsyncClient(transport=transport, trust_env=False)


def only(*networks: str) -> Guard:
    allowed: Iterable[Network] = [ip_network(network) for network in networks]
    return Guard(networks=allowed)


class RebindingDns(DnsServer):
    """Answers each question for an A record with the next of `addresses`, the last one again and again."""

    def __init__(self, addresses: Sequence[str]) -> None:
        super().__init__({(HOST, "A"): [addresses[0]]}, ttl=0)
        self._addresses = addresses

    def answer(self, wire: bytes, *, by_tcp: bool) -> bytes | None:
        so_far = self.asked[HOST, "A"]
        self.zone[HOST, "A"] = [self._addresses[min(so_far, len(self._addresses) - 1)]]
        return super().answer(wire, by_tcp=by_tcp)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


SPECIAL_4 = [
    "127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254",
    "100.64.0.1", "100.100.100.200", "192.0.0.192", "168.63.129.16", "198.18.0.1", "224.0.0.1",
    "255.255.255.255",
]  # fmt: skip
SPECIAL_6 = [
    "::1", "::", "::ffff:127.0.0.1", "::ffff:9.9.9.9", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1", "fe80::1", "fd00:ec2::254", "ff02::1", "2002:7f00:1::1", "2001:db8::1",
]  # fmt: skip


@pytest.mark.parametrize("address", SPECIAL_4 + [f"[{address}]" for address in SPECIAL_6])
async def test_live_no_special_address_is_dialled_when_the_url_names_it(address: str) -> None:
    async with client_of(LIVE) as client:
        with pytest.raises(NotAllowed):
            await client.post(f"http://{address}:8080/")


@pytest.mark.parametrize("address", SPECIAL_4 + SPECIAL_6)
async def test_live_no_special_address_is_dialled_when_a_name_leads_to_it(address: str) -> None:
    zone = {(HOST, "AAAA" if ":" in address else "A"): [address]}
    async with DnsServer(zone) as dns, client_of(LIVE, dns) as client:
        with pytest.raises(NotAllowed):
            await client.post(f"http://{HOST}:8080/")


@pytest.mark.parametrize(
    "host", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "localhost", "a.localhost"]
)
async def test_live_no_spelling_of_loopback_gets_through(host: str, receiver: Receiver) -> None:
    async with client_of(LIVE) as client:
        with pytest.raises((NotAllowed, NotFound, httpx.InvalidURL)):
            await client.post(f"http://{host}:{receiver.port}/")

    assert receiver.dials == 0


async def test_live_our_own_address_is_not_dialled() -> None:
    async with client_of(Guard(own={"198.41.0.4"})) as client:
        with pytest.raises(NotAllowed):
            await client.post("http://198.41.0.4/")


async def test_one_bad_address_among_good_ones_refuses_the_host(receiver: Receiver) -> None:
    zone = {(HOST, "A"): ["127.0.0.1", "10.0.0.1"]}
    async with DnsServer(zone) as dns, client_of(SANDBOX, dns) as client:
        with pytest.raises(NotAllowed):
            await client.post(f"http://{HOST}:{receiver.port}/")

    assert receiver.dials == 0


async def test_a_name_is_resolved_once_a_connect_and_what_was_judged_is_dialled() -> None:
    """DNS rebinding: the judge sees a good address, the connect would get a bad one."""
    with receiving() as good, receiving(host="127.0.0.2", port=good.port) as bad:
        async with (
            RebindingDns(["127.0.0.1", "127.0.0.2"]) as dns,
            client_of(only("127.0.0.1/32"), dns) as client,
        ):
            answer = await client.post(f"http://{HOST}:{good.port}/", headers={"Connection": "close"})
            asked_by_then = dns.asked[HOST, "A"]
            with pytest.raises(NotAllowed):
                await client.post(f"http://{HOST}:{good.port}/")

        assert answer.status_code == 204
        assert (asked_by_then, dns.asked[HOST, "A"]) == (1, 2)
        assert (good.dials, bad.dials) == (1, 0)


async def test_the_host_keeps_its_name_in_tls_and_in_the_request(tmp_path: Path) -> None:
    tls = server_context(tmp_path, HOST)
    with receiving(tls=tls) as receiver:
        async with (
            DnsServer({(HOST, "A"): ["127.0.0.1"]}) as dns,
            client_of(SANDBOX, dns, tls=trusting_context(tmp_path, HOST)) as client,
        ):
            answer = await client.post(f"https://{HOST}:{receiver.port}/x")

    assert answer.status_code == 204
    assert receiver.calls[0].headers["host"] == f"{HOST}:{receiver.port}"


async def test_a_certificate_for_another_name_is_refused(tmp_path: Path) -> None:
    tls = server_context(tmp_path, HOST)
    zone = {("other.example.net", "A"): ["127.0.0.1"]}
    with receiving(tls=tls) as receiver:
        async with (
            DnsServer(zone) as dns,
            client_of(SANDBOX, dns, tls=trusting_context(tmp_path, HOST)) as client,
        ):
            with pytest.raises(TlsFailed):
                await client.post(f"https://other.example.net:{receiver.port}/x")

    assert receiver.calls == []


async def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    with receiving(tls=server_context(tmp_path, HOST)) as receiver:
        async with DnsServer({(HOST, "A"): ["127.0.0.1"]}) as dns, client_of(SANDBOX, dns) as client:
            with pytest.raises(TlsFailed):
                await client.post(f"https://{HOST}:{receiver.port}/x")


async def test_the_next_address_is_tried_where_nobody_listens(receiver: Receiver) -> None:
    zone = {(HOST, "A"): ["127.0.0.2", "127.0.0.1"]}
    async with DnsServer(zone) as dns, client_of(SANDBOX, dns) as client:
        answer = await client.post(f"http://{HOST}:{receiver.port}/")

    assert answer.status_code == 204


async def test_where_nobody_listens_at_all_it_is_a_failed_connect(receiver: Receiver) -> None:
    receiver.stop()
    async with client_of(SANDBOX) as client:
        with pytest.raises(httpx.ConnectError):
            await client.post(receiver.url)


@pytest.mark.parametrize("fault", [None, "servfail"])
async def test_a_name_without_an_address_is_said_so(fault: str | None) -> None:
    async with DnsServer({}, faults={HOST: fault} if fault else {}) as dns, client_of(LIVE, dns) as client:
        with pytest.raises(NotFound):
            await client.post(f"http://{HOST}/")


async def test_localhost_is_this_machine_whatever_the_dns_says(receiver: Receiver) -> None:
    async with DnsServer({("localhost", "A"): ["9.9.9.9"]}) as dns, client_of(SANDBOX, dns) as client:
        answer = await client.post(f"http://localhost:{receiver.port}/")

    assert answer.status_code == 204
    assert not dns.asked


async def test_a_proxy_of_the_environment_is_not_used(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiving() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        async with client_of(SANDBOX) as client:
            await client.post(receiver.url)

    assert (proxy.dials, receiver.dials) == (0, 1)


async def test_no_socket_of_this_machine_is_reached() -> None:
    with pytest.raises(NotAllowed):
        await GuardedConnect(SANDBOX).connect_unix_socket("/run/docker.sock")
