"""A server as a child process: its whole tree can be stopped, killed and paused, and never outlives us."""

from __future__ import annotations

import os
import pwd
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import SystemRandom

_POLL_SECONDS = 0.02

# Under Linux's ephemeral ports (32768 and up): while a server is down between kill and start, an outgoing
# connection of somebody else could be given its port, and the start would fail.
_PORTS = range(20_000, 32_000)

# Reads from a pipe whose other end only this process holds. It ends when we end, however we end: a kill -9
# runs no finalizer, and a database left behind would hold its memory until the machine is switched off.
_GUARD = 'read -r _; kill -s KILL -- "-$1"; rm -rf -- "$2"'


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    dice = SystemRandom()
    for _ in range(200):
        port = dice.choice(_PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port of 127.0.0.1 found")


def lives(pid: int) -> bool:
    """Whether it runs or is stopped. A process that ended and awaits its parent's notice does not."""
    return _stat(pid)[0] not in ("", "Z", "X")


def wait_until(claim: str, holds: Callable[[], bool], *, seconds: float) -> None:
    """Returns as soon as it holds; a TimeoutError names the claim that never came true."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{claim}: not within {seconds:g} s")
        time.sleep(_POLL_SECONDS)


class Tree:
    """A process and all that it starts.

    account  whom it runs as; None: as ourselves
    folder   removed if we die without closing
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        folder: Path,
        log: Path,
        env: Mapping[str, str] | None = None,
        account: pwd.struct_passwd | None = None,
    ) -> None:
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                argv,
                cwd=folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=account and account.pw_uid,
                group=account and account.pw_gid,
                extra_groups=[] if account else None,
            )
        self._guard = subprocess.Popen(
            ["sh", "-c", _GUARD, "guard", str(self._process.pid), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def end(self, by: signal.Signals, *, seconds: float) -> None:
        """Asks the root, and kills whatever of the tree has not ended within that time."""
        pids = self._members()
        if self.runs:
            self._process.send_signal(by)
        try:
            self._process.wait(seconds)
            wait_until("the whole tree has ended", lambda: not any(map(lives, pids)), seconds=1)
        except (subprocess.TimeoutExpired, TimeoutError):
            self._kill(pids)
        self._dismiss_guard()

    def kill(self) -> None:
        """kill -9 of every process of the tree; returns when none is left."""
        self._kill(self._stopped())
        self._dismiss_guard()

    def pause(self) -> None:
        for pid in self._stopped()[1:]:
            _signal(pid, signal.SIGSTOP)

    def resume(self) -> None:
        for pid in self._members():
            _signal(pid, signal.SIGCONT)

    def _kill(self, pids: Sequence[int]) -> None:
        for pid in pids:
            _signal(pid, signal.SIGKILL)
        self._process.wait()
        wait_until("every process of the tree has ended", lambda: not any(map(lives, pids)), seconds=20)

    def _stopped(self) -> list[int]:
        """The tree's pids, the root first and stopped, so that it starts no more while we look."""
        if self.runs:
            _signal(self.pid, signal.SIGSTOP)
        return self._members()

    def _members(self) -> list[int]:
        children: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and (parent := _stat(int(entry.name))[1]):
                children.setdefault(parent, []).append(int(entry.name))
        found = [self.pid] if self.runs else []
        for pid in found:
            found += children.get(pid, [])
        return found

    def _dismiss_guard(self) -> None:
        self._guard.kill()
        self._guard.communicate()


def _stat(pid: int) -> tuple[str, int]:
    """(state, parent) of a process; ("", 0) if there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return "", 0
    return fields[0], int(fields[1])


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # it ended between our look and now, which is what a signal could only hasten
