"""Templates ready to be filled: those in the store, and those that come with a request.

What never changes is kept: the form of a version, and of a text. Which version a name stands for is asked
again after a second, so that what is published is sent everywhere within one.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from mailer.accept.submission import Fault, SubmissionError
from mailer.compose import wording
from mailer.compose.wording import Form, Wording
from mailer.store import Store
from mailer.templates import reading
from mailer.templates.reading import Pointer

_POINTER_SECONDS = 1.0
_POINTERS = 10_000
_FORM_CHARS = 1_500_000  # of the sources whose forms are kept; a form takes 20 to 125 octets for each


@dataclass(frozen=True, slots=True)
class _Known:
    """A pointer, as it was at `read_at` on the monotonic clock."""

    pointer: Pointer
    read_at: float


class Stationery:
    """Reads the database: call it from threads, not from an event loop. Safe from any of them."""

    def __init__(self, store: Store, *, monotonic: Callable[[], float]) -> None:
        self._store = store
        self._monotonic = monotonic
        self._known: dict[tuple[int, str], _Known] = {}
        self._forms = _Forms()

    def stored(self, tenant_id: int, name: str, number: int | None) -> tuple[Form, int]:
        """The form of the tenant's template of this name or id, and the number of its version.

        number  None: the published one

        Raises SubmissionError (UNKNOWN_TEMPLATE), TemplateFault, StoreUnavailable.
        """
        pointer = self._pointer(tenant_id, name, number)
        wanted = pointer.published if number is None else number
        if wanted is None:
            raise SubmissionError(
                Fault.UNKNOWN_TEMPLATE,
                f"the template {pointer.name!r} has no published version: publish one, or name a version",
            )
        key = pointer.id, wanted
        form = self._forms.get(key)
        if form is None:
            words = reading.wording(self._store, pointer.id, wanted)
            if words is None:
                raise SubmissionError(
                    Fault.UNKNOWN_TEMPLATE, f"the template {pointer.name!r} has no version {wanted}"
                )
            form = self._forms.keep(key, words)
        return form, wanted

    def given(self, words: Wording) -> Form:
        """The form of templates that came with a request. Raises TemplateFault."""
        return self._forms.get(words) or self._forms.keep(words, words)

    def forget(self, tenant_id: int) -> None:
        """A template of the tenant was changed in this process: its next message already knows."""
        for key in [key for key in list(self._known) if key[0] == tenant_id]:
            self._known.pop(key, None)

    def _pointer(self, tenant_id: int, name: str, number: int | None) -> Pointer:
        known = self._known.get((tenant_id, name))
        asked_at = self._monotonic()
        is_fresh = known is not None and asked_at - known.read_at < _POINTER_SECONDS
        # A version that is newer than what we know may have been made in this second.
        if known is not None and is_fresh and (number is None or number <= known.pointer.latest):
            return known.pointer
        pointer = reading.pointer(self._store, tenant_id, name)
        if pointer is None:
            raise SubmissionError(Fault.UNKNOWN_TEMPLATE, f"this tenant has no template {name!r}")
        if len(self._known) >= _POINTERS:
            self._known = {}
        self._known[tenant_id, name] = _Known(pointer, asked_at)
        return pointer


class _Forms:
    """Forms by what they were made of, those used last, up to a number of characters."""

    def __init__(self) -> None:
        self._kept: OrderedDict[object, tuple[Form, int]] = OrderedDict()
        self._chars = 0
        self._lock = threading.Lock()

    def get(self, key: object) -> Form | None:
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                return None
            self._kept.move_to_end(key)
            return found[0]

    def keep(self, key: object, words: Wording) -> Form:
        """Compiled outside the lock: nobody waits for a large template of another. Raises TemplateFault."""
        form = wording.compile_wording(words)
        size = sum(len(part or "") for part in (words.subject, words.text, words.html))
        with self._lock:
            if key not in self._kept:
                self._kept[key] = form, size
                self._chars += size
            while self._chars > _FORM_CHARS:
                _, (_, dropped) = self._kept.popitem(last=False)
                self._chars -= dropped
        return form
