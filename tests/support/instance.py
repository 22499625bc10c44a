"""A whole installation as its operator starts it: `mailer up` in a process of its own, and what it tells.

Nothing in here knows how the product works inside, but for two looks that a journey needs to aim its
faults: the pid files below `run/`, which `up` keeps, and a few counts read from the database (`Ledger`).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import sqlalchemy

from tests.support.processes import free_port

ROOT = Path(__file__).parents[2]
READY_SECONDS = 60.0
STOP_SECONDS = 70.0
_POLL_SECONDS = 0.01

T = TypeVar("T")


def wait_for(what: str, look: Callable[[], T | None], *, within_seconds: float) -> T:
    """The first true answer of `look`; fails with `what` when time is up."""
    deadline = time.monotonic() + within_seconds
    while time.monotonic() < deadline:
        if answer := look():
            return answer
        pause(_POLL_SECONDS)
    raise AssertionError(f"waited {within_seconds:g} s in vain for {what}")


def pause(seconds: float) -> None:
    """Lets real processes go on for a while."""
    threading.Event().wait(seconds)


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Ours without any MAILER_ variable of the caller's, and with `settings`."""
    mine = {k: v for k, v in os.environ.items() if not k.startswith("MAILER_")}
    return mine | {"PYTHONUNBUFFERED": "1"} | dict(settings)


@dataclass(frozen=True, slots=True)
class Ready:
    """The line that `mailer up --json` prints when it is ready."""

    http_url: str
    smtp_host: str
    smtp_port: int
    smtps_port: int
    returns_port: int
    api_key: str
    domain: str
    inbox_url: str
    pids: Mapping[str, int]


@dataclass(slots=True)
class Instance:
    """One data folder and the `mailer up` that runs on it. start() again after an end goes on from there."""

    data: Path
    settings: Mapping[str, str]
    http_port: int
    process: subprocess.Popen[bytes] | None = None
    ready: Ready | None = None
    _http: httpx.Client | None = field(default=None, repr=False)

    def start(self) -> Ready:
        """Returns when it says that it is ready."""
        self.data.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            options = ("--data-dir", str(self.data), "--http-port", str(self.http_port), "--json")
            self.process = subprocess.Popen(
                self.command("up", *options), cwd=ROOT, env=environment(self.settings),
                stdout=subprocess.PIPE, stderr=log,
            )  # fmt: skip
        line = self._first_line()
        told = json.loads(line)
        self.ready = Ready(**{name: told[name] for name in Ready.__slots__})
        self._http = httpx.Client(
            base_url=self.ready.http_url,
            headers={"Authorization": f"Bearer {self.ready.api_key}"},
            timeout=10,
            trust_env=False,
        )
        return self.ready

    def _first_line(self) -> bytes:
        assert self.process is not None
        assert self.process.stdout is not None
        guard = threading.Timer(READY_SECONDS, self.process.kill)
        guard.start()
        try:
            line = self.process.stdout.readline()
        finally:
            guard.cancel()
        assert line, f"`mailer up` ended before it was ready:\n{self.tail()}"
        return line

    @property
    def _log(self) -> Path:
        return self.data.with_name(f"{self.data.name}.stderr")

    def tail(self, lines: int = 40) -> str:
        """The last lines of every log, for the one who reads a failure; deliveries are left out."""
        parts = []
        for path in [self._log, *sorted((self.data / "log").glob("*.log"))]:
            told = [line for line in path.read_text().splitlines() if "attempt.settled" not in line]
            parts += [f"--- {path.name}", *told[-lines:]]
        return "\n".join(parts)

    @staticmethod
    def command(*words: str) -> list[str]:
        return [sys.executable, "-m", "mailer", *words]

    def run(self, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Another command of the product on the same data folder and settings."""
        env = environment({**self.settings, "MAILER_DATA_DIR": str(self.data), **settings})
        return subprocess.run(
            self.command(*words), cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False
        )

    # ---- its processes -------------------------------------------------------------------------------

    def roles(self) -> list[str]:
        return sorted(p.stem for p in (self.data / "run").glob("*.pid"))

    def pid(self, role: str) -> int:
        """The process that plays `role` now; 0 while there is none."""
        with suppress(FileNotFoundError, ValueError):
            return int((self.data / "run" / f"{role}.pid").read_text())
        return 0

    def wait_for_successor(self, role: str, old_pid: int, *, within_seconds: float = 30.0) -> int:
        """Returns when another process than `old_pid` plays the role and has announced itself."""
        return wait_for(
            f"a successor of {role} (pid {old_pid})",
            lambda: self._announced(role, old_pid),
            within_seconds=within_seconds,
        )

    def _announced(self, role: str, old_pid: int) -> int | None:
        with suppress(FileNotFoundError, json.JSONDecodeError):
            pid = int(json.loads((self.data / "run" / f"{role}.json").read_text())["pid"])
            return pid if pid not in (0, old_pid) and pid == self.pid(role) else None
        return None

    def stop(self, sign: signal.Signals = signal.SIGINT) -> int:
        """Ends it as Ctrl-C would; returns the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(sign)
        code = self.process.wait(STOP_SECONDS)
        self._forget()
        return code

    def kill(self) -> None:
        """kill -9 of `up` itself; its roles must not outlive it."""
        assert self.process is not None
        pids = [self.pid(role) for role in self.roles()]
        self.process.kill()
        self.process.wait()
        self._forget()
        wait_for("the roles to follow", lambda: not any(map(is_running, pids)), within_seconds=STOP_SECONDS)

    def _forget(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        self.process.stdout.close()
        if self._http is not None:
            self._http.close()
        self._http = self.ready = None

    # ---- what it tells -------------------------------------------------------------------------------

    def get(self, path: str, **parameters: str | int) -> Any:
        """The JSON of a 200."""
        assert self._http is not None, "the instance does not run"
        answer = self._http.get(path, params=parameters)
        assert answer.status_code == 200, f"GET {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def send(self, **fields: object) -> httpx.Response:
        return self.post("/v1/messages", fields)

    def post(self, path: str, body: object) -> httpx.Response:
        assert self._http is not None, "the instance does not run"
        return self._http.post(path, json=body)

    def events(self) -> list[dict[str, Any]]:
        """The whole log, page by page; fails where a number is missing."""
        log: list[dict[str, Any]] = []
        while page := self.get("/v1/events", after=len(log), limit=1000)["events"]:
            log += page
            assert page[-1]["number"] == len(log), f"the log has a gap before {page[-1]['number']}"
        return log

    def verify(self) -> tuple[int, dict[str, Any]]:
        """Exit code and findings of `mailer verify`."""
        done = self.run("verify", "--json")
        assert done.stdout, f"`mailer verify` said nothing: {done.stderr}"
        return done.returncode, json.loads(done.stdout)


def is_running(pid: int) -> bool:
    """False also for a process that has ended and was not yet waited for."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


@contextmanager
def installed(data: Path, settings: Mapping[str, str], *, http_port: int | None = None) -> Iterator[Instance]:
    """An instance that is started, and ended with the block whatever happened in it."""
    instance = Instance(data, settings, free_port() if http_port is None else http_port)
    try:
        instance.start()
        yield instance
    finally:
        if instance.process is not None and instance.process.poll() is None:
            for role in instance.roles():
                with suppress(ProcessLookupError):
                    os.kill(instance.pid(role), signal.SIGCONT)  # a stopped role could not end
            try:
                instance.stop()
            except subprocess.TimeoutExpired:
                instance.kill()


class Ledger:
    """Counts read straight from the database, beside the product."""

    def __init__(self, url: str) -> None:
        self._engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.pool.NullPool)

    def count(self, condition: str, table: str = "recipient", **values: object) -> int:
        with self._engine.connect() as connection:
            found = connection.execute(
                sqlalchemy.text(f"SELECT count(*) FROM {table} WHERE {condition}"), values
            )
            return int(found.scalar_one())

    def leased(self) -> int:
        return self.count("state = 'leased'")

    def is_live(self, pid: int) -> bool:
        """Whether the worker process `pid` is taken for alive."""
        return bool(self.count("state = 'live' AND role = 'worker' AND pid = :pid", "incarnation", pid=pid))

    def open_attempts(self) -> frozenset[int]:
        with self._engine.connect() as connection:
            found = connection.execute(sqlalchemy.text("SELECT id FROM attempt WHERE state = 'open'"))
            return frozenset(found.scalars())

    def describe(self, attempts: frozenset[int]) -> list[str]:
        """Each of these attempts with its recipient and its holder, for the one who reads a failure."""
        wanted = sqlalchemy.text(
            "SELECT a.id, a.opened_at, r.id, r.address, r.state, r.attempts, i.role, i.pid, i.state"
            " FROM attempt a JOIN recipient r ON r.id = a.recipient_id"
            " JOIN incarnation i ON i.id = a.incarnation_id WHERE a.state = 'open'"
        )
        with self._engine.connect() as connection:
            return [str(tuple(row)) for row in connection.execute(wanted) if row[0] in attempts]

    def activity(self) -> list[str]:
        """What PostgreSQL's sessions are at and wait for; nothing on SQLite."""
        if self._engine.dialect.name != "postgresql":
            return []
        looks = sqlalchemy.text(
            "SELECT pid, pg_blocking_pids(pid), state, wait_event, now() - xact_start, left(query, 120)"
            " FROM pg_stat_activity WHERE state <> 'idle' AND pid <> pg_backend_pid()"
        )
        with self._engine.connect() as connection:
            return [str(tuple(row)) for row in connection.execute(looks)]

    def waiting(self) -> int:
        """Recipients without a final state."""
        return self.count("state IN ('queued', 'deferred', 'held', 'leased')")

    def unfinished(self) -> int:
        """Those, and notices that are still to be made; of one moment, since a notice becomes a recipient."""
        left = (
            "(SELECT id FROM recipient WHERE state IN ('queued', 'deferred', 'held', 'leased')"
            " UNION ALL SELECT recipient_id FROM notice WHERE state = 'due') AS left_over"
        )
        return self.count("1 = 1", left)

    def left_over(self, most: int = 10) -> list[str]:
        """Some recipients without a final state, with what is known of them, to be read in a failure."""
        wanted = sqlalchemy.text(
            "SELECT r.id, r.address, r.state, r.wait_reason, r.due_at, r.attempts, r.last_reply, l.site,"
            " i.role, i.pid, i.state FROM recipient r JOIN lane l ON l.id = r.lane_id"
            " LEFT JOIN incarnation i ON i.id = r.holder"
            f" WHERE r.settled_at IS NULL ORDER BY r.id LIMIT {most}"
        )
        with self._engine.connect() as connection:
            return [str(tuple(row)) for row in connection.execute(wanted)]

    def held_by(self, pid: int) -> int:
        """Open attempts of the worker process `pid`, also of one that is gone."""
        whose = "SELECT id FROM incarnation WHERE pid = :pid"
        return self.count(f"state = 'open' AND incarnation_id IN ({whose})", "attempt", pid=pid)
