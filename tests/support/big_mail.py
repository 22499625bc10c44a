"""Many SMTP sessions at once that each submit one big message, in a process of their own.

All sessions are open before the first content begins. Who is put off (4yz) tries again a little later, over
the same session, until the message is taken. Most clients announce the SIZE, as most programs do: those are
put off before they send a content in vain. Every tenth does not.
Run as `python -m tests.support.big_mail` with the plan as JSON; prints the outcome as JSON.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from base64 import b64encode
from dataclasses import asdict, dataclass, field
from pathlib import Path

import uvloop

ROOT = Path(__file__).parents[2]
_PIECE = 1 << 18
_REPEAT_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The door is one that lets clients log in without TLS: that is not what is to be measured."""

    host: str
    port: int
    key: str
    sender: str
    sessions: int
    octets: int


@dataclass(slots=True)
class Outcome:
    """message_ids: of what was taken. put_off: 4yz replies by their first words. refused: for good."""

    message_ids: list[str] = field(default_factory=list)
    put_off: dict[str, int] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)


def message(plan: Plan, number: int) -> bytes:
    """Of exactly that many octets, different for every number in each line."""
    head = (
        f"From: {plan.sender}\r\nTo: n{number}@example.net\r\nSubject: big {number}\r\n"
        f"Message-ID: <{number}@big.example.org>\r\nDate: Mon, 09 Mar 2026 12:00:00 +0000\r\n\r\n"
    ).encode()
    line = f"{number:05d} ".encode() + b"x" * 70 + b"\r\n"
    body = line * ((plan.octets - len(head)) // len(line) + 1)
    return head + body[: plan.octets - len(head) - 2] + b"\r\n"


class _Client:
    def __init__(self, plan: Plan, number: int, outcome: Outcome) -> None:
        self._plan = plan
        self._number = number
        self._outcome = outcome

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(self._plan.host, self._plan.port)
        await self._reply()
        await self._ask(b"EHLO client.example.org\r\n")
        secret = b64encode(b"\0any\0" + self._plan.key.encode())
        assert (await self._ask(b"AUTH PLAIN " + secret + b"\r\n"))[0] == 235

    async def run(self) -> None:
        while not await self._submit():
            await asyncio.sleep(_REPEAT_SECONDS)
        self._writer.close()

    async def _submit(self) -> bool:
        """Whether there is a final answer."""
        size = f" SIZE={self._plan.octets}" if self._number % 10 else ""
        code, words = await self._ask(f"MAIL FROM:<{self._plan.sender}>{size}\r\n".encode())
        if code == 250:
            await self._ask(f"RCPT TO:<n{self._number}@example.net>\r\n".encode())
            code, words = await self._ask(b"DATA\r\n")
        if code == 354:
            code, words = await self._content()
        if code == 250:
            self._outcome.message_ids.append(words.split()[-1])
            return True
        if code >= 500:
            self._outcome.refused.append(f"{code} {words}")
            return True
        told = f"{code} {words}"
        self._outcome.put_off[told] = self._outcome.put_off.get(told, 0) + 1
        await self._ask(b"RSET\r\n")
        return False

    async def _content(self) -> tuple[int, str]:
        # Made for each try, so that the clients do not hold them all.
        content = memoryview(message(self._plan, self._number))
        for start in range(0, len(content), _PIECE):
            self._writer.write(content[start : start + _PIECE])
            await self._writer.drain()
        return await self._ask(b".\r\n")

    async def _ask(self, octets: bytes) -> tuple[int, str]:
        self._writer.write(octets)
        return await self._reply()

    async def _reply(self) -> tuple[int, str]:
        while True:
            line = (await self._reader.readuntil(b"\r\n")).decode()
            if line[3] == " ":
                return int(line[:3]), line[4:].strip()


async def _run(plan: Plan) -> Outcome:
    outcome = Outcome()
    clients = [_Client(plan, number, outcome) for number in range(plan.sessions)]
    for client in clients:
        await client.open()
    await asyncio.gather(*(client.run() for client in clients))
    return outcome


def submit_all(plan: Plan, *, within_seconds: float) -> Outcome:
    """Returns when every session has its answer."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.big_mail", json.dumps(asdict(plan))],
        cwd=ROOT, capture_output=True, text=True, timeout=within_seconds, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return Outcome(**json.loads(done.stdout))


if __name__ == "__main__":
    print(json.dumps(asdict(uvloop.run(_run(Plan(**json.loads(sys.argv[1])))))))
