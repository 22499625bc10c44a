"""What a key may do to mail that waits: its tenant's own with `manage`, everybody's with `operate`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from mailer import ids
from mailer.accept.credentials import Identity
from mailer.accept.submission import Fault, SubmissionError
from mailer.identity import asking, tenants
from mailer.identity.asking import Asker
from mailer.identity.names import IdentityError, Limited
from mailer.identity.rights import Rights
from mailer.queue import acting, actions, backlog, holds, moving, pieces
from mailer.queue.acting import Requeue, Verdict
from mailer.queue.actions import Action, Doer
from mailer.queue.backlog import Overview, Wanted
from mailer.queue.holds import Hold, NewHold, TooManyHolds
from mailer.queue.moving import CannotMove, Move, MoveToPool
from mailer.queue.obstacles import Knowledge
from mailer.queue.pieces import Done, Extent, Means
from mailer.queue.selection import Selection

MOST_AT_ONCE = 20_000  # recipients that one request changes: it is answered in seconds


@dataclass(frozen=True, slots=True)
class Meant:
    """What a caller says. tenant: a name, which only an operator may say."""

    selection: Selection
    tenant: str | None = None


class UnknownTenant(SubmissionError):
    """The tenant that an operator names is none."""


class WaitingMail:
    """Safe from any thread. Raises SubmissionError, StoreUnavailable."""

    def __init__(self, means: Means, knowledge: Knowledge, *, ring: Callable[[], None]) -> None:
        self._means = means
        self._knowledge = knowledge
        self._ring = ring

    def overview(self, caller: Identity, wanted: Wanted) -> Overview:
        """wanted: its owner is not looked at; the caller is it."""
        own = Wanted(by=wanted.by, most=wanted.most, owner_id=_owner(caller))
        return backlog.look(self._means.store, own, self._knowledge, now=self._means.now())

    def extent(self, caller: Identity, meant: Meant) -> Extent:
        return pieces.extent(self._means, self._selection(caller, meant))

    def holds(self, caller: Identity) -> list[Hold]:
        return holds.listed(self._means.store, _owner(caller), now=self._means.now())

    def actions(self, caller: Identity, *, limit: int, before: int | None) -> list[Action]:
        return actions.listed(self._means.store, _owner(caller), limit=limit, before=before)

    def hold(
        self, caller: Identity, meant: Meant, *, reason: str, until: datetime | None
    ) -> tuple[Hold, Extent]:
        """The hold, and what waits there now."""
        self._check_rights(caller, meant.selection)
        wanted, now = self._selection(caller, meant), self._means.now()
        if until is not None and until <= now:
            raise SubmissionError(Fault.INVALID_FIELD, "until must be later than now", pointer="/until")
        found = pieces.extent(self._means, wanted)
        new = NewHold(wanted, reason, until, found.waiting)
        try:
            made = holds.place(self._means.store, new, _doer(caller), new_id=self._means.new_id, now=now)
        except TooManyHolds as error:
            raise SubmissionError(Fault.LIMIT_REACHED, str(error)) from None
        return made, found

    def release(self, caller: Identity, hold_id: int) -> None:
        there = {one.id: one for one in self.holds(caller)}
        if hold_id in there:
            self._check_rights(caller, there[hold_id].wanted)
        means = self._means
        if not holds.release(
            means.store, hold_id, _doer(caller), reason="", new_id=means.new_id, now=means.now()
        ):
            raise SubmissionError(Fault.NOT_FOUND, "this tenant has no such hold")
        self._ring()

    def requeue(self, caller: Identity, meant: Meant, ordered: Requeue) -> Done:
        self._check_rights(caller, meant.selection)
        wanted = self._selection(caller, meant)
        done = acting.requeue(self._means, wanted, _doer(caller), ordered, most=MOST_AT_ONCE)
        if done.changed:
            self._ring()
        return done

    def move(self, caller: Identity, meant: Meant, ordered: Move) -> Done:
        for stream in (meant.selection.stream, ordered.stream):
            self._check_rights(caller, Selection(stream=stream))
        wanted = self._selection(caller, meant)
        try:
            done = moving.move(self._means, wanted, _doer(caller), ordered, most=MOST_AT_ONCE)
        except CannotMove as error:
            raise SubmissionError(Fault.INVALID_FIELD, str(error), pointer="/to_stream") from None
        if done.changed:
            self._ring()
        return done

    def move_to_pool(self, caller: Identity, meant: Meant, ordered: MoveToPool) -> Done:
        if not caller.is_operator:
            raise SubmissionError(
                Fault.FORBIDDEN, "the API key lacks the scope operate: leave to_pool out", pointer="/to_pool"
            )
        self._check_rights(caller, meant.selection)
        wanted = self._selection(caller, meant)
        try:
            done = moving.move_to_pool(self._means, wanted, _doer(caller), ordered, most=MOST_AT_ONCE)
        except CannotMove as error:
            raise SubmissionError(Fault.INVALID_FIELD, str(error), pointer="/to_pool") from None
        if done.changed:
            self._ring()
        return done

    def bounce(self, caller: Identity, meant: Meant, verdict: Verdict) -> Done:
        self._check_rights(caller, meant.selection)
        wanted = self._selection(caller, meant)
        return acting.bounce(self._means, wanted, _doer(caller), verdict, most=MOST_AT_ONCE)

    def _selection(self, caller: Identity, meant: Meant) -> Selection:
        """Whatever a tenant says, its own mail is meant."""
        said = meant.selection
        if caller.is_operator:
            tenant_id = None if meant.tenant is None else self._tenant(meant.tenant)
        elif meant.tenant is not None:
            raise SubmissionError(
                Fault.FORBIDDEN, "the API key lacks the scope operate: it may not name a tenant"
            )
        else:
            tenant_id = caller.tenant_id
        return Selection(
            tenant_id=tenant_id, stream=said.stream, domain=said.domain, site=said.site,
            message_id=said.message_id, recipient_id=said.recipient_id,
        )  # fmt: skip

    def _tenant(self, name: str) -> int:
        try:
            return tenants.named(self._means.store, name).id
        except IdentityError as error:
            raise UnknownTenant(Fault.INVALID_FIELD, str(error), pointer="/tenant") from None

    def _check_rights(self, caller: Identity, wanted: Selection) -> None:
        """A key that is limited to streams says which; one limited to sending domains is not for this.

        Mail that waits is chosen by whom it goes to, and not by whom it comes from.
        """
        if caller.is_operator:
            return
        with self._means.store.read() as connection:
            held = asking.rights_of(connection, Asker(caller.tenant_id, caller.key_id))
        try:
            asked = Rights(scopes=(), streams=None if wanted.stream is None else (wanted.stream,))
            asking.require(held, asked)
        except Limited as error:
            raise SubmissionError(Fault.KEY_LIMITED, str(error)) from None


def _owner(caller: Identity) -> int | None:
    return None if caller.is_operator else caller.tenant_id


def _doer(caller: Identity) -> Doer:
    return Doer(ids.show("key", caller.key_id), _owner(caller))
