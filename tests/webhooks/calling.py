"""A caller in this process, on a mailroom's store, over the real guarded transport."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

from mailer import clock
from mailer.outward import Guard, GuardedTransport
from mailer.outward.guard import LOOPBACK
from tests.support.instance import wait_for
from tests.webhooks.conftest import Switchboard, holding, unseal
from webhooks.caller import Caller, CallerParts
from webhooks.post import Poster

GRACE_SECONDS = 20.0
PATIENCE_SECONDS = 15.0
AT_ONCE = timedelta(milliseconds=20)


@contextmanager
def calling(
    board: Switchboard,
    *delays: timedelta,
    seconds: float = 10.0,
    guard: Guard | None = None,
    tls: ssl.SSLContext | None = None,
    fenced: threading.Event | None = None,
    at_once: int = 16,
) -> Iterator[Caller]:
    """Runs until the block ends, then stops in order. delays: none gives a failure up at once."""

    def make_poster() -> Poster:
        transport = GuardedTransport(guard or Guard(networks=LOOPBACK), connections=at_once, tls=tls)
        return Poster(
            transport, unseal=unseal, user_agent="ECM-Mailer/test", seconds=seconds, now=clock.now,
            monotonic=clock.monotonic,
        )  # fmt: skip

    caller = Caller(
        CallerParts(
            store=board.store,
            me=board.caller.id,
            hold=holding(board.caller.id),
            make_poster=make_poster,
            new_id=board.room.new_id,
            now=clock.now,
            draw=lambda: 0.0,
            delays=delays,
            at_once=at_once,
            on_fenced=(fenced or threading.Event()).set,
        )
    )
    caller.start()
    try:
        yield caller
    finally:
        caller.stop(GRACE_SECONDS)


def states(board: Switchboard) -> list[str]:
    """Of all callbacks, oldest first."""
    return [row.state for row in board.callbacks()]


def await_states(board: Switchboard, wanted: Sequence[str]) -> None:
    wait_for(
        f"the callbacks to be {', '.join(wanted)}",
        lambda: states(board) == list(wanted),
        within_seconds=PATIENCE_SECONDS,
    )


def causes(board: Switchboard) -> list[tuple[int | None, str | None]]:
    """(status, cause) of every attempt, oldest first."""
    return [(row.status, row.cause) for row in board.attempts()]
