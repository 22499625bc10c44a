"""One role as a child process: started, announced, restarted after a pause, ended."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0
_STEADY_SECONDS = 10.0  # who lived so long is restarted after the first pause again
_LOG_BYTES = 32 * 1024 * 1024  # a longer log is put aside when its role starts
_TAIL_BYTES = 4096


def next_pause(pause: float, *, lived_seconds: float) -> float:
    """Seconds before a role starts again that died after `pause` and a life of so long."""
    if pause == 0.0 or lived_seconds >= _STEADY_SECONDS:
        return _FIRST_PAUSE_SECONDS
    return min(2 * pause, _LONGEST_PAUSE_SECONDS)


@dataclass(frozen=True, slots=True)
class Role:
    """name: as in `worker-2`. command: program and arguments of its process."""

    name: str
    command: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Death:
    """A child ended. restart_at: on the monotonic clock."""

    name: str
    pid: int
    exit_code: int
    restart_at: float

    @property
    def how(self) -> str:
        if self.exit_code >= 0:
            return f"ended with code {self.exit_code}"
        return f"was killed by {signal.Signals(-self.exit_code).name}"


class Child:
    """A role's process and its successors. `echo` takes its output line by line; None: it goes to a file."""

    def __init__(
        self,
        role: Role,
        *,
        run_dir: Path,
        log_dir: Path,
        echo: Callable[[str, str], None] | None,
        monotonic: Callable[[], float],
    ) -> None:
        self.name = role.name
        self._role = role
        self._announcement = run_dir / f"{role.name}.json"
        self._pid_file = run_dir / f"{role.name}.pid"
        self._log = log_dir / f"{role.name}.log"
        self._echo = echo
        self._monotonic = monotonic
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._pause = 0.0
        self._last_words = ""
        self.restart_at: float | None = None

    @property
    def pid(self) -> int:
        """Of the process started last; 0 before the first."""
        return self._process.pid if self._process else 0

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.returncode is None

    def start(self, environ: Mapping[str, str]) -> None:
        """A process of the role runs; its pid is on disk."""
        self.restart_at = None
        self._announcement.unlink(missing_ok=True)
        output = self._open_log() if self._echo is None else subprocess.PIPE
        try:
            # A process group of its own: Ctrl-C on the terminal is for the supervisor, which passes it on.
            self._process = subprocess.Popen(
                self._role.command, env=environ, stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, process_group=0,
            )  # fmt: skip
        finally:
            if not isinstance(output, int):
                output.close()
        self._started_at = self._monotonic()
        if self._process.stdout is not None and self._echo is not None:
            echoing = (self._process.stdout, self._echo)
            threading.Thread(target=self._pass_on, args=echoing, daemon=True).start()
        half = self._pid_file.with_suffix(".pid.part")
        half.write_text(f"{self.pid}\n")
        half.rename(self._pid_file)

    def announced(self) -> Mapping[str, Any] | None:
        """What the present process said when it was ready; None before."""
        try:
            facts = json.loads(self._announcement.read_bytes())
        except FileNotFoundError:
            return None
        return facts if facts.get("pid") == self.pid else None

    def reap(self) -> Death | None:
        """Notices once that the process ended, and sets `restart_at`."""
        process = self._process
        if process is None or process.returncode is not None or (code := process.poll()) is None:
            return None
        now = self._monotonic()
        self._pause = next_pause(self._pause, lived_seconds=now - self._started_at)
        self.restart_at = now + self._pause
        return Death(self.name, process.pid, code, self.restart_at)

    def last_words(self) -> str:
        """The last line it wrote; empty if none."""
        if self._echo is None and self._log.exists():
            with self._log.open("rb") as file:
                file.seek(max(0, self._log.stat().st_size - _TAIL_BYTES))
                lines = file.read().decode(errors="replace").strip().splitlines()
            return lines[-1] if lines else ""
        return self._last_words

    def tell(self, number: signal.Signals) -> None:
        """Sends a signal if it lives."""
        if self._process is not None:
            self._process.send_signal(number)

    def forget(self) -> None:
        """Its files no longer say that it runs."""
        self._announcement.unlink(missing_ok=True)
        self._pid_file.unlink(missing_ok=True)

    def _open_log(self) -> IO[bytes]:
        if self._log.exists() and self._log.stat().st_size > _LOG_BYTES:
            self._log.replace(self._log.with_suffix(".log.1"))
        return self._log.open("ab")

    def _pass_on(self, output: IO[bytes], echo: Callable[[str, str], None]) -> None:
        with output:
            for line in output:
                text = line.decode(errors="replace").rstrip()
                self._last_words = text or self._last_words
                echo(self.name, text)
