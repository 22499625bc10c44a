"""/v1/queue: where mail waits, and what is done to it. A tenant's own; with `operate`, everybody's."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Query, Response

from mailer import ids
from mailer.accept.credentials import Authenticator, Identity
from mailer.accept.http import cursors
from mailer.accept.http import queue_shapes as shapes
from mailer.accept.http.asked import examples, id_path, number_of, once, position_of, refused
from mailer.accept.http.callers import Caller, as_json
from mailer.accept.http.smallbody import SmallBody
from mailer.accept.submission import Fault, SubmissionError
from mailer.accept.waiting import UnknownTenant, WaitingMail
from mailer.identity import asking
from mailer.queue.acting import Requeue, verdict
from mailer.queue.backlog import By, Wanted
from mailer.queue.moving import Move, MoveToPool

_PATH = "/v1/queue"
_QUESTION = "actions"
_HoldId = Annotated[str, id_path("hold", "a hold")]
_HELD = examples(domain={"domain": "example.org", "reason": "their postmaster asked for a pause"})
_REQUEUED = examples(site={"site": "provider:gmx", "reason": "they lifted the block"})
_MOVED = examples(
    campaign={"stream": "transactional", "to_stream": "broadcast", "reason": "it is a campaign"},
    pool={"site": "provider:gmx", "to_pool": "spare", "reason": "the main IPs are blocked there"},
)
_BOUNCED = examples(
    stream={
        "stream": "newsletter",
        "domain": "example.org",
        "reason": "the list was stolen",
        "status": "5.7.1",
    }
)


def router(waiting: WaitingMail, authenticator: Authenticator) -> APIRouter:
    """Synchronous functions: FastAPI runs them in threads, where the database may be used."""
    routes = APIRouter(prefix=_PATH, tags=["queue"], route_class=SmallBody)
    parameters = once(shapes.OverviewQuery, shapes.Conditions, shapes.ActionQuery)
    reader = Depends(Caller(authenticator, "read", once=parameters, or_operate=True))
    manager = Depends(Caller(authenticator, asking.SCOPE, changes=True, or_operate=True))
    _add_looking(routes, waiting, reader)
    _add_holding(routes, waiting, reader, manager)
    _add_acting(routes, waiting, manager)
    return routes


def _add_looking(routes: APIRouter, waiting: WaitingMail, reader: Any) -> None:
    @routes.get("", response_model=shapes.QueueOverview, summary="Look at the queue")
    def look_at_queue(
        query: Annotated[shapes.OverviewQuery, Query()], identity: Identity = reader
    ) -> Response:
        """Sites, domains or tenants by backlog, with the age of the oldest and what the last minute came to.
        The look is bounded whatever waits; where it met a bound it says so."""
        if query.by is By.TENANT and not identity.is_operator:
            raise SubmissionError(Fault.FORBIDDEN, "the API key lacks the scope operate: it sees one tenant")
        seen = waiting.overview(identity, Wanted(by=query.by, most=query.limit))
        return as_json(shapes.QueueOverview.model_validate(seen))

    @routes.get("/count", response_model=shapes.Waiting, summary="Count mail that waits")
    def count_waiting(query: Annotated[shapes.Conditions, Query()], identity: Identity = reader) -> Response:
        """How many recipients an order with these conditions would be about. Nothing is changed."""
        try:
            found = waiting.extent(identity, query.meant())
        except UnknownTenant as error:
            raise refused("tenant", str(error)) from None
        return as_json(shapes.Waiting.model_validate(found))

    @routes.get("/actions", response_model=shapes.ActionPage, summary="List what was done to mail that waits")
    def list_actions(query: Annotated[shapes.ActionQuery, Query()], identity: Identity = reader) -> Response:
        """Who held, released, requeued or bounced what, when, and how many recipients that was."""
        before = position_of(query.cursor, _QUESTION)
        found = waiting.actions(identity, limit=query.limit + 1, before=before)
        page = found[: query.limit]
        more = cursors.cursor(page[-1].id, _QUESTION) if len(found) > query.limit else None
        return as_json(shapes.ActionPage.model_validate({"actions": page, "next_cursor": more}))


def _add_holding(routes: APIRouter, waiting: WaitingMail, reader: Any, manager: Any) -> None:
    @routes.get("/holds", response_model=shapes.HoldList, summary="List holds")
    def list_holds(identity: Identity = reader) -> Response:
        """Those in force that the tenant placed; with the scope `operate`, all."""
        found = [shapes.hold_values(one) for one in waiting.holds(identity)]
        return as_json(shapes.HoldList.model_validate({"holds": found}))

    @routes.post("/holds", response_model=shapes.PlacedHold, status_code=201, summary="Hold mail")
    def hold_mail(
        order: Annotated[shapes.HoldOrder, Body(openapi_examples=_HELD)], identity: Identity = manager
    ) -> Response:
        """From a second on nothing that is meant is sent, new mail included. What a worker has in hand is
        sent. No clock stands still: mail with a deadline expires. A repeat places another hold."""
        made, found = waiting.hold(identity, order.meant(), reason=order.reason, until=order.until)
        values = {"recipients": found.waiting, "under_way": found.under_way, **shapes.hold_values(made)}
        return as_json(
            shapes.PlacedHold.model_validate(values), location=f"{_PATH}/holds/{ids.show('hold', made.id)}"
        )

    @routes.get("/holds/{hold_id}", response_model=shapes.Hold, summary="Get a hold")
    def get_hold(hold_id: _HoldId, identity: Identity = reader) -> Response:
        """One that is in force."""
        number = _number(hold_id)
        for one in waiting.holds(identity):
            if one.id == number:
                return as_json(shapes.Hold.model_validate(shapes.hold_values(one)))
        raise SubmissionError(Fault.NOT_FOUND, "this tenant has no such hold")

    @routes.delete("/holds/{hold_id}", status_code=204, response_class=Response, summary="Release a hold")
    def release_hold(hold_id: _HoldId, identity: Identity = manager) -> Response:
        """It holds nothing any more. A tenant releases what it placed itself. May be repeated."""
        waiting.release(identity, _number(hold_id))
        return Response(status_code=204)


def _add_acting(routes: APIRouter, waiting: WaitingMail, manager: Any) -> None:
    @routes.post("/requeue", response_model=shapes.Acted, summary="Try deferred mail now")
    def requeue_mail(
        order: Annotated[shapes.RequeueOrder, Body(openapi_examples=_REQUEUED)], identity: Identity = manager
    ) -> Response:
        """What waits for a retry is due now; what is scheduled for later is left alone."""
        if order.faulty and not identity.is_operator:
            raise SubmissionError(Fault.FORBIDDEN, "the API key lacks the scope operate: leave faulty out")
        done = waiting.requeue(identity, order.meant(), Requeue(reason=order.reason, faulty=order.faulty))
        return as_json(shapes.Acted.model_validate(done))

    @routes.post("/move", response_model=shapes.Acted, summary="Move mail to another stream, or to a pool")
    def move_mail(
        order: Annotated[shapes.MoveOrder, Body(openapi_examples=_MOVED)], identity: Identity = manager
    ) -> Response:
        """What waits is sent as that stream's mail is: with its retries, by its pool. The message keeps the
        stream it was sent to. Or it leaves from a pool until it ends, whatever its stream's is."""
        if order.to_pool is not None:
            done = waiting.move_to_pool(identity, order.meant(), MoveToPool(order.to_pool, order.reason))
        else:
            done = waiting.move(identity, order.meant(), Move(order.to_stream or "", order.reason))
        return as_json(shapes.Acted.model_validate(done))

    @routes.post("/bounce", response_model=shapes.Acted, summary="End mail that waits")
    def bounce_mail(
        order: Annotated[shapes.BounceOrder, Body(openapi_examples=_BOUNCED)], identity: Identity = manager
    ) -> Response:
        """What is meant and waits ends as bounced, with its events, and a notice where one is wanted. What a
        worker has in hand is left to it: hold it first if all of it shall end."""
        done = waiting.bounce(identity, order.meant(), verdict(order.status, order.reason))
        return as_json(shapes.Acted.model_validate(done))


def _number(hold_id: str) -> int:
    return number_of("hold", hold_id, what="hold")
