"""Refusals as problem details (RFC 9457), for every route and for what reaches no route.

The type is a URI reference with an absolute path (RFC 9457 §3.1.1 asks for a full path where it is
relative): it holds whatever name this server is reached by, and GET on it explains the problem. Programs
compare `type`, which stays as it is for ever; people follow `doc`, which leads to the page that explains it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import Scope

from mailer.accept.http import invalid, page
from mailer.accept.http.catalogue import CATALOGUE, Kind
from mailer.accept.http.visits import visit_of
from mailer.accept.submission import Fault, SubmissionError
from mailer.store import StoreUnavailable

MEDIA_TYPE = "application/problem+json"
_MOST_ERRORS = 20  # listed in one answer
_METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
_BY_STATUS = {
    400: Fault.MALFORMED_REQUEST,
    404: Fault.NOT_FOUND,
    405: Fault.METHOD_NOT_ALLOWED,
    408: Fault.REQUEST_TIMEOUT,
    413: Fault.REQUEST_TOO_LARGE,
    415: Fault.UNSUPPORTED_MEDIA_TYPE,
}


def install(app: FastAPI) -> None:
    """Every refusal of `app` is a problem document, and every problem type can be looked up."""
    app.add_exception_handler(SubmissionError, _refused)
    app.add_exception_handler(StoreUnavailable, _unavailable)
    app.add_exception_handler(RequestValidationError, _not_valid)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_api_route("/problems/{word}", _explain, include_in_schema=False)


def problem(
    scope: Scope,
    fault: Fault,
    detail: str,
    *,
    errors: Sequence[Mapping[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The answer to a refused request. detail, errors: for its sender, generic and stable."""
    kind = CATALOGUE[fault]
    visit = visit_of(scope)
    visit.fault = fault
    document = {**described(fault, detail), "request_id": visit.request_id}
    if errors:
        document["errors"] = list(errors)
    fields = {**_headers_of(fault, kind), **(headers or {})}
    return Response(msgspec.json.encode(document), kind.status, fields, MEDIA_TYPE)


def described(fault: Fault, detail: str) -> dict[str, Any]:
    """What every answer that tells of a fault says of it. doc: an absolute path on this server."""
    kind = CATALOGUE[fault]
    page_of_kind = f"/problems/{fault}"
    return {
        "type": page_of_kind,
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "doc": page_of_kind,
    }


def _headers_of(fault: Fault, kind: Kind) -> dict[str, str]:
    fields = {"Cache-Control": "no-store"}
    if kind.retry_after_seconds is not None:
        fields["Retry-After"] = str(kind.retry_after_seconds)
    if fault is Fault.UNAUTHENTICATED:
        fields["WWW-Authenticate"] = 'Bearer realm="mailer"'  # RFC 9110 §15.5.2: MUST
    elif fault is Fault.FORBIDDEN:
        fields["WWW-Authenticate"] = 'Bearer realm="mailer", error="insufficient_scope"'  # RFC 6750 §3.1
    elif fault is Fault.REQUEST_TIMEOUT:
        fields["Connection"] = "close"  # RFC 9110 §15.5.9
    elif fault is Fault.UNSUPPORTED_MEDIA_TYPE:
        fields["Accept"] = "application/json"  # RFC 9110 §12.5.1: what would be taken instead
        fields["Accept-Encoding"] = "identity"  # RFC 9110 §12.5.3
    return fields


def refusal(scope: Scope, error: SubmissionError) -> Response:
    error.bare()  # who hears of it slowly holds no message meanwhile
    wait = error.retry_after_seconds
    headers = None if wait is None else {"Retry-After": str(wait)}
    return problem(scope, error.fault, error.detail, errors=errors_of(error), headers=headers)


def within(error: SubmissionError) -> dict[str, Any]:
    """The refusal of a part of a request, in an answer about all of it; with what Retry-After says alone."""
    document = described(error.fault, error.detail)
    wait = error.retry_after_seconds or CATALOGUE[error.fault].retry_after_seconds
    if wait is not None:
        document["retry_after_seconds"] = wait
    if errors := errors_of(error):
        document["errors"] = errors
    return document


def errors_of(error: SubmissionError) -> list[dict[str, str]]:
    if error.header is not None:
        at = {"pointer": error.pointer, "header": error.header}
        return [{**{kind: where for kind, where in at.items() if where is not None}, "detail": error.detail}]
    return [{"pointer": pointer, "detail": detail} for pointer, detail in error.errors[:_MOST_ERRORS]]


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, SubmissionError)
    return refusal(request.scope, error)


async def _unavailable(request: Request, error: Exception) -> Response:
    visit_of(request.scope).cause = str(error)
    return problem(request.scope, Fault.UNAVAILABLE, "the database did not answer; try again")


async def _not_valid(request: Request, error: Exception) -> Response:
    """FastAPI's own validation: of path, query and the bodies of the routes that it serves."""
    assert isinstance(error, RequestValidationError)
    found = invalid.judge(error, request.headers.get("content-type", ""))
    return problem(request.scope, found.fault, found.detail, errors=found.errors)


async def _http_error(request: Request, error: Exception) -> Response:
    """What Starlette refuses: no such path, method not allowed, ..."""
    assert isinstance(error, HTTPException)
    fault = _BY_STATUS.get(error.status_code)
    if fault is Fault.METHOD_NOT_ALLOWED:
        # RFC 9110 §15.5.6: all methods of the path, while the framework tells those of its first route.
        allowed = {"Allow": ", ".join(_methods_of(request))}
        return problem(request.scope, fault, _DETAILS[fault], headers=allowed)
    if fault is not None:
        return problem(request.scope, fault, _DETAILS[fault], headers=error.headers)
    # RFC 9457 §4.2.1: about:blank says no more than the status does.
    document = {
        "type": "about:blank",
        "title": HTTPStatus(error.status_code).phrase,
        "status": error.status_code,
        "doc": "/docs",
        "request_id": visit_of(request.scope).request_id,
    }
    return Response(msgspec.json.encode(document), error.status_code, error.headers, MEDIA_TYPE)


def _methods_of(request: Request) -> list[str]:
    routes: Sequence[BaseRoute] = request.app.routes
    return [
        method
        for method in _METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes)
    ]


_DETAILS = {
    Fault.MALFORMED_REQUEST: "the request cannot be read",
    Fault.NOT_FOUND: "there is nothing at this path",
    Fault.METHOD_NOT_ALLOWED: "the path exists but does not take this method",
    Fault.REQUEST_TIMEOUT: "the request body did not arrive in time",
    Fault.REQUEST_TOO_LARGE: "the request body is larger than this server reads",
    Fault.UNSUPPORTED_MEDIA_TYPE: "the request body is not in a format that is taken here",
}


async def _explain(word: str) -> HTMLResponse:
    """What the type URI of a problem leads to, for people."""
    if word not in CATALOGUE:
        raise HTTPException(404)
    kind = CATALOGUE[Fault(word)]
    return page.render(
        "problem.html", word=word, title=kind.title, status=kind.status, advice=kind.advice,
        phrase=HTTPStatus(kind.status).phrase, retry_after_seconds=kind.retry_after_seconds,
    )  # fmt: skip
