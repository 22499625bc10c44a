"""The inbox as a running server."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from mailer import clock
from mailer.listener import Limits, Rules
from mailer.listener.certificate import server_context
from mailer.report.catcher import CatchingDesk, Fittings
from mailer.report.desk import Reception
from mailer.report.maildir import Maildir
from mailer.report.replier import DELAYS, Replier
from mailer.report.serving import Server, serve
from mailer.report.simulator import Patience, Simulator

KEEP = 1000
HOST = "inbox.localhost"  # RFC 6761 §6.3: never anybody's
# One client is all there is, our own relay: it may have as many sessions as it is set to, for as long as it
# likes, and lines of any length, since an inbox that refuses what others take hides nothing.
_LIMITS = Limits(
    size_bytes=40 * 1024 * 1024,
    text_line_octets=0,
    messages=100_000,
    connections=5000,
    connections_per_peer=5000,
    session_seconds=86_400.0,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """keep: how many of the newest messages are kept. reply_delays: seconds before each try of a reply."""

    keep: int = KEEP
    patience: Patience = field(default_factory=Patience)
    reply_delays: tuple[float, ...] = DELAYS


def serve_inbox(
    host: str,
    port: int,
    maildir: Path,
    tls_dir: Path,
    *,
    returns: Reception | None = None,
    habits: Habits | None = None,
) -> Server:
    """Listens on host and port (0: any free one) and returns. Raises OSError: the address is in use,
    or a folder cannot be written.

    maildir  folder of the kept messages, made if there is none
    tls_dir  folder of the certificate, made at first start
    returns  takes what comes back; None: it is kept only
    """
    habits = habits or Habits()
    replier = Replier(habits.reply_delays)
    fittings = Fittings(
        host=HOST,
        maildir=Maildir(maildir, keep=habits.keep, wall_ms=clock.wall_ms),
        now=clock.now,
        simulator=Simulator(clock.monotonic, habits.patience),
        replier=replier,
        returns=returns,
    )
    context = server_context(tls_dir, HOST, clock.now(), name="inbox")
    rules = Rules(host=HOST, desk=CatchingDesk(fittings), tls=lambda: context, limits=_LIMITS)
    return serve(rules, (host, port), name="inbox", on_open=replier.send_to, on_close=replier.close)
