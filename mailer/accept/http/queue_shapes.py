"""What the queue's routes take and answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from mailer import ids
from mailer.accept.http.asked import Asked, Digits, Instant, NotGiven, left_out
from mailer.accept.http.listing import DomainText
from mailer.accept.http.shapes import At, MessageId, RecipientId, Shape, id_pattern, shown_as
from mailer.accept.waiting import Meant
from mailer.events import RecipientState
from mailer.identity.pools import NAME_PATTERN as POOL_PATTERN
from mailer.identity.streams import NAME_PATTERN
from mailer.queue.backlog import By
from mailer.queue.selection import Selection

_LINE = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*\S[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$"
HoldId = Annotated[int, *shown_as("hold")]
ActionId = Annotated[int, *shown_as("act")]
TenantId = Annotated[int, *shown_as("ten")]
Reason = Annotated[
    str, Field(min_length=1, max_length=500, pattern=_LINE, description="Why, on one line; explain tells it")
]
_Line = Annotated[str, Field(min_length=1, max_length=255, pattern=_LINE)]
_CONDITIONS = ("stream", "domain", "site", "message_id", "recipient_id", "tenant")


class Conditions(Asked):
    """Which mail that waits is meant: all that is said must be met."""

    stream: Annotated[str, Field(pattern=f"^{NAME_PATTERN}$")] = left_out("Name of its stream")
    domain: DomainText = left_out("Domain of the recipient")
    site: _Line = left_out("Where it goes, as `GET /v1/queue` names it")
    message_id: Annotated[str, Field(pattern=id_pattern("msg"))] = left_out("Its message")
    recipient_id: Annotated[str, Field(pattern=id_pattern("rcpt"))] = left_out("The recipient itself")
    tenant: _Line = left_out("Name of its tenant; only for the scope `operate`")

    def meant(self) -> Meant:
        selection = Selection(
            stream=self.stream, domain=self.domain, site=self.site,
            message_id=_number("msg", self.message_id), recipient_id=_number("rcpt", self.recipient_id),
        )  # fmt: skip
        return Meant(selection, self.tenant)


class Order(Conditions):
    """What is done to mail that waits."""

    everything: bool = Field(False, description="true: all that waits is meant, where nothing else is said")
    reason: Reason

    @field_validator(*_CONDITIONS, mode="before")
    @classmethod
    def _is_given(cls, value: object) -> object:
        """A condition that is null may be a program's mistake, and would mean more mail than was meant."""
        if value is None:
            raise ValueError("must not be null: leave it out")
        return value

    @model_validator(mode="after")
    def _says_which(self) -> Self:
        if not self.everything and all(getattr(self, name) is None for name in _CONDITIONS):
            raise ValueError("say which mail is meant, or `everything`: true")
        return self


class HoldOrder(Order):
    """Nothing that is meant is sent until the hold is released, or until a time."""

    until: Instant | None = Field(None, description="When it ends by itself; null: never")


class RequeueOrder(Order):
    """What waits for a retry is tried now."""

    faulty: bool = Field(False, description="Also what a fault held; only for the scope `operate`")


class MoveOrder(Order):
    """What waits is sent as mail of another stream, or leaves from a pool; one of the two is said."""

    to_stream: Annotated[str, Field(pattern=f"^{NAME_PATTERN}$")] = left_out(
        "Name of the stream to move to; broadcast mail goes to no transactional one"
    )
    to_pool: Annotated[str, Field(pattern=f"^{POOL_PATTERN}$")] = left_out(
        "Name of the pool that it leaves from until it ends; only for the scope `operate`."
        " Broadcast mail goes to no transactional one, and nobody's to another tenant's"
    )

    @model_validator(mode="after")
    def _says_where(self) -> Self:
        if (self.to_stream is None) == (self.to_pool is None):
            raise ValueError("say either to_stream or to_pool")
        return self


class BounceOrder(Order):
    """What waits ends as bounced."""

    status: Annotated[str, Field(pattern=r"^5\.(0|[1-9][0-9]{0,2})\.(0|[1-9][0-9]{0,2})$")] = Field(
        "5.7.1", description="Enhanced status (RFC 3463)"
    )


class OverviewQuery(Asked):
    """What the rows stand for."""

    by: By = Field(By.SITE, description="site, domain or tenant")
    limit: Digits = Field(50, ge=1, le=500, description="Most rows in the answer")


class QueueRow(Shape):
    """A site, domain or tenant with what waits for it, and what the last minute came to."""

    name: str
    queued: int = Field(description="Due now")
    deferred: int = Field(description="Waiting for their time")
    leased: int = Field(description="In a worker's hands")
    is_partial: bool = Field(description="queued and deferred are at least so many")
    oldest_at: At | None = Field(description="Acceptance of the one that waits longest")
    ended: int = Field(description="Attempts that ended in the window")
    outcomes: Mapping[str, int] = Field(description="Those by what was heard: accepted, refused 4yz ...")
    in_use: int | None = Field(description="Connections open a second ago; of sites, for operators")
    granted: int | None = Field(description="Connections granted to workers; of sites, for operators")
    limit: int | None = Field(description="Connections that it takes; of sites, for operators")


class QueueOverview(Shape):
    """The queue at a glance, the largest backlog first."""

    at: At
    by: By
    window_seconds: float = Field(description="Over how long attempts were counted; a minute at most")
    rows: Sequence[QueueRow]
    totals: QueueRow


class Waiting(Shape):
    """How many recipients are meant."""

    recipients: int = Field(validation_alias="waiting", description="That wait")
    under_way: int = Field(description="More, that a worker has in hand")
    states: Mapping[RecipientState, int]


class Hold(Shape):
    """What is held, why, and until when. A condition that is null is none."""

    id: HoldId
    owner: Literal["operator", "tenant"] = Field(description="Who placed it and may release it")
    tenant_id: TenantId | None
    stream: str | None
    domain: str | None
    site: str | None
    message_id: MessageId | None
    recipient_id: RecipientId | None
    placed_by: str = Field(description="An API key's id, or who gave the command")
    reason: str
    placed_at: At
    until: At | None = Field(description="null: until it is released")


class PlacedHold(Hold):
    """A hold that was placed just now."""

    recipients: int = Field(description="That wait and are held")
    under_way: int = Field(description="More, that a worker has in hand: they are sent")


class HoldList(Shape):
    holds: Sequence[Hold] = Field(description="In force, the oldest first")


class Acted(Shape):
    """What came of an order."""

    action_id: ActionId
    recipients: int = Field(validation_alias="changed", description="That were changed")
    under_way: int = Field(description="More, that a worker has in hand and were left alone")
    has_more: bool = Field(description="One request changes a bounded number: repeat it")


class Action(Shape):
    """Who did what to mail that waits."""

    id: ActionId
    at: At
    kind: Literal["hold", "release", "lapse", "requeue", "move", "bounce", "warn", "override", "clear"]
    done_by: str = Field(description="An API key's id, who gave the command, or time")
    wanted: Mapping[str, str] = Field(description="The conditions")
    reason: str
    hold_id: HoldId | None
    until: At | None
    status: str | None = Field(description="Of a bounce")
    target: str | None = Field(description='The stream that was moved to, or "pool:" and the pool\'s name')
    recipients: int = Field(description="That were changed; of a hold, that waited when it was placed")


class ActionPage(Shape):
    actions: Sequence[Action] = Field(description="The newest first")
    next_cursor: str | None = Field(description="`cursor` of the next page; null: there is nothing more")


class ActionQuery(Asked):
    """Which piece of the record."""

    limit: Digits = Field(50, ge=1, le=500, description="Most actions in the answer")
    cursor: str | NotGiven = Field(None, max_length=64, description="`next_cursor` of the page before")


def _number(kind: str, text: str | None) -> int | None:
    """An id that matches the pattern and is none is nobody's."""
    try:
        return None if text is None else ids.parse(kind, text)
    except ids.MalformedId:
        return 0


def hold_values(one: Any) -> dict[str, Any]:
    """Of a queue.holds.Hold, for `Hold`."""
    wanted = {name: getattr(one.wanted, name) for name in (*_CONDITIONS[:-1], "tenant_id")}
    owner = "operator" if one.owner_id is None else "tenant"
    return {
        **wanted, "id": one.id, "owner": owner, "placed_by": one.placed_by, "reason": one.reason,
        "placed_at": one.placed_at, "until": one.until,
    }  # fmt: skip
