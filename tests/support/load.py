"""Clients of the HTTP and the SMTP door that remember every 202 and 250, in a process of their own.

Each message bears a unique id: in its subject ("bid=..."), in its recipients' local parts and as its
idempotency key. A submission that ends without an answer, or with 5xx by HTTP and 4yz by SMTP, is noted as
unknown and repeated with the same key until it is answered: it counts as accepted only when its 202 or 250
was read, and that is written down with one write call before the client goes on.

Single messages are begun so many a second; a batch of a thousand whenever the harness orders one.
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
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import uvloop

from tests.support.instance import wait_for
from tests.support.load_doors import BatchDoor, Door, HttpDoor, Lost, Message, No, SmtpDoor, Yes

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
    per_second  single messages begun a second, over all clients
    clients     by HTTP; smtp_clients: by SMTP, a connection each
    most        single messages after which no more are begun; batches have the numbers from there on
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
    """A 202 or 250, or its part of a batch's answer, as the client read it.

    recipients  id by address; "" where the door did not tell it
    unknown     answers missed before it
    door        by which it came
    batch       bid of the first message of its batch; "" outside one
    replayed    the answer says that an earlier submission brought it
    """

    ns: int
    bid: str
    message_id: str
    recipients: Mapping[str, str]
    unknown: int
    door: str = "http"
    batch: str = ""
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages that were submitted together and are not answered yet: bids of the first and the last."""

    first: str
    last: str


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
    return [*by_http, *by_smtp, BatchDoor(http)]


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
        self._next_in_batches = plan.most
        self._orders = asyncio.Semaphore(0)
        self._stopping = False
        self._began = time.monotonic()

    async def run(self) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._stop)
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self._orders.release)
        self._write({"ready": True})
        limits = httpx.Limits(max_connections=self._plan.clients + 1)
        headers = {"Authorization": f"Bearer {self._plan.key}"}
        async with httpx.AsyncClient(
            base_url=self._plan.url, headers=headers, limits=limits, timeout=10, trust_env=False
        ) as http:
            await asyncio.gather(*(self._client(door) for door in doors_of(self._plan, http)))

    def _stop(self) -> None:
        self._stopping = True
        self._orders.release()

    def _write(self, fact: object) -> None:
        os.write(self._fd, json.dumps(fact).encode() + b"\n")

    async def _client(self, door: Door) -> None:
        async with aclosing(self._paced() if door.size == 1 else self._ordered(door.size)) as turns:
            async for numbers in turns:
                await self._submit(door, [compose(self._plan, number) for number in numbers])
        await door.close()

    async def _paced(self) -> AsyncGenerator[range]:
        """The next number, when its time has come."""
        while not self._stopping and self._next < self._plan.most:
            number, self._next = self._next, self._next + 1
            due = self._began + number / self._plan.per_second
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if not self._stopping:
                yield range(number, number + 1)

    async def _ordered(self, size: int) -> AsyncGenerator[range]:
        """The next `size` numbers, whenever they are ordered."""
        while await self._orders.acquire() and not self._stopping:
            first, self._next_in_batches = self._next_in_batches, self._next_in_batches + size
            yield range(first, first + size)

    async def _submit(self, door: Door, messages: Sequence[Message]) -> None:
        if door.size > 1:
            self._write({"begun": asdict(Batch(messages[0].bid, messages[-1].bid))})
        for unknown in itertools.count():
            try:
                answers = await door.submit(messages)
            except Lost as error:
                self._write({"unknown": messages[0].bid, "why": str(error)})
            else:
                batch = messages[0].bid if door.size > 1 else ""
                both = zip(messages, answers, strict=True)
                self._write({"answered": [_noted(m.bid, a, unknown, door.name, batch) for m, a in both]})
                return
            await asyncio.sleep(_REPEAT_SECONDS)


def _noted(bid: str, answer: Yes | No, unknown: int, door: str, batch: str) -> dict[str, object]:
    if isinstance(answer, No):
        return {"refused": asdict(Refused(bid, answer.status, answer.words))}
    ns = time.monotonic_ns()
    return {
        "accepted": asdict(
            Accepted(ns, bid, answer.message_id, answer.recipients, unknown, door, batch, answer.replayed)
        )
    }


class Load:
    """The harness's end of running clients. Ended by `running_load`.

    batch  under way; None: there is none
    """

    def __init__(self, process: subprocess.Popen[bytes], record: Path, clients: int) -> None:
        self.clients = clients
        self._process = process
        self._record = record
        self._read = 0
        self._rest = b""
        self.accepted: list[Accepted] = []
        self.refused: list[Refused] = []
        self.unknown = 0
        self.batch: Batch | None = None
        self._answers = 0
        self._is_ready = False

    def order_batch(self) -> None:
        """Returns when a batch is on its way."""
        wait_for("the clients to listen", lambda: self.look() >= 0 and self._is_ready, within_seconds=20)
        self._process.send_signal(signal.SIGUSR1)
        wait_for("a batch", lambda: self.look() >= 0 and self.batch, within_seconds=20)

    def look(self) -> int:
        """Reads what was written since; returns how many answers there are by now that accepted something:
        202s, 250s, and of a batch the one that answers all of it."""
        with self._record.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        self._read += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._take(json.loads(line))
        return self._answers

    def _take(self, fact: dict[str, Any]) -> None:
        match fact:
            case {"answered": answers}:
                before = len(self.accepted)
                self.accepted += [Accepted(**one["accepted"]) for one in answers if "accepted" in one]
                self.refused += [Refused(**one["refused"]) for one in answers if "refused" in one]
                self._answers += len(self.accepted) > before
                if len(answers) > 1:
                    self.batch = None
            case {"begun": batch}:
                self.batch = Batch(**batch)
            case {"unknown": _}:
                self.unknown += 1
            case {"ready": is_ready}:
                self._is_ready = is_ready

    def finish(self, *, within_seconds: float) -> None:
        """Begins nothing new, and returns when every request was answered."""
        self._process.terminate()
        code = self._process.wait(within_seconds)
        assert code == 0, f"the clients ended with {code}"
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
    load = Load(subprocess.Popen(command, cwd=ROOT), record, plan.clients + plan.smtp_clients + 1)
    try:
        yield load
    finally:
        load.close()


if __name__ == "__main__":
    uvloop.run(_Clients(LoadPlan(**json.loads(sys.argv[2])), Path(sys.argv[1])).run())
