"""The role as a process: it ends in order when it is told to."""

from __future__ import annotations

import json
import shutil
import signal
import smtplib
import subprocess
from pathlib import Path

import pytest

from tests.support.instance import ROOT, Instance, environment, wait_for


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_success_and_keeps_what_it_took(
    tmp_path: Path, furnished_sqlite: Path, number: int
) -> None:
    shutil.copyfile(furnished_sqlite, tmp_path / "mailer.sqlite3")
    settings = environment({"MAILER_DATA_DIR": str(tmp_path), "MAILER_INBOX_PORT": "0"})
    announced = tmp_path / "run" / "inbox.json"
    with subprocess.Popen(Instance.command("inbox"), cwd=ROOT, env=settings) as process:
        try:
            wait_for("the inbox to be ready", announced.exists, within_seconds=20)
            port = json.loads(announced.read_bytes())["port"]
            with smtplib.SMTP("127.0.0.1", port, local_hostname="c", timeout=10) as client:
                client.sendmail("a@b.c", ["d@e.f"], b"Subject: x\r\n\r\n")
            process.send_signal(number)
            code = process.wait(10)
        finally:
            process.kill()

    assert code == 0
    assert len(list((tmp_path / "inbox" / "new").iterdir())) == 1
