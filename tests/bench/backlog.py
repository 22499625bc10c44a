#!/usr/bin/env python3
"""How much a backlog for other sites costs: backlog.py [product.json] [--sizes 0,1000000] [--domains 100000] [-n 5000] [--rounds 1]

Before each measurement so many messages lie in the queue of the embedded database, due now, in one lane for each
recipient domain, all at a site whose server takes connections and never says a word. Then the reference workload
runs to the sink. A table of medians over the rounds, sizes in turn, and throughput-against-backlog.png. With few
domains (--sizes 0,5000 --domains 10) it is a site that hangs, beside others.

The seeds share one body. They are rows as the product writes them, copied from one message that it accepted.
"""

import argparse
import json
import shutil
import socket
import sqlite3
import statistics
import sys
import tempfile
import threading
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "peers")]
import kit  # noqa: E402
import plots  # noqa: E402
from command import Command  # noqa: E402

SLOW = ".slow.test"
SHOWN = (
    "end_to_end_per_s", "accept_per_s", "cpu_s_per_1000", "latency_p50_ms", "peak_pss_mb", "lost", "machine_rsa_per_s",
)  # fmt: skip


class Hanging:
    """Accepts connections and keeps silent."""

    def __init__(self):
        self.server = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port, self.kept = self.server.getsockname()[1], []
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            self.kept.append(self.server.accept()[0])


def product(folder: Path, sink: kit.Sink, hanging: Hanging) -> Command:
    made = Command(folder, sink.port, dkim=False, tls=False, tuned=True)
    routes = f"{SLOW}=127.0.0.1:{hanging.port};tls=none,*=127.0.0.1:{sink.port};tls=none"
    env = made.spec["env"]
    env["MAILER_ROUTES"] = routes
    for name in ("MAILER_DKIM_KEY_FILE", "MAILER_DKIM_SELECTOR"):
        env.pop(name)  # a second start would bring another key; the product makes its own
    made.start()
    kit.wait_port(made.port)
    return made


def send_one(made: Command) -> None:
    """To the slow site: what the seeds are copied from."""
    http = made.spec["http"]
    body = {"from": kit.SENDER, "to": [f"seed@first{SLOW}"], "subject": "seed", "text": "waits\n"}
    headers = dict(h.replace("{{id}}", "seed").split(": ", 1) for h in http["headers"])
    request = urllib.request.Request(
        http["url"], json.dumps(body).encode(), headers | {"Content-Type": "application/json"}
    )
    urllib.request.urlopen(request, timeout=30).read()


def copy(db: sqlite3.Connection, table: str, where: str, count: int, **changed: str) -> None:
    """`count` copies of a row; `changed`: expressions over the row and n.i, from 1 on."""
    names = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
    values = ", ".join(changed.get(name, f't."{name}"') for name in names)
    columns = ", ".join(f'"{name}"' for name in names)
    db.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
        f" INSERT INTO {table} ({columns}) SELECT {values} FROM n, (SELECT * FROM {table} WHERE {where}) t",
        (count,),
    )


def seed(path: Path, count: int, domains: int) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA synchronous=OFF")
    db.execute("BEGIN IMMEDIATE")
    domains = min(domains, count)
    ((message, recipient, lane),) = db.execute(
        "SELECT message_id, id, lane_id FROM recipient WHERE address LIKE 'seed@%'"
    ).fetchall()
    # Older than what is sent afterwards, so that who looks through the queue meets them first.
    copy(db, "lane", f"id = {lane}", domains, id="t.id - n.i", domain=f"'d' || n.i || '{SLOW}'")
    copy(db, "message", f"id = {message}", count, id="t.id - n.i")
    copy(
        db,
        "recipient",
        f"id = {recipient}",
        count,
        id="t.id - n.i",
        message_id=f"{message} - n.i",
        lane_id=f"{lane} - 1 - n.i % {domains}",
        address=f"'u' || n.i || '@d' || (1 + n.i % {domains}) || '{SLOW}'",
        state="'queued'",
        wait_reason="'new'",
        holder="NULL",
        attempt_id="NULL",
        attempts="0",
        last_reply="NULL",
    )
    db.execute("COMMIT")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


def measure(size: int, o) -> dict:
    folder = Path(tempfile.mkdtemp(prefix="bench-backlog-"))
    sink, hanging = kit.Sink(folder), Hanging()
    made = product(folder, sink, hanging)
    try:
        if size:
            send_one(made)
            made.stop()
            seed(folder / "data" / "mailer.sqlite3", size, o.domains)
            made = product(folder, sink, hanging)
        with kit.lock():
            kit.timed_run(made.group, sink, made.target(), 1000, "warm", folder, timeout=300)
            speed = kit.calibrate(folder)
            return kit.timed_run(made.group, sink, made.target(), o.n, "run", folder, timeout=600) | speed
    finally:
        made.stop()
        sink.stop()
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("spec", nargs="?", default=str(HERE / "product.json"))
    p.add_argument("--sizes", default="0,10000,100000,1000000")
    p.add_argument("--domains", type=int, default=100_000, help="recipient domains of the backlog")
    p.add_argument("-n", type=int, default=5000)
    p.add_argument("--rounds", type=int, default=1)
    p.add_argument("--plot", type=Path, default=HERE / "results" / "throughput-against-backlog.png")
    o = p.parse_args()
    Command.spec_path = Path(o.spec)
    sizes = [int(size) for size in o.sizes.split(",")]
    found = {size: [] for size in sizes}
    for _ in range(o.rounds):
        for size in sizes:
            found[size].append(measure(size, o))
    print(f"{'backlog':>9} " + " ".join(f"{name:>17}" for name in SHOWN))
    rows = []
    for size, runs in found.items():
        row = {"backlog": size} | {name: statistics.median(run[name] for run in runs) for name in SHOWN}
        rows.append(row)
        print(f"{size:>9} " + " ".join(f"{row[name]:>17.2f}" for name in SHOWN))
    for size in sizes[1:]:
        ratios = [a["end_to_end_per_s"] / b["end_to_end_per_s"] for a, b in zip(found[size], found[sizes[0]])]
        print(
            f"{size} beside {sizes[0]}: {statistics.median(ratios):.2f} of the throughput"
            f" ({min(ratios):.2f} .. {max(ratios):.2f} of {o.rounds})"
        )
    plots.draw("backlog", rows, o.plot)


if __name__ == "__main__":
    main()
