"""The inbox role: a catching MX for the sandbox, and beside it the host that takes what comes back.

The inbox asks the database for nothing else than whose a return-path is: mail is kept while it is away, and
only what came back is put off.
"""

from __future__ import annotations

from mailer.bootstrap.office import Stop, announce, keep_lease, office
from mailer.bootstrap.returns import Taking
from mailer.config import Settings
from mailer.report import inbox


def run(settings: Settings) -> int:
    """Catches mail until it is told to stop; returns the exit code. Raises OSError: the address is in use."""
    stop = Stop()
    stop.on_signals()
    with office(settings, "inbox") as own:
        taking = Taking.open(settings, own, stop)
        server = inbox.serve_inbox(
            settings.inbox_host,
            settings.inbox_port,
            settings.data_dir / "inbox",
            settings.data_dir / "tls",
            returns=taking.reception,
        )
        keep_lease(own.lease, stop, taking.look)
        announce(settings, "inbox", port=server.port, returns_port=taking.port)
        stop.event.wait()
        server.stop()
        taking.close()
        own.sign_off()
        return stop.code
