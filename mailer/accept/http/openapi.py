"""The OpenAPI 3.1 document: what FastAPI knows, the send route's own schema, and every refusal."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from mailer import ids
from mailer.accept.http import batch_document, batching, operations, problems, raw, sending, validating, wire
from mailer.accept.http.catalogue import CATALOGUE
from mailer.accept.http.shapes import id_pattern
from mailer.accept.submission import Fault

DESCRIPTION = (
    "Send messages and see what became of them. A 202 means that the message is on disk: it will be "
    "delivered, or its events say why not."
)
_HTTP_METHODS = ("get", "post", "put", "patch", "delete")
_KEY_NAME = "api_key"
_OF_EVERY_KEYED_ROUTE = (Fault.UNAUTHENTICATED, Fault.FORBIDDEN, Fault.UNAVAILABLE, Fault.INTERNAL)
_OF_A_BODY = (
    Fault.MALFORMED_REQUEST, Fault.INVALID_FIELD, Fault.REQUEST_TOO_LARGE, Fault.UNSUPPORTED_MEDIA_TYPE,
)  # fmt: skip
_OF_MANAGING = (Fault.KEY_LIMITED, Fault.NAME_TAKEN, Fault.CONFLICT, Fault.LIMIT_REACHED)
_NOT_OF_SENDING = (
    Fault.NOT_FOUND, Fault.NOTHING_CAME, Fault.METHOD_NOT_ALLOWED, Fault.NAME_TAKEN, Fault.CONFLICT,
    Fault.LIMIT_REACHED, Fault.TOO_MANY_REPORTS,
)  # fmt: skip
_OF_SENDING = tuple(fault for fault in Fault if fault not in _NOT_OF_SENDING)
# Key of `openapi_extra`: the faults of a route beside those that its path tells.
FAULTS = "x-faults"
_OF_TRYING_OUT = (
    Fault.MALFORMED_REQUEST, Fault.INVALID_FIELD, Fault.TENANT_SUSPENDED, Fault.REQUEST_TOO_LARGE,
    Fault.REQUEST_TIMEOUT, Fault.UNSUPPORTED_MEDIA_TYPE, Fault.BUSY, *_OF_EVERY_KEYED_ROUTE,
)  # fmt: skip
_SCHEMA = "#/components/schemas/{}"


def document(app: FastAPI) -> dict[str, Any]:
    """Made anew at each call; the caller keeps it."""
    made = get_openapi(
        title=app.title, version=app.version, openapi_version="3.1.0", description=app.description,
        routes=app.routes, license_info={"name": "EUPL-1.2", "identifier": "EUPL-1.2"},
    )  # fmt: skip
    reference, schemas = wire.schema()
    components = made.setdefault("components", {})
    # FastAPI describes its own form of a validation error, which is never answered here.
    kept = {n: s for n, s in components.get("schemas", {}).items() if "ValidationError" not in n}
    components["schemas"] = {
        **kept, **schemas, **operations.schemas(), **batch_document.schemas(), **_OWN_SCHEMAS,
    }  # fmt: skip
    components["securitySchemes"] = {
        _KEY_NAME: {
            "type": "http", "scheme": "bearer", "bearerFormat": "mk_...",
            "description": "An API key of the installation; `mailer key create` makes one.",
        }
    }  # fmt: skip
    send_operation = _send_operation(reference)
    made["paths"] = {
        sending.PATH: {"post": send_operation, **made["paths"].pop(sending.PATH)},
        batching.PATH: {"post": batch_document.operation([IDEMPOTENCY_KEY])},
        **operations.paths(send_operation),
        **made["paths"],
    }
    for path, methods in made["paths"].items():
        for method in _HTTP_METHODS:
            if method in methods:
                _complete(path, method, methods[method])
    return made


def _complete(path: str, method: str, operation: dict[str, Any]) -> None:
    """Security, request id and problems, the same way for every operation."""
    responses = operation["responses"]
    if path.startswith("/v1/"):
        operation["security"] = [{_KEY_NAME: []}]
        faults = [*_faults_of(path, method, operation), *operation.pop(FAULTS, ())]
        responses.pop("422", None)
        responses.update(_problem_responses(faults))
    else:
        operation["security"] = []
        responses.update(_problem_responses((Fault.INTERNAL,)))
    if "201" in responses:
        responses["201"]["headers"] = {"Location": _header("Where to look at it", {"type": "string"})}
    for response in responses.values():
        response.setdefault("headers", {})["X-Request-Id"] = _header(
            "Names the request in the server's log", {"type": "string"}
        )


def _faults_of(path: str, method: str, operation: Mapping[str, Any]) -> Collection[Fault]:
    if method == "post" and path in (sending.PATH, batching.PATH, raw.PATH):
        return _OF_SENDING
    if path == validating.PATH:
        return _OF_TRYING_OUT
    faults = [*_OF_EVERY_KEYED_ROUTE]
    if any(parameter["in"] == "query" for parameter in operation.get("parameters", ())):
        faults.append(Fault.INVALID_FIELD)
    if path.startswith("/v1/templates"):
        faults.append(Fault.TEMPLATE_FAILED)
    if "{" in path:
        faults.append(Fault.NOT_FOUND)
    if "requestBody" in operation:
        faults += _OF_A_BODY
    if method != "get":
        faults.append(Fault.TENANT_SUSPENDED)
        faults += _OF_MANAGING
        # What failed is accepted anew by a retry.
        faults += (Fault.FROM_NOT_ALLOWED, Fault.STREAM_ARCHIVED) if path.endswith("/retry") else ()
    return faults


def _problem_responses(faults: Collection[Fault]) -> dict[str, Any]:
    by_status: dict[int, list[Fault]] = {}
    for fault in faults:
        by_status.setdefault(CATALOGUE[fault].status, []).append(fault)
    return {str(status): _problem_response(status, those) for status, those in sorted(by_status.items())}


def _problem_response(status: int, faults: list[Fault]) -> dict[str, Any]:
    examples = {str(fault): {"value": _example_problem(fault)} for fault in faults}
    headers = {}
    if any(CATALOGUE[fault].retry_after_seconds is not None for fault in faults):
        headers["Retry-After"] = _header("Seconds to wait", {"type": "integer"})
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        headers["WWW-Authenticate"] = _header("Which credential is wanted", {"type": "string"})
        headers["WWW-Authenticate"]["required"] = status == HTTPStatus.UNAUTHORIZED
    return {
        "description": "; ".join(CATALOGUE[fault].title for fault in faults),
        "headers": headers,
        "content": {
            problems.MEDIA_TYPE: {"schema": {"$ref": _SCHEMA.format("Problem")}, "examples": examples}
        },
    }


def _example_problem(fault: Fault) -> Mapping[str, Any]:
    told = problems.described(fault, "a sentence about this occurrence")
    return {**told, "request_id": "5f2b8c1d90ae-1c"}


def _header(meaning: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"description": meaning, "schema": dict(schema)}


def _send_operation(reference: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "tags": ["messages"],
        "summary": "Send a message",
        "description": (
            "Accepts one message for one or more recipients; answered when it is on disk. With an "
            "`Idempotency-Key` the request may be repeated safely: the repeat gets the first answer."
        ),
        "operationId": "send_message",
        "parameters": [IDEMPOTENCY_KEY],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": dict(reference), "examples": _EXAMPLES}},
        },
        "responses": {"202": _ACCEPTED},
    }  # fmt: skip


IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key", "in": "header", "required": False,
    "description": "Stands for this very body; remembered for a day unless configured otherwise",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    "example": "order-4711-confirmation",
}  # fmt: skip
_EXAMPLES = {
    "simple": {
        "summary": "A text to one recipient",
        "value": {
            "from": "Shop <shop@example.org>", "to": "ada@example.net",
            "subject": "Your order 4711", "text": "Thank you. It ships tomorrow.",
        },
    },
    "template": {
        "summary": "A stored template, filled",
        "value": {
            "from": "Shop <shop@example.org>", "to": "ada@example.net",
            "template": {"name": "order-shipped", "data": {"name": "Ada", "order": {"number": 4711}}},
        },
    },
    "full": {
        "summary": "Everything at once",
        "value": {
            "from": {"address": "shop@example.org", "name": "Shop"},
            "to": ["Ada <ada@example.net>", {"address": "bob@example.net", "name": "Bob"}],
            "cc": "office@example.net", "bcc": ["archive@example.org"], "reply_to": "help@example.org",
            "subject": "Your order 4711", "text": "Thank you.", "html": "<p>Thank you.</p>",
            "headers": {"X-Order": "4711"}, "tags": ["order", "confirmation"],
            "metadata": {"order": "4711"}, "stream": "transactional",
            "send_at": "2026-12-01T06:00:00Z", "expires_at": "2026-12-02T06:00:00Z",
        },
    },
}  # fmt: skip
_ACCEPTED = {
    "description": "Accepted: the message is on disk",
    "headers": {
        "Location": _header("Where to look at the message", {"type": "string"}),
        "Idempotent-Replayed": _header(
            "`true` if an earlier request with this Idempotency-Key was accepted", {"const": "true"}
        ),
    },
    "content": {
        "application/json": {
            "schema": {"$ref": _SCHEMA.format("Accepted")},
            "example": {
                "id": ids.show("msg", 5), "status": "accepted",
                "recipients": [{"id": ids.show("rcpt", 6), "address": "ada@example.net"}],
            },
        }
    },
}  # fmt: skip
_OWN_SCHEMAS: Mapping[str, Any] = {
    "Accepted": {
        "title": "Accepted", "type": "object", "required": ["id", "status", "recipients"],
        "properties": {
            "id": {"type": "string", "pattern": id_pattern("msg")},
            "status": {"const": "accepted"},
            "recipients": {"type": "array", "items": {"$ref": _SCHEMA.format("AcceptedRecipient")}},
        },
    },
    "AcceptedRecipient": {
        "title": "AcceptedRecipient", "type": "object", "required": ["id", "address"],
        "properties": {
            "id": {"type": "string", "pattern": id_pattern("rcpt")},
            "address": {"type": "string", "description": "As it goes on the wire"},
        },
    },
    "Problem": {
        "title": "Problem", "type": "object", "description": "Problem details (RFC 9457)",
        "required": ["type", "title", "status", "doc", "request_id"],
        "properties": {
            "type": {"type": "string", "format": "uri-reference", "description": "Stable; can be looked up"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "About this occurrence"},
            "doc": {
                "type": "string", "format": "uri-reference",
                "description": "Page that says what it means and what to do",
            },
            "request_id": {"type": "string"},
            "errors": {"type": "array", "items": {"$ref": _SCHEMA.format("ProblemError")}},
        },
    },
    "ProblemError": {
        "title": "ProblemError", "type": "object", "required": ["detail"],
        "properties": {
            "pointer": {"type": "string", "description": "JSON pointer into the request body (RFC 6901)"},
            "header": {"type": "string", "description": "Name of a header field, of request or message"},
            "parameter": {"type": "string", "description": "Name of a path or query parameter"},
            "detail": {"type": "string"},
        },
    },
}  # fmt: skip
