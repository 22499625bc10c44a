"""Mail leaves from three addresses of this host, as a real Postfix that receives it sees them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from pathlib import Path
from typing import Any

import pytest

from tests.support.instance import Instance, installed, wait_for
from tests.support.postfix import Mx
from tests.support.sink import running_sink

PATIENCE_SECONDS = 120
ADDRESSES = ("127.0.0.2", "127.0.0.3", "127.0.0.4")
ELSEWHERE = "198.51.100.9"  # on no host (RFC 5737)


@dataclass(frozen=True)
class Installation:
    """An instance with three egress IPs in its default pool, and one that is not here."""

    running: Instance

    def tell(self, *words: str) -> Any:
        """The JSON of a command that must succeed."""
        done = self.running.run(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def furnish(self) -> None:
        self.tell("pool", "create", "main", "--default")
        for address in (*ADDRESSES, ELSEWHERE):
            self.tell("ip", "add", address, "--helo", f"out{address[-1]}.example.org")
            self.tell("pool", "add-ip", "main", address)
        self.wait_until_looked_for()

    def wait_until_looked_for(self) -> None:
        """The worker has read the pools and found out which addresses are here."""
        wait_for(
            "the worker to look for the IPs",
            lambda: all(ip["hosts"] for ip in self.tell("ip", "list")),
            within_seconds=PATIENCE_SECONDS,
        )

    def send(self, count: int, to: str = "ann") -> list[str]:
        assert self.running.ready is not None
        letter = {"from": f"shop@{self.running.ready.domain}", "subject": "hello", "text": "hi"}
        answers = [self.running.send(**letter, to=f"{to}.{n}@example.net") for n in range(count)]
        return [a.json()["id"] for a in answers]

    def attempts(self, message_id: str) -> list[dict[str, Any]]:
        """Of the message's recipient, once it is delivered."""

        def look() -> list[dict[str, Any]] | None:
            [recipient] = self.running.get(f"/v1/messages/{message_id}")["recipients"]
            return recipient["attempts"] if recipient["state"] == "delivered" else None

        return wait_for("the delivery", look, within_seconds=PATIENCE_SECONDS)


@pytest.fixture
def to_postfix(tmp_path: Path) -> Iterator[tuple[Installation, Mx]]:
    with ExitStack() as stack:
        mx = stack.enter_context(closing(Mx(certificate=None)))
        mx.start()
        routes = {"MAILER_ROUTES": f"*=127.0.0.1:{mx.port};tls=none"}
        yield Installation(stack.enter_context(installed(tmp_path / "data", routes))), mx


def senders(mx: Mx) -> Counter[tuple[str, str]]:
    """EHLO name and address of each message, by the Received line that Postfix wrote (RFC 5321 §4.4)."""
    parser = BytesHeaderParser()
    first = [str(parser.parsebytes(octets).get_all("Received", [])[0]) for octets in mx.kept()]
    found = [re.match(r"from (\S+) \(\S+ \[([0-9.]+)\]\)", line) for line in first]
    return Counter((m[1], m[2]) for m in found if m is not None)


def test_each_message_leaves_from_an_ip_of_the_pool_under_its_name(
    to_postfix: tuple[Installation, Mx],
) -> None:
    installation, mx = to_postfix
    installation.furnish()
    sent = installation.send(40)
    used = Counter(installation.attempts(m)[0]["egress_ip"] for m in sent)

    seen = senders(mx)
    assert set(seen) == {(f"out{a[-1]}.example.org", a) for a in ADDRESSES}
    assert {address: n for (_, address), n in seen.items()} == used
    assert sum(used.values()) == 40

    away = next(ip for ip in installation.tell("ip", "list") if ip["ipv4"] == ELSEWHERE)
    assert away["notes"] == [f"{ELSEWHERE} is on no host with a worker: nothing leaves from it"]


def test_an_ip_that_is_switched_off_sends_nothing_more_and_strands_nothing(
    to_postfix: tuple[Installation, Mx],
) -> None:
    installation, mx = to_postfix
    installation.furnish()
    for address in ADDRESSES[:2]:
        installation.tell("ip", "set", address, "--state", "off")
    running = installation.running
    before = running.pid("worker")
    running.stop()  # what was switched off stays off over a restart
    running.start()
    sent = installation.send(12)

    used = {installation.attempts(m)[0]["egress_ip"] for m in sent}

    assert used == {ADDRESSES[2]}
    assert set(senders(mx)) == {("out4.example.org", ADDRESSES[2])}
    assert running.pid("worker") != before


def test_deferred_mail_comes_again_from_the_same_ip(tmp_path: Path) -> None:
    """A greylist keys on it; three IPs with equal weights would hit it by chance one time in 3**8."""
    with running_sink(tmp_path) as sink:
        settings = {"MAILER_ROUTES": f"*=127.0.0.1:{sink.port};tls=none", "MAILER_RETRY_DELAYS": "1s"}
        with installed(tmp_path / "data", settings) as running:
            installation = Installation(running)
            installation.furnish()
            sent = installation.send(8, to="defer1")
            tries = [installation.attempts(m) for m in sent]

    assert {len(t) for t in tries} == {2}
    assert all(first["egress_ip"] == second["egress_ip"] for first, second in tries)
    assert {first["egress_ip"] for first, _ in tries} <= set(ADDRESSES)


def test_a_pool_without_an_ip_here_holds_its_mail_back_and_says_why(tmp_path: Path) -> None:
    with installed(tmp_path / "data", {}, http_port=0) as running:
        installation = Installation(running)
        installation.tell("pool", "create", "main", "--default")
        installation.tell("ip", "add", ELSEWHERE, "--helo", "out9.example.org")
        installation.tell("pool", "add-ip", "main", ELSEWHERE)
        installation.wait_until_looked_for()
        [message] = installation.send(1)

        def look() -> dict[str, Any] | None:
            [recipient] = running.get(f"/v1/messages/{message}")["recipients"]
            return recipient if recipient["wait_reason"] == "no_egress" else None

        waits = wait_for("the reason", look, within_seconds=PATIENCE_SECONDS)
        explained = running.get(f"/v1/messages/{message}/explain")["recipients"][0]["now"]
        installation.tell("ip", "add", ADDRESSES[0], "--helo", "out2.example.org")
        installation.tell("pool", "add-ip", "main", ADDRESSES[0])
        installation.wait_until_looked_for()
        asked = running.post(f"/v1/messages/{message}/retry", None)
        code, findings = running.verify()

        assert (waits["state"], waits["attempt_count"]) == ("deferred", 0)
        assert waits["last_reply"] == "no IP of the pool main is active and on this host"
        assert "no IP of its pool" in explained["reason"]
        assert asked.status_code == 200
        assert [a["egress_ip"] for a in installation.attempts(message)][-1] == ADDRESSES[0]
        assert code == 0, findings
