"""A role whose thread died must not live on as half a role."""

from __future__ import annotations

import subprocess
import sys

BREAKS = """
import threading
from mailer import logs
from mailer.bootstrap.office import die_with_any_thread
logs.configure("info", "console")
die_with_any_thread()
threading.Thread(target=lambda: 1 // 0, name="settler").start()
threading.Event().wait(20)
"""


def test_an_error_that_ends_a_thread_ends_the_process_and_is_logged() -> None:
    role = subprocess.run(
        [sys.executable, "-c", BREAKS], capture_output=True, text=True, timeout=30, check=False
    )

    assert role.returncode == 70
    assert "role.thread_died" in role.stdout
    assert "ZeroDivisionError" in role.stdout
