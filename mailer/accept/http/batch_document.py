"""The batch route in the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from mailer import ids
from mailer.accept.http.batch import MOST_ITEMS, BatchRecipient

_SCHEMA = "#/components/schemas/{}"
_NOT_SHARED = ("to", "cc", "bcc")


def operation(parameters: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """parameters: those that it shares with the route of a single message."""
    return {
        "tags": ["messages"],
        "summary": "Send many messages",
        "description": (
            f"Accepts up to {MOST_ITEMS} messages: different ones in `messages`, or one `message`, whose "
            "subject, text and html are Liquid templates, for each of `recipients` with data of its own. "
            "Each is accepted or refused for itself, in order; what is accepted is on disk. With an "
            "`Idempotency-Key` the batch may be repeated: what was accepted is replayed, the rest tried."
        ),
        "operationId": "send_batch",
        "parameters": list(parameters),
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"$ref": _SCHEMA.format("Batch")}, "examples": _EXAMPLES}
            },
        },
        "responses": {"200": _ANSWERED},
    }


def schemas() -> dict[str, Any]:
    """Components that no other route has."""
    _, components = msgspec.json.schema_components([BatchRecipient], ref_template=_SCHEMA.format("{name}"))
    return {
        "BatchRecipient": components["BatchRecipient"],
        "BatchMessage": {
            "title": "BatchMessage",
            "description": "A send request without recipients; its words are templates, or it names one.",
            "allOf": [{"$ref": _SCHEMA.format("SendRequest")}],
            "properties": {field: {"type": "null"} for field in _NOT_SHARED},
        },
        **_OWN,
    }


_ANSWERED = {
    "description": "Every message is answered for itself",
    "content": {
        "application/json": {
            "schema": {"$ref": _SCHEMA.format("BatchAnswer")},
            "example": {
                "accepted": 1, "refused": 1,
                "results": [
                    {
                        "id": ids.show("msg", 5), "status": "accepted",
                        "recipients": [{"id": ids.show("rcpt", 6), "address": "ada@example.net"}],
                    },
                    {
                        "status": "refused",
                        "problem": {
                            "type": "/problems/template-failed", "title": "The template cannot be filled",
                            "status": 422,
                            "detail": "the template needs `name` (subject, line 1), missing in the data",
                            "errors": [
                                {
                                    "pointer": "/recipients/1/data/name",
                                    "detail": "`name` is not in the data (subject, line 1)",
                                }
                            ],
                        },
                    },
                ],
            },
        }
    },
}  # fmt: skip
_EXAMPLES = {
    "one message": {
        "summary": "One message, filled for each recipient",
        "value": {
            "message": {
                "from": "Shop <shop@example.org>", "subject": "{{ name }}, your order {{ order }}",
                "text": "Dear {{ name }},\n\nyour order {{ order }} ships tomorrow.\n",
            },
            "recipients": [
                {"to": "ada@example.net", "data": {"name": "Ada", "order": 4711}},
                {"to": "bob@example.net", "data": {"name": "Bob", "order": 4712}, "tags": ["large"]},
            ],
        },
    },
    "different messages": {
        "summary": "Messages that differ in everything",
        "value": {
            "messages": [
                {"from": "shop@example.org", "to": "ada@example.net", "subject": "Hello", "text": "Hello."},
                {"from": "shop@example.org", "to": "bob@example.net", "subject": "Bye", "text": "Bye."},
            ]
        },
    },
}  # fmt: skip
_ONE_OF_THE_OTHER = {"anyOf": [{"required": ["message"]}, {"required": ["recipients"]}]}
_OWN: Mapping[str, Any] = {
    "Batch": {
        "title": "Batch", "type": "object", "additionalProperties": False,
        "properties": {
            "messages": {
                "type": "array", "minItems": 1, "maxItems": MOST_ITEMS,
                "items": {"$ref": _SCHEMA.format("SendRequest")},
                "description": "Messages that differ in everything",
            },
            "message": {"$ref": _SCHEMA.format("BatchMessage"), "description": "What all recipients get"},
            "recipients": {
                "type": "array", "minItems": 1, "maxItems": MOST_ITEMS,
                "items": {"$ref": _SCHEMA.format("BatchRecipient")},
                "description": "Who gets it, each a message of their own",
            },
        },
        "oneOf": [
            {"required": ["messages"], "not": _ONE_OF_THE_OTHER},
            {"required": ["message", "recipients"], "not": {"required": ["messages"]}},
        ],
    },
    "BatchAnswer": {
        "title": "BatchAnswer", "type": "object", "required": ["accepted", "refused", "results"],
        "properties": {
            "accepted": {"type": "integer"},
            "refused": {"type": "integer"},
            "results": {
                "type": "array", "description": "In the order of the request",
                "items": {
                    "oneOf": [
                        {"$ref": _SCHEMA.format("AcceptedItem")}, {"$ref": _SCHEMA.format("RefusedItem")},
                    ]
                },
            },
        },
    },
    "AcceptedItem": {
        "title": "AcceptedItem", "allOf": [{"$ref": _SCHEMA.format("Accepted")}],
        "properties": {
            "replayed": {"const": True, "description": "It was accepted before, with this Idempotency-Key"}
        },
    },
    "RefusedItem": {
        "title": "RefusedItem", "type": "object", "required": ["status", "problem"],
        "properties": {
            "status": {"const": "refused"},
            "problem": {"$ref": _SCHEMA.format("ItemProblem")},
        },
    },
    "ItemProblem": {
        "title": "ItemProblem", "type": "object",
        "description": "Problem details (RFC 9457); pointers lead into the whole request",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {"type": "string", "format": "uri-reference"},
            "title": {"type": "string"},
            "status": {"type": "integer", "description": "What the message would be answered with alone"},
            "detail": {"type": "string"},
            "retry_after_seconds": {
                "type": "integer", "description": "When it may be sent again; absent: as it is, never"
            },
            "errors": {"type": "array", "items": {"$ref": _SCHEMA.format("ProblemError")}},
        },
    },
}  # fmt: skip
