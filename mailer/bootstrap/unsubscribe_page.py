"""The page of the HTTP role by which recipients leave a stream."""

from __future__ import annotations

import structlog
from fastapi import APIRouter

from mailer import clock
from mailer.accept.http.unsubscribing import UnsubscribeParts, router
from mailer.bootstrap.office import Office, suppression_keys
from mailer.compose.unsubscribe import Links
from mailer.config import Settings
from mailer.config.load import NO_PUBLIC_URL

_log = structlog.get_logger(__name__)


def unsubscribe_page(settings: Settings, own: Office, links: Links) -> APIRouter:
    """For the HTTP door."""
    if links.public_url is None:
        _log.warning("unsubscribe.no_public_url", cause=NO_PUBLIC_URL)
    return router(
        UnsubscribeParts(
            store=own.store,
            secrets=links.secrets,
            keys=suppression_keys(settings),
            proxies=settings.proxies,
            new_id=own.new_id,
            now=clock.now,
            monotonic=clock.monotonic,
        )
    )
