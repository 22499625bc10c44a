"""A role as the supervisor sees one, with the faults its first argument names. Run by test_supervisor.py.

Arguments: fault, name, run folder. It appends what happens to it to `<run folder>/story`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

fault, name, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])


def note(word: str) -> None:
    with (folder / "story").open("a") as story:
        story.write(f"{name} {word}\n")


def announce() -> None:
    half = folder / f"{name}.part"
    half.write_text(json.dumps({"pid": os.getpid(), "port": 4711}))
    half.rename(folder / f"{name}.json")


def told(number: int, _frame: object) -> None:
    note(signal.Signals(number).name)
    if fault == "stubborn":
        return
    if fault == "asks-again":
        os.kill(os.getppid(), signal.SIGINT)
        return
    sys.exit(0)


signal.signal(signal.SIGTERM, told)
note("starts")
lives = (folder / "story").read_text().count(f"{name} starts")
if fault == "never-ready":
    print("cannot find my hat", flush=True)
    sys.exit(3)
announce()
if fault == "dies-twice" and lives <= 2:
    os.kill(os.getpid(), signal.SIGKILL)
if fault == "dies-twice":
    os.kill(os.getppid(), signal.SIGTERM)
while True:
    signal.pause()
