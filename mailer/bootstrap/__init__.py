"""The composition root: reads nothing but settings, builds each role, and runs it until it is told to stop.

Settings go no further down than this package: stages get values (`RetrySchedule`, `ClaimLimits`, ...).
Every role registers an incarnation, announces itself in `<data>/run/<name>.json` when it is ready, and
ends in order on SIGTERM or SIGINT; office.py has what they share, the rest is one module a role.

`tasks` lies below this package, though it holds Celery's task: the worker role is composed of Celery's
worker as of everything else, so the root must reach it.
"""

from __future__ import annotations

from mailer.config import Settings


def run_http(settings: Settings) -> int:
    """The HTTP door; returns the exit code."""
    from mailer.bootstrap import http

    return http.run(settings)


def run_worker(settings: Settings, index: int = 1) -> int:
    """A delivery worker; `index` tells those of one data folder apart."""
    from mailer.bootstrap import worker

    return worker.run(settings, index)


def run_sweeper(settings: Settings) -> int:
    """Sweep, recovery and fan-out."""
    from mailer.bootstrap import sweeper

    return sweeper.run(settings)


def run_caller(settings: Settings) -> int:
    """Callbacks to webhook endpoints."""
    from mailer.bootstrap import caller

    return caller.run(settings)


def run_returns(settings: Settings) -> int:
    """The host that takes what comes back."""
    from mailer.bootstrap import returns

    return returns.run(settings)


def run_inbox(settings: Settings) -> int:
    """The sandbox inbox."""
    from mailer.bootstrap import inbox

    return inbox.run(settings)
