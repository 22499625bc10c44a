from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from mailer.cli.lifeline import Spout

CHILD = """
import os, signal, sys
from mailer.cli.lifeline import tie_to
def told(number, frame):
    os.write({pipe}, b"heard " + signal.Signals(number).name.encode())
    sys.exit(0)
signal.signal(signal.SIGTERM, told)
os.write({pipe}, b"tied" if tie_to(os.getppid()) else b"orphan")
while True:
    signal.pause()
"""
PARENT = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", sys.argv[1]], pass_fds=[int(sys.argv[2])]).wait()
"""
ROOT = str(Path(__file__).parents[2])


def test_a_child_is_told_to_end_when_its_parent_is_killed() -> None:
    read_end, write_end = os.pipe()
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, CHILD.format(pipe=write_end), str(write_end)],
        pass_fds=[write_end],
        env={"PYTHONPATH": ROOT},
    )
    os.close(write_end)
    tied = os.read(read_end, 100)

    parent.kill()
    parent.wait()

    heard = os.read(read_end, 100)
    end_of_file = os.read(read_end, 100)
    os.close(read_end)
    assert (tied, heard, end_of_file) == (b"tied", b"heard SIGTERM", b"")


def test_a_child_whose_parent_is_dead_already_is_told_so() -> None:
    code = "import sys; from mailer.cli.lifeline import tie_to; sys.exit(7 if not tie_to(1 << 22) else 0)"

    ended = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": ROOT}, check=False)

    assert ended.returncode == 7


def test_output_falls_silent_when_its_reader_dies() -> None:
    read_end, write_end = os.pipe()
    spout = Spout(write_end)
    spout.write("heard\n")
    heard = os.read(read_end, 100)
    os.close(read_end)

    written = [spout.write("nobody reads this\n"), spout.write("nor this\n")]

    spout.close()
    os.close(write_end)
    assert heard == b"heard\n"
    assert written == [18, 9]
