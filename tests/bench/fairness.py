"""How long one tenant's mail waits beside another tenant's backlog, at the same site.

    python -m tests.bench.fairness [--backlog 100000] [--probes 400]

Three phases in one installation: alone; while another tenant submits its backlog; while that is sent.
Printed for each, in milliseconds: percentiles of the time from acceptance to the claim for the first attempt,
and to its end, which adds signing, sending and settling.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import tempfile
import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx

from tests.support.instance import Instance, installed, pause, wait_for
from tests.support.sink import running_sink

_BATCH = 1000
_SITES = 20
_EVERY_SECONDS = 0.05
_PATIENCE_SECONDS = 600
_TIMES = """
    SELECT message.accepted_at, min(attempt.opened_at), min(attempt.closed_at)
    FROM message JOIN recipient ON recipient.message_id = message.id
    LEFT JOIN attempt ON attempt.recipient_id = recipient.id
    WHERE message.subject = ? GROUP BY recipient.id
"""


def _tell(running: Instance, *words: str) -> Any:
    done = running.run(*words, "--json")
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)


def _submit(url: str, key: str, count: int) -> None:
    """The other tenant's backlog, a thousand messages at a time."""
    letter = {"from": "shop@other.test", "subject": "backlog", "text": "an offer\n" * 200}
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=120) as client:
        for start in range(0, count, _BATCH):
            numbers = range(start, min(start + _BATCH, count))
            items = [letter | {"to": [f"ok.a{n}@d{n % _SITES}.example"]} for n in numbers]
            client.post("/v1/messages/batch", json={"messages": items}).raise_for_status()


def _probe(running: Instance, phase: str, count: int) -> list[tuple[float, float]]:
    """Milliseconds from acceptance to (claim, end of the first attempt) of letters sent one by one."""
    assert running.ready is not None
    for n in range(count):
        letter = {"from": f"shop@{running.ready.domain}", "subject": phase, "text": "1234"}
        running.send(**letter, to=f"ok.b{n}@d{n % _SITES}.example").raise_for_status()
        pause(_EVERY_SECONDS)

    def look() -> list[tuple[int, int, int | None]] | None:
        with closing(sqlite3.connect(running.data / "mailer.sqlite3")) as connection:
            rows = connection.execute(_TIMES, (phase,)).fetchall()
        return rows if len(rows) == count and all(ended for _, _, ended in rows) else None

    rows = wait_for("the probes", look, within_seconds=_PATIENCE_SECONDS)
    return [((opened - at) / 1000, (ended - at) / 1000) for at, opened, ended in rows if ended]


def _show(phase: str, times: Sequence[tuple[float, float]]) -> None:
    for name, at in (("claimed", 0), ("first attempt", 1)):
        values = sorted(t[at] for t in times)
        p50, p95, p99 = (values[min(int(len(values) * p), len(values) - 1)] for p in (0.50, 0.95, 0.99))
        print(f"{phase:22} {name:14} p50 {p50:8.1f}  p95 {p95:8.1f}  p99 {p99:8.1f}  max {values[-1]:8.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--backlog", type=int, default=100_000)
    parser.add_argument("--probes", type=int, default=400)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running_sink(Path(folder)) as sink:
        settings = {"MAILER_ROUTES": f"*=127.0.0.1:{sink.port};tls=none"}
        with installed(Path(folder) / "data", settings, http_port=0) as running:
            assert running.ready is not None
            _tell(running, "tenant", "create", "other")
            _tell(running, "domain", "create", "other.test", "--tenant", "other")
            key = _tell(running, "key", "create", "--tenant", "other")["api_key"]
            _show("alone", _probe(running, "alone", given.probes))
            backlog = (running.ready.http_url, key, given.backlog)
            submitter = threading.Thread(target=_submit, args=backlog, daemon=True)
            submitter.start()
            _show("while it is submitted", _probe(running, "submitting", given.probes))
            submitter.join()
            _show("while it is sent", _probe(running, "sending", given.probes))


if __name__ == "__main__":
    main()
