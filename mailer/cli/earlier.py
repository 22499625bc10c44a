"""Roles of an earlier `mailer up` that was killed: they are ending, and still hold its ports."""

from __future__ import annotations

from pathlib import Path

from mailer.cli.faults import CommandFailed
from mailer.cli.signals import STOPS, Signals

_WAIT_SECONDS = 60  # a little longer than a worker may take to end
_POLL_SECONDS = 0.1


def await_end(run_dir: Path, signals: Signals) -> None:
    """Returns when none of them is left. Raises CommandFailed if they do not end, or a signal came."""
    for _ in range(round(_WAIT_SECONDS / _POLL_SECONDS)):
        left = [path for path in run_dir.glob("*.pid") if _is_ours(path)]
        if not left:
            break
        if signals.wait(_POLL_SECONDS) & STOPS:
            raise CommandFailed("interrupted while roles of an earlier run were ending")
    else:
        names = ", ".join(sorted(path.stem for path in left))
        raise CommandFailed(f"roles of an earlier run do not end: {names} (see {run_dir})")
    for path in (*run_dir.glob("*.pid"), *run_dir.glob("*.json")):
        path.unlink(missing_ok=True)


def _is_ours(pid_file: Path) -> bool:
    """True if the pid still belongs to a supervised role, and not to whatever got the number since."""
    try:
        command = Path("/proc", pid_file.read_text().strip(), "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return b"\0--follow\0" in command and b"\0mailer\0" in command
