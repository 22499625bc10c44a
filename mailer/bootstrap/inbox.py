"""The inbox role: a catching MX for the sandbox, which reads what comes back to our return-paths.

The database is asked for nothing else: mail is kept while it is away, and only what came back is put off.
"""

from __future__ import annotations

from mailer import clock
from mailer.bootstrap.office import Office, Stop, announce, keep_lease, office
from mailer.config import Settings
from mailer.identity.installation import recognise, secret_of
from mailer.identity.vault import Vault
from mailer.report import inbox
from mailer.report.returned import ReturnPaths


def run(settings: Settings) -> int:
    """Catches mail until it is told to stop; returns the exit code. Raises OSError: the address is in use."""
    stop = Stop()
    stop.on_signals()
    with office(settings, "inbox") as own:
        server = inbox.serve_inbox(
            settings.inbox_host,
            settings.inbox_port,
            settings.data_dir / "inbox",
            settings.data_dir / "tls",
            returns=_return_paths(settings, own),
        )
        keep_lease(own.lease, stop)
        announce(settings, "inbox", port=server.port)
        stop.event.wait()
        server.stop()
        own.sign_off()
        return stop.code


def _return_paths(settings: Settings, own: Office) -> ReturnPaths:
    vault = Vault(secret_of(settings.secret_file, settings.secret))
    recognise(own.store, vault)
    return ReturnPaths(store=own.store, secrets=(vault.derive("verp"),), new_id=own.new_id, now=clock.now)
