"""A tenant's suppression list, as its keys may see and change it.

A key that is limited to streams changes entries of those streams only; one that is for the whole tenant
changes all. Entries of the operator are nobody's here: `mailer suppression --global` keeps them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mailer import ids
from mailer.accept.credentials import Identity
from mailer.accept.submission import Fault, SubmissionError
from mailer.identity import asking, streams
from mailer.identity.asking import Asker
from mailer.identity.names import IdentityError, Limited, Unknown
from mailer.identity.rights import Rights
from mailer.ids import IdMaker
from mailer.policy.suppression import Reason
from mailer.policy.suppressionkey import Keys, Target
from mailer.queue import suppressionfile, suppressionlist
from mailer.queue.suppressing import EVERY_STREAM
from mailer.queue.suppressionentries import API, Entry
from mailer.queue.suppressionfile import Importer
from mailer.queue.suppressionlist import Page, Removed, Wanted
from mailer.queue.suppressiontext import BadTarget, read_target
from mailer.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEntry:
    """target: as suppressiontext.py has it. stream: None: all of the tenant's. expires_at: None: never."""

    target: str
    stream: str | None = None
    note: str | None = None
    expires_at: datetime | None = None


class Lists:
    """Safe from any thread. Raises SubmissionError, StoreUnavailable."""

    def __init__(self, store: Store, keys: Keys, *, new_id: IdMaker, now: Callable[[], datetime]) -> None:
        self._store = store
        self._keys = keys
        self._new_id = new_id
        self._now = now

    def page(self, caller: Identity, wanted: Wanted, *, after: int | None, limit: int) -> Page:
        return suppressionlist.page(
            self._store, caller.tenant_id, wanted, after=after, limit=limit, now=self._now()
        )

    def one(self, caller: Identity, entry_id: int) -> Any:
        found = suppressionlist.one(self._store, caller.tenant_id, entry_id, now=self._now())
        if found is None:
            raise _unknown()
        return found

    def add(self, caller: Identity, new: NewEntry) -> tuple[Any, bool]:
        """The entry, and whether it was made now."""
        now = self._now()
        if new.expires_at is not None and new.expires_at <= now:
            raise SubmissionError(
                Fault.INVALID_FIELD, "expires_at must be later than now", pointer="/expires_at"
            )
        target = self._target(new.target)
        self._check(caller, new.stream)
        entry = Entry(
            target=target,
            tenant_id=caller.tenant_id,
            stream_id=EVERY_STREAM if new.stream is None else self._stream_id(caller, new.stream),
            id=self._new_id(),
            reason=Reason.MANUAL,
            cause=API,
            words=new.note,
            added_by=ids.show("key", caller.key_id),
            created_at=now,
            expires_at=new.expires_at,
        )
        return suppressionlist.add(self._store, entry, new_id=self._new_id)

    def remove(self, caller: Identity, entry_id: int, *, send_again: bool) -> Removed:
        self._check(caller, self.one(caller, entry_id).stream)
        removed = suppressionlist.remove(
            self._store,
            caller.tenant_id,
            entry_id,
            send_again=send_again,
            new_id=self._new_id,
            now=self._now(),
        )
        if removed is None:
            raise _unknown()
        return removed

    def importer(self, caller: Identity) -> Importer:
        with self._store.read() as connection:
            held = asking.rights_of(connection, Asker(caller.tenant_id, caller.key_id))
        return Importer(
            store=self._store,
            keys=self._keys,
            tenant_id=caller.tenant_id,
            new_id=self._new_id,
            now=self._now,
            added_by=ids.show("key", caller.key_id),
            streams=streams.ids_of(self._store, caller.tenant_id),
            only=None if held.streams is None else frozenset(held.streams),
        )

    def export(self, caller: Identity) -> Iterator[str]:
        return suppressionfile.export(self._store, caller.tenant_id, now=self._now())

    def _target(self, text: str) -> Target:
        try:
            return read_target(self._keys, text)
        except BadTarget as error:
            raise SubmissionError(Fault.INVALID_FIELD, str(error), pointer="/target") from None

    def _stream_id(self, caller: Identity, name: str) -> int:
        try:
            return streams.id_of(self._store, caller.tenant_id, name)
        except Unknown:
            raise SubmissionError(
                Fault.UNKNOWN_STREAM, f"this tenant has no stream {name!r}", pointer="/stream"
            ) from None

    def _check(self, caller: Identity, stream: str | None) -> None:
        with self._store.read() as connection:
            held = asking.rights_of(connection, Asker(caller.tenant_id, caller.key_id))
        asked = Rights(scopes=(), streams=None if stream is None else (stream,), domains=held.domains)
        try:
            asking.require(held, asked)
        except Limited as error:
            raise SubmissionError(Fault.KEY_LIMITED, str(error)) from None
        except IdentityError as error:
            raise SubmissionError(Fault.FORBIDDEN, str(error)) from None


def _unknown() -> SubmissionError:
    return SubmissionError(Fault.NOT_FOUND, "this tenant has no such suppression")
