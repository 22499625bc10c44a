"""Clients of the HTTP and the SMTP door that remember every 202 and 250, in a process of their own.

Each message bears a unique id: in its subject ("bid=..."), in its recipients' local parts and as its
idempotency key. A submission that ends without an answer, or with 5xx by HTTP and 4yz by SMTP, is noted as
unknown and repeated with the same key until it is answered: it counts as accepted only when its 202 or 250
was read, and that is written down with one write call before the client goes on.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
import uvloop

from tests.support.load_doors import Door, HttpDoor, Lost, Message, No, SmtpDoor, Yes

ROOT = Path(__file__).parents[2]
# Of a thousand recipients; what is left is "ok" (tests/support/sink.py has the words).
MIXED: Mapping[str, int] = {
    "slow3": 20, "defer1": 30, "defer2": 10, "deferdot1": 20, "refuse": 30, "refusedot": 20,
    "hangbefore": 1, "hangafter": 1, "hangkept": 1, "dropbefore": 5, "dropafter": 5, "dropkept": 5,
}  # fmt: skip
DOMAINS = 12
_REPEAT_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """What is sent.

    seed        makes behaviours and recipient counts; the same seed sends the same messages
    smtp        host and port of the SMTP door
    prefix      of every id, so that two loads on one instance do not meet
    per_second  messages begun a second, over all clients
    clients     by HTTP; smtp_clients: by SMTP, a connection each
    most        messages after which it ends by itself
    behaviours  recipients of a thousand that get each behaviour
    """

    url: str
    key: str
    sender: str
    seed: int
    prefix: str
    per_second: float
    smtp: tuple[str, int]
    clients: int = 10
    smtp_clients: int = 6
    most: int = 1_000_000
    behaviours: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Accepted:
    """A 202 or 250 as the client read it. recipients: id by address; "" where the door did not tell it.

    unknown  answers missed before it
    door     by which it came
    """

    ns: int
    bid: str
    message_id: str
    recipients: Mapping[str, str]
    unknown: int
    door: str = "http"


@dataclass(frozen=True, slots=True)
class Refused:
    """An answer that refuses for good: none is expected."""

    bid: str
    status: int
    body: str


def compose(plan: LoadPlan, number: int) -> Message:
    """Message `number`; always the same for the same plan."""
    dice = random.Random(f"{plan.seed}/{plan.prefix}/{number}")
    bid = f"{plan.prefix}{number:06d}"
    count = dice.choices((1, 2, 3), weights=(8, 1, 1))[0]
    domains = dice.sample(range(DOMAINS), count)
    to = [f"{_behaviour(plan, dice)}.{bid}@d{domain:02d}.example.net" for domain in domains]
    text = f"This is message {bid}.\n" * dice.randint(1, 30)
    return Message(bid, {"from": plan.sender, "to": to, "subject": f"bid={bid}", "text": text})


def doors_of(plan: LoadPlan, http: httpx.AsyncClient) -> list[Door]:
    """One for each client."""
    by_http: list[Door] = [HttpDoor(http) for _ in range(plan.clients)]
    by_smtp: list[Door] = [SmtpDoor(*plan.smtp, plan.key) for _ in range(plan.smtp_clients)]
    return by_http + by_smtp


def _behaviour(plan: LoadPlan, dice: random.Random) -> str:
    draw = dice.randrange(1000)
    for word, share in plan.behaviours.items():
        if draw < share:
            return word
        draw -= share
    return "ok"


# ---- the process -----------------------------------------------------------------------------------------


class _Clients:
    def __init__(self, plan: LoadPlan, record: Path) -> None:
        self._plan = plan
        self._fd = os.open(record, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._next = 0
        self._stopping = False
        self._began = time.monotonic()

    async def run(self) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._stop)
        limits = httpx.Limits(max_connections=self._plan.clients)
        headers = {"Authorization": f"Bearer {self._plan.key}"}
        async with httpx.AsyncClient(
            base_url=self._plan.url, headers=headers, limits=limits, timeout=10, trust_env=False
        ) as http:
            await asyncio.gather(*(self._client(door) for door in doors_of(self._plan, http)))

    def _stop(self) -> None:
        self._stopping = True

    def _write(self, fact: object) -> None:
        os.write(self._fd, json.dumps(fact).encode() + b"\n")

    async def _client(self, door: Door) -> None:
        while not self._stopping and (numbers := self._take(door.size)):
            due = self._began + numbers[0] / self._plan.per_second
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if not self._stopping:
                await self._submit(door, [compose(self._plan, number) for number in numbers])
        await door.close()

    def _take(self, count: int) -> range:
        """The next numbers of messages; empty after the last."""
        first = self._next
        self._next = min(first + count, self._plan.most)
        return range(first, self._next)

    async def _submit(self, door: Door, messages: Sequence[Message]) -> None:
        for unknown in itertools.count():
            try:
                answers = await door.submit(messages)
            except Lost as error:
                self._write({"unknown": messages[0].bid, "why": str(error)})
            else:
                for message, answer in zip(messages, answers, strict=True):
                    self._write(_noted(message.bid, answer, unknown, door.name))
                return
            await asyncio.sleep(_REPEAT_SECONDS)


def _noted(bid: str, answer: Yes | No, unknown: int, door: str) -> dict[str, object]:
    if isinstance(answer, No):
        return {"refused": asdict(Refused(bid, answer.status, answer.words))}
    now = time.monotonic_ns()
    return {"accepted": asdict(Accepted(now, bid, answer.message_id, answer.recipients, unknown, door))}


class Load:
    """The harness's end of running clients. Ended by `running_load`."""

    def __init__(self, process: subprocess.Popen[bytes], record: Path, clients: int) -> None:
        self.clients = clients
        self._process = process
        self._record = record
        self._read = 0
        self._rest = b""
        self.accepted: list[Accepted] = []
        self.refused: list[Refused] = []
        self.unknown = 0

    def look(self) -> int:
        """Reads what was written since; returns how many 202s there are by now."""
        with self._record.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        self._read += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._take(json.loads(line))
        return len(self.accepted)

    def _take(self, fact: dict[str, dict[str, object]]) -> None:
        if "accepted" in fact:
            self.accepted.append(Accepted(**fact["accepted"]))  # type: ignore[arg-type]
        elif "refused" in fact:
            self.refused.append(Refused(**fact["refused"]))  # type: ignore[arg-type]
        else:
            self.unknown += 1

    def finish(self, *, within_seconds: float) -> None:
        """Begins nothing new, and returns when every request was answered."""
        self._process.terminate()
        code = self._process.wait(within_seconds)
        assert code == 0, f"the clients ended with {code}"
        self.look()

    def wait(self, *, within_seconds: float) -> None:
        """Returns when the plan's last request was answered."""
        assert self._process.wait(within_seconds) == 0
        self.look()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def running_load(folder: Path, plan: LoadPlan) -> Iterator[Load]:
    """Clients in a process of their own, ended with the block."""
    record = folder / f"load-{plan.prefix}.jsonl"
    record.touch()
    command = [sys.executable, "-m", "tests.support.load", str(record), json.dumps(asdict(plan))]
    load = Load(subprocess.Popen(command, cwd=ROOT), record, plan.clients + plan.smtp_clients)
    try:
        yield load
    finally:
        load.close()


if __name__ == "__main__":
    uvloop.run(_Clients(LoadPlan(**json.loads(sys.argv[2])), Path(sys.argv[1])).run())
