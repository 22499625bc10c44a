"""The role as a process: it ends in order when it is told to."""

from __future__ import annotations

import signal
import smtplib
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
from pathlib import Path
from mailer.report.inbox import run
run("127.0.0.1", 0, Path(sys.argv[1]), Path(sys.argv[2]), 
    on_ready=lambda port: print(port, file=sys.stderr, flush=True))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_success_and_keeps_what_it_took(tmp_path: Path, number: int) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "inbox"), str(tmp_path / "tls")]
    root = Path(__file__).parents[2]
    # Logs go to standard output, the port to standard error.
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=root
    ) as process:
        try:
            port = int(process.stderr.readline())  # type: ignore[union-attr]
            with smtplib.SMTP("127.0.0.1", port, local_hostname="c", timeout=10) as client:
                client.sendmail("a@b.c", ["d@e.f"], b"Subject: x\r\n\r\n")
            process.send_signal(number)
            code = process.wait(10)
        finally:
            process.kill()

    assert code == 0
    assert len(list((tmp_path / "inbox" / "new").iterdir())) == 1
