"""How links to unsubscribe are made and read: alike in doors, in workers and in what hears of their use."""

from __future__ import annotations

from mailer.compose.unsubscribe import Links
from mailer.config import Settings
from mailer.identity.vault import Vault

_PURPOSE = "unsubscribe"


def links_of(settings: Settings, vault: Vault) -> Links:
    """A link is good for ever, and so is the secret it was made with: a new one goes before the others."""
    return Links(
        public_url=settings.public_url,
        secrets=(vault.derive(_PURPOSE),),
        by_mail=settings.unsubscribe_by_mail,
    )
