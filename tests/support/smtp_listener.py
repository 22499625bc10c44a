"""The listener alone: takes any mail for anybody, keeps it as files. For probes and tests.

    python -m tests.support.smtp_listener PORT [--folder DIR] [--size OCTETS]

Listens on 127.0.0.1 without TLS and AUTH; prints "ready" once it does. The n-th message becomes
`DIR/n.eml`, octet for octet, and its envelope `DIR/n.json`, written first.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import signal
from pathlib import Path as FilePath

import uvloop

from mailer import logs
from mailer.listener import (
    Limits,
    Listener,
    MailParameters,
    Path,
    RcptParameters,
    Rules,
    ServerReply,
    Session,
    Transaction,
    reply,
)

_SENDER_OK = reply(250, "2.1.0", "OK")
_RECIPIENT_OK = reply(250, "2.1.5", "OK")
_TAKEN = reply(250, "2.6.0", "Taken")


class OpenDesk:
    """Takes everything. folder: where messages are kept; None: nowhere."""

    def __init__(self, folder: FilePath | None = None) -> None:
        self._folder = folder
        self._numbers = itertools.count(1)
        self.taken: list[Transaction] = []

    def mail(self, session: Session, reverse_path: Path, parameters: MailParameters) -> ServerReply:
        return _SENDER_OK

    def rcpt(self, session: Session, forward_path: Path, parameters: RcptParameters) -> ServerReply:
        return _RECIPIENT_OK

    async def take(self, session: Session, transaction: Transaction) -> ServerReply:
        if self._folder is None:
            self.taken.append(transaction)
            return _TAKEN
        number = next(self._numbers)
        envelope = {
            "from": transaction.reverse_path.text,
            "to": [recipient.path.text for recipient in transaction.recipients],
        }
        (self._folder / f"{number}.json").write_text(json.dumps(envelope))
        (self._folder / f"{number}.eml").write_bytes(transaction.content)
        return _TAKEN


async def _serve(port: int, folder: FilePath | None, size_bytes: int) -> None:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    listener = Listener(
        Rules(
            host="listener.example.net",
            desk=OpenDesk(folder),
            keeps_dsn=True,
            keeps_requiretls=True,
            limits=Limits(size_bytes=size_bytes),
        )
    )
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await listener.listen("127.0.0.1", port)
    print("ready", flush=True)
    await stopped.wait()
    await listener.close(5.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("port", type=int)
    parser.add_argument("--folder", type=FilePath)
    parser.add_argument("--size", type=int, default=1024 * 1024)
    options = parser.parse_args()
    logs.configure("warning", "console")
    uvloop.run(_serve(options.port, options.folder, options.size))


if __name__ == "__main__":
    main()
