"""What the HTTP role has in sandbox mode beside the API: the inbox as a page and as an API."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from fastapi import APIRouter

from mailer import clock
from mailer.config import Settings
from mailer.identity import custody
from mailer.identity.installation import recognise, secret_of
from mailer.identity.return_paths import TokenKeeper
from mailer.identity.vault import Vault
from mailer.queue.ownership import owners_of
from mailer.store import Store
from mailer.web.inbox import inbox_router
from mailer.web.inbox_api import InboxApi
from mailer.web.owned import OwnMail
from mailer.web.shelf import Shelf
from mailer.web.verdict import Lookup
from mailer.web.waiting import WaitingRoom


def inbox_page(settings: Settings, store: Store) -> tuple[APIRouter, ...]:
    """The inbox shows mail to whoever asks, so only a sandbox has it."""
    if settings.is_live:
        return ()
    return (inbox_router(settings.data_dir / "inbox", _books(store)),)


def inbox_api(settings: Settings, store: Store, is_closing: Callable[[], bool]) -> tuple[InboxApi, ...]:
    """/v1/inbox; in live mode there is no inbox. Raises WrongSecret."""
    if settings.is_live:
        return ()
    vault = Vault(secret_of(settings.secret_file, settings.secret))
    recognise(store, vault)  # with another secret nobody's mail would be found, without a word
    shelf = Shelf(settings.data_dir / "inbox")
    tokens = TokenKeeper(store, vault, monotonic=clock.monotonic)

    def read_token(token: str) -> int | None:
        tokens.look()
        return tokens.keys().read(token)

    mail = OwnMail(shelf, read_token, partial(owners_of, store))
    waiting = WaitingRoom(mail, monotonic=clock.monotonic, is_closing=is_closing)
    return (InboxApi(mail, waiting, _books(store)),)


def _books(store: Store) -> Lookup:
    """DKIM records as the DNS would have them."""

    def txt_record(name: bytes) -> bytes | None:
        found = custody.txt_record(store, name.decode("ascii", "replace"))
        return None if found is None else found.encode()

    return txt_record
