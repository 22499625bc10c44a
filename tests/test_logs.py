"""What is logged can be searched for by the ids that callers see, and shows no more than was said."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from typing import Any

import pytest

from mailer import ids

TELL = """
import structlog
from mailer import logs

logs.configure("info", {form!r})
log = structlog.get_logger("x")
log.info("attempt.settled", message_id=5, recipient_id=6, attempt_id=7, tenant_id=8, host="mx.example")

def deliver(letter):
    raise ValueError("no")

try:
    deliver("Dear Ada")
except ValueError:
    log.exception("carry.failed", endpoint_id=9, callback_id=10)
"""


@pytest.mark.parametrize("form", ["json", "console"])
def test_ids_are_logged_as_callers_see_them(form: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", TELL.format(form=form)], capture_output=True, text=True, check=True
    )

    told = facts(run.stdout.splitlines()[0], form)
    assert told["message_id"] == ids.show("msg", 5)
    assert told["recipient_id"] == ids.show("rcpt", 6)
    assert told["attempt_id"] == ids.show("att", 7)
    assert (str(told["tenant_id"]), told["host"]) == ("8", "mx.example")
    assert ids.show("whe", 9) in run.stdout
    assert ids.show("whc", 10) in run.stdout


def facts(line: str, form: str) -> dict[str, Any]:
    if form == "json":
        told: dict[str, Any] = json.loads(line)
        return told
    return dict(word.split("=", 1) for word in line.split()[3:])


def test_a_terminal_is_not_shown_the_variables_of_what_failed() -> None:
    """They hold mail and keys."""
    ours, theirs = pty.openpty()
    run = subprocess.Popen([sys.executable, "-c", TELL.format(form="console")], stdout=theirs)
    os.close(theirs)

    shown = read_to_its_end(ours)

    assert run.wait() == 0
    assert "ValueError: no" in shown
    assert "letter = " not in shown
    assert "letter" not in shown.replace("def deliver(letter)", "")


def read_to_its_end(terminal: int) -> str:
    """What was written to it until nobody has it open any more."""
    shown = b""
    try:
        while piece := os.read(terminal, 65536):
            shown += piece
    except OSError:  # Linux says so when the last writer is gone
        pass
    os.close(terminal)
    return shown.decode()
