"""What explanations and overviews know beside the rows: one place for the API and for commands.

A part of the queue that can keep mail waiting brings its finder here (`Knowledge.also`).
"""

from __future__ import annotations

from mailer.config import Settings
from mailer.config.load import site_by_route
from mailer.policy.sites import SiteRules
from mailer.queue import paced
from mailer.queue.obstacles import Knowledge


def knowledge_of(settings: Settings, rules: SiteRules, *, for_operator: bool = False) -> Knowledge:
    """for_operator: of a command; of the API each key says it."""
    return Knowledge(
        rules=rules,
        connections_per_site=settings.connections_per_site,
        site_of=site_by_route(settings),
        for_operator=for_operator,
        also=paced.FINDERS,
    )
