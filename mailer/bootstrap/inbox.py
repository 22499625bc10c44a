"""The inbox role: a catching MX for the sandbox. It needs no database, and nothing waits for it to drain."""

from __future__ import annotations

from mailer import logs
from mailer.bootstrap.office import announce
from mailer.config import Settings
from mailer.report import inbox


def run(settings: Settings) -> int:
    """Catches mail until it is told to stop; returns the exit code."""
    logs.configure(settings.log_level, settings.log_format)
    inbox.run(
        settings.inbox_host,
        settings.inbox_port,
        settings.data_dir / "inbox",
        settings.data_dir / "tls",
        on_ready=lambda port: announce(settings, "inbox", port=port),
    )
    return 0
