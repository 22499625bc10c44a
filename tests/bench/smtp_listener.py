"""Our listener against stock aiosmtpd: the same desk (250 to everything), both on uvloop, in turn in one run.

    python -m tests.bench.smtp_listener [-n MESSAGES] [--runs N] [--conns C] [--pipeline]

Each server is a process of its own on a free loopback port; `blast` sends the reference message of the kit
over connections that it keeps. Prints messages a second and CPU a message for every run, and the ratios of
the medians. BENCH_BUILD says where blast is compiled.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvloop
from aiosmtpd.smtp import SMTP

from mailer import logs
from mailer.listener import Limits, Listener, Rules
from tests.bench import kit
from tests.support.smtp_listener import OpenDesk

HOST = "listener.example.net"
SERVERS = ("stock", "ours")


class StockDesk:
    """aiosmtpd's hooks, doing what OpenDesk does."""

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        return "250 2.6.0 Taken"


class ForgetfulDesk(OpenDesk):
    """Keeps no message in memory: neither does the other side."""

    async def take(self, *message: Any) -> Any:
        answer = await super().take(*message)
        self.taken.clear()
        return answer


async def serve(server: str, port: int) -> None:
    logs.configure("error", "console")
    if server == "ours":
        limits = Limits(messages=1_000_000, connections_per_peer=1000)
        await Listener(Rules(host=HOST, desk=ForgetfulDesk(), limits=limits)).listen("127.0.0.1", port)
    else:
        loop = asyncio.get_running_loop()
        options: dict[str, Any] = {"hostname": HOST, "enable_SMTPUTF8": True, "loop": loop}
        await loop.create_server(lambda: SMTP(StockDesk(), **options), "127.0.0.1", port)
    await asyncio.Event().wait()


@contextlib.contextmanager
def running(server: str) -> Iterator[tuple[int, int]]:
    """Port and process id."""
    port = kit.free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.smtp_listener", "--serve", server, str(port)]
    )
    try:
        kit.wait_port(port)
        yield port, process.pid
    finally:
        process.kill()
        process.wait()


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(int(ticks) for ticks in fields[11:13]) / os.sysconf("SC_CLK_TCK")


def measure(server: str, options: argparse.Namespace, message: Path) -> tuple[float, float]:
    """Messages a second and microseconds of CPU a message."""
    with running(server) as (port, pid):
        load = ["-s", f"127.0.0.1:{port}", "-b", str(message), "-c", str(options.conns)]
        load += ["-p"] if options.pipeline else []
        kit.blast([*load, "-n", "500"], 30)
        before = cpu_seconds(pid)
        result = kit.blast([*load, "-n", str(options.n)], 60)
        spent = cpu_seconds(pid) - before
    assert result["ok"] == options.n, result
    return result["rate"], spent / options.n * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("-n", type=int, default=4000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--conns", type=int, default=10)
    parser.add_argument("--pipeline", action="store_true")
    parser.add_argument("--serve", nargs=2, metavar=("SERVER", "PORT"))
    options = parser.parse_args()
    if options.serve:
        uvloop.run(serve(options.serve[0], int(options.serve[1])))
        return
    found: dict[str, list[tuple[float, float]]] = {server: [] for server in SERVERS}
    with tempfile.TemporaryDirectory() as folder:
        message = Path(folder) / "reference.eml"
        message.write_text(kit.eml_template())
        for run in range(options.runs):
            for server in SERVERS:
                found[server].append(measure(server, options, message))
                rate, cpu = found[server][-1]
                print(
                    f"run {run + 1}  {server:<6}{rate:>9.0f} messages/s{cpu:>8.0f} us CPU a message",
                    flush=True,
                )
    rates, cpus = ({s: statistics.median(v[i] for v in found[s]) for s in SERVERS} for i in (0, 1))
    print(f"ours / stock: {rates['ours'] / rates['stock']:.2f} x the messages, "
          f"{cpus['stock'] / cpus['ours']:.2f} x less CPU")  # fmt: skip


if __name__ == "__main__":
    main()
