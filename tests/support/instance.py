"""A whole installation as its operator starts it: `mailer up` in a process of its own, and what it tells.

Nothing in here knows how the product works inside, but for two looks: the pid files below `run/`, which
`up` keeps for its operator, and a few counts read from the database (`Ledger`).
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy

ROOT = Path(__file__).parents[2]
READY_SECONDS = 60.0
STOP_SECONDS = 70.0
_POLL_SECONDS = 0.01


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for[T](what: str, look: Callable[[], T | None], *, within_seconds: float) -> T:
    """The first answer of `look` that is not None or False; fails with `what` when time is up."""
    deadline = time.monotonic() + within_seconds
    while time.monotonic() < deadline:
        if answer := look():
            return answer
        pause(_POLL_SECONDS)
    raise AssertionError(f"waited {within_seconds:g} s in vain for {what}")


def pause(seconds: float) -> None:
    """Lets real processes go on for a while."""
    threading.Event().wait(seconds)
