"""Operations of the API document beside the send route's: a whole message, and a dry run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from mailer.accept.http import letter, raw, validating
from mailer.accept.http.letter import RawRequest

_SCHEMA = "#/components/schemas/{}"
_LETTER = (
    "From: Shop <shop@example.org>\r\nTo: Ada <ada@example.net>\r\nSubject: Your order 4711\r\n"
    "X-Mailer-Tags: order\r\n\r\nThank you.\r\n"
)


def paths(send_operation: Mapping[str, Any]) -> dict[str, Any]:
    """send_operation: of the send route, whose request and answer these share."""
    return {
        raw.PATH: {"post": _raw_operation(send_operation)},
        validating.PATH: {"post": _validate_operation(send_operation)},
    }


def schemas() -> dict[str, Any]:
    _, components = msgspec.json.schema_components([RawRequest], ref_template="#/components/schemas/{name}")
    return {**components, **_SCHEMAS}


def _raw_operation(send_operation: Mapping[str, Any]) -> dict[str, Any]:
    example = {
        "message": "RnJvbTogc2hvcEBleGFtcGxlLm9yZw0KDQpIaSENCg==", "mail_from": "shop@example.org",
        "rcpt_to": ["ada@example.net"],
    }  # fmt: skip
    return {
        "tags": ["messages"],
        "summary": "Send a whole message",
        "description": (
            "Accepts a message as it is written (RFC 5322) and sends it octet for octet, as the SMTP door "
            "does: Received is added, Date and Message-ID if they are missing; Bcc, Return-Path and the "
            "X-Mailer-* fields are taken out, which say what the members of a send request say. Without an "
            "envelope the recipients are those of To, Cc and Bcc."
        ),
        "operationId": "send_raw_message",
        "parameters": [
            *send_operation["parameters"],
            _header(letter.MAIL_FROM, "Reverse-path; empty for none. With message/rfc822 only"),
            _header(letter.RCPT_TO, "Recipients between commas; may repeat. With message/rfc822 only"),
        ],
        "requestBody": {
            "required": True,
            "content": {
                "message/rfc822": {
                    "schema": {"type": "string", "format": "message"},
                    "examples": {"simple": {"value": _LETTER}},
                },
                "application/json": {
                    "schema": {"$ref": _SCHEMA.format("RawRequest")},
                    "examples": {"simple": {"value": example}},
                },
            },
        },
        "responses": {"202": send_operation["responses"]["202"]},
    }  # fmt: skip


def _header(name: str, meaning: str) -> dict[str, Any]:
    return {
        "name": name, "in": "header", "required": False, "description": meaning,
        "schema": {"type": "string", "format": "mailbox"},
    }  # fmt: skip


def _validate_operation(send_operation: Mapping[str, Any]) -> dict[str, Any]:
    content = send_operation["requestBody"]["content"]["application/json"]
    # Meant to be a send request; what is not is what one wants to hear of.
    anything = {"anyOf": [content["schema"], {"type": "object"}]}
    return {
        "tags": ["messages"],
        "summary": "Try a message out",
        "description": (
            "Takes what the send route takes, and goes its way up to the point where it would be written: "
            "says all that is wrong, what receivers dislike, and what would be sent. Nothing is stored."
        ),
        "operationId": "validate_message",
        "requestBody": {"required": True, "content": {"application/json": {**content, "schema": anything}}},
        "responses": {
            "200": {
                "description": "What would become of the message",
                "content": {"application/json": {"schema": {"$ref": _SCHEMA.format("Finding")}}},
            }
        },
    }


def _object(required: str, **properties: Mapping[str, Any]) -> dict[str, Any]:
    """required: words; "*" for all."""
    return {
        "type": "object", "required": list(properties) if required == "*" else required.split(),
        "properties": properties,
    }  # fmt: skip


_TEXT: Mapping[str, Any] = {"type": "string"}
_TEXTS: Mapping[str, Any] = {"type": "array", "items": _TEXT}
_OCTETS: Mapping[str, Any] = {"type": "integer", "description": "As sent"}
_AT: Mapping[str, Any] = {"type": ["string", "null"], "format": "date-time"}
_POINTER: Mapping[str, Any] = {"type": "string", "description": "JSON pointer into the request (RFC 6901)"}
_SCHEMAS: Mapping[str, Any] = {
    "Finding": _object(
        "*",
        valid={"type": "boolean", "description": "It would be accepted"},
        problems={"type": "array", "items": {"$ref": _SCHEMA.format("FoundProblem")}},
        warnings={"type": "array", "items": {"$ref": _SCHEMA.format("Warning")}},
        message={
            "anyOf": [{"$ref": _SCHEMA.format("ForeseenMessage")}, {"type": "null"}],
            "description": "What would be sent; null if nothing would",
        },
    ),
    "FoundProblem": _object(
        "type title status detail doc",
        type={"type": "string", "format": "uri-reference"}, title=_TEXT, status={"type": "integer"},
        detail=_TEXT, pointer=_POINTER, doc={"type": "string", "format": "uri-reference"},
    ),
    "Warning": _object(
        "warning detail",
        warning={"type": "string", "description": "A stable word"}, detail=_TEXT, pointer=_POINTER,
    ),
    "ForeseenMessage": _object(
        "*",
        **{"from": _TEXT},
        recipients={
            "type": "array",
            "items": _object("*", address=_TEXT, kind={"enum": ["to", "cc", "bcc"]}, domain=_TEXT),
        },
        stream=_TEXT, subject=_TEXT, tags=_TEXTS,
        metadata={"type": "object", "additionalProperties": _TEXT},
        size_bytes=_OCTETS,
        headers={"type": "string", "description": "As they would be, but for date, ids and signatures"},
        parts={
            "type": "array",
            "items": _object(
                "content_type encoding size_bytes",
                content_type=_TEXT, encoding={"enum": ["7bit", "quoted-printable", "base64"]},
                size_bytes=_OCTETS, filename=_TEXT, disposition={"enum": ["attachment", "inline"]},
                content_id=_TEXT,
            ),
        },
        dkim=_object("*", domain=_TEXT, selectors=_TEXTS),
        due_at={**_AT, "description": "null: at once"},
        expires_at={**_AT, "description": "null: when the retries of the stream end"},
    ),
}  # fmt: skip
