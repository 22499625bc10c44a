"""What is logged can be searched for by the ids that callers see, and shows no more than was said."""

from __future__ import annotations

import json
import os
import pty
import re
import select
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


TOGETHER = """
import asyncio, io, os, sys
import structlog
from mailer import logs

class Out(io.StringIO):
    def write(self, text):
        os.write(1, f"<{len(text)}>".encode())
        return os.write(1, text.encode())

sys.stdout = Out()
logs.configure("info", "console")
log = structlog.get_logger("x")
"""


def told_by(program: str) -> list[str]:
    """What each write wrote."""
    run = subprocess.run(
        [sys.executable, "-c", TOGETHER + program], capture_output=True, text=True, check=True
    )
    pieces = re.split(r"<(\d+)>", run.stdout)[1:]
    assert [int(size) for size in pieces[::2]] == [len(text) for text in pieces[1::2]]
    return pieces[1::2]


def test_lines_kept_together_are_written_at_the_end_and_whole() -> None:
    written = told_by("""
with logs.together():
    for n in range(100):
        log.info("settled", n=n, pad="x" * 90)
    with logs.together():
        log.info("within")
    os.write(1, b"<4>done")
log.info("alone")
log.info("again")
""")

    assert written[0] == "done"
    assert written[-2].endswith("info alone \n")
    assert written[-1].endswith("info again \n")
    pieces = written[1:-2]
    assert 3 <= len(pieces) <= 8
    assert all(len(piece) <= select.PIPE_BUF and piece.endswith("\n") for piece in pieces)
    lines = "".join(pieces).splitlines()
    assert [line.split(" n=")[1].split()[0] for line in lines[:100]] == [str(n) for n in range(100)]
    assert "within" in lines[100]


def test_a_line_too_long_for_a_piece_is_written_all_the_same() -> None:
    written = told_by("""
with logs.together():
    log.info("a")
    log.info("b", pad="x" * 10000)
    log.info("c")
""")

    assert [piece.split()[2] for piece in written] == ["a", "b", "c"]


def test_what_is_kept_is_written_when_the_block_fails() -> None:
    [written] = told_by("""
try:
    with logs.together():
        log.info("before")
        raise ValueError
except ValueError:
    pass
""")

    assert "before" in written


def test_lines_of_one_turn_of_the_event_loop_are_written_in_the_next() -> None:
    written = told_by("""
async def main():
    for n in range(2):
        logs.together_soon()
        log.info("answered", n=n)
    os.write(1, b"<4>turn")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    log.info("later")

asyncio.run(main())
""")

    turn, both, later = written
    assert (turn, both.count("answered"), both.count("\n")) == ("turn", 2, 2)
    assert "later" in later


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
