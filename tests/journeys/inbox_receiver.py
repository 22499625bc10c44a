"""The product's own inbox, seen as the sink of a crash journey: what lies in its Maildir was kept."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.support.sink import DotRead, Status

_DELIVERED_TO = re.compile(rb"^Delivered-To: (\S+)", re.MULTILINE | re.IGNORECASE)
_BID = re.compile(rb"^Subject: bid=(\S+)", re.MULTILINE | re.IGNORECASE)
_ESTABLISHED = "01"  # of /proc/net/tcp


class InboxReceiver:
    """Reads the data folder only; the inbox may be dead at any time."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._port = 0

    def status(self) -> Status:
        """Sessions are the established connections to the inbox's port; no more can be seen from outside."""
        announced = self._data / "run" / "inbox.json"
        if announced.exists():
            self._port = int(json.loads(announced.read_text())["port"])
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        local = f":{self._port:04X}"
        sessions = sum(1 for f in lines if f[1].endswith(local) and f[3] == _ESTABLISHED)
        return Status(sessions, sessions, 0, 0)

    def records(self) -> list[DotRead]:
        return [self._read(path) for sub in ("new", "cur") for path in (self._data / "inbox" / sub).iterdir()]

    @staticmethod
    def _read(path: Path) -> DotRead:
        headers = path.read_bytes().partition(b"\r\n\r\n")[0]
        recipient, bid = _DELIVERED_TO.search(headers), _BID.search(headers)
        assert recipient, f"{path.name} does not say whom it is for"
        assert bid, f"{path.name} is none of ours"
        return DotRead(0, 0, bid[1].decode(), recipient[1].decode(), "accepted")
