"""The OpenAPI document as a page for people."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi.responses import HTMLResponse

from mailer.accept.http import page
from mailer.accept.http.catalogue import CATALOGUE

_REFERENCE = "#/components/schemas/"


@dataclass(frozen=True, slots=True)
class Field:
    """place: path, query, header or body."""

    name: str
    place: str
    type: str
    required: bool
    meaning: str


@dataclass(frozen=True, slots=True)
class Answer:
    status: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Operation:
    """example: a command to paste; None for what a browser can open."""

    method: str
    path: str
    summary: str
    description: str
    needs_key: bool
    fields: tuple[Field, ...]
    answers: tuple[Answer, ...]
    example: str | None

    @property
    def anchor(self) -> str:
        return f"{self.method}{self.path}".lower().replace("/", "-").replace("{", "").replace("}", "")


_JSON = "application/json"


def render(document: Mapping[str, Any], base_url: str) -> HTMLResponse:
    """base_url: where the reader reached this server, without a slash at its end."""
    return page.render(
        "docs.html", info=document["info"], operations=list(_operations(document, base_url)),
        problems=sorted(CATALOGUE.items()),
    )  # fmt: skip


def _operations(document: Mapping[str, Any], base_url: str) -> Iterator[Operation]:
    schemas = document["components"]["schemas"]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield Operation(
                method=method.upper(),
                path=path,
                summary=operation["summary"],
                description=operation.get("description", ""),
                needs_key=bool(operation["security"]),
                fields=tuple(_fields(operation, schemas)),
                answers=tuple(Answer(s, r["description"]) for s, r in operation["responses"].items()),
                example=_example(base_url, path, method, operation, schemas),
            )


def _fields(operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[Field]:
    for p in operation.get("parameters", ()):
        meaning = p.get("description") or p["schema"].get("description", "")
        yield Field(p["name"], p["in"], _type(p["schema"]), p["required"], meaning)
    body = operation.get("requestBody")
    if body is not None and _JSON in body["content"]:
        shape = _shape(body["content"][_JSON]["schema"], schemas)
        for name, schema in shape["properties"].items():
            required = name in shape.get("required", ())
            yield Field(name, "body", _type(schema), required, _meaning(schema))


def _shape(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Mapping[str, Any]:
    """The object that a body is meant to be: the first of the choices that is one, where there are some."""
    while "$ref" not in schema:
        schema = next(choice for choice in schema["anyOf"] if "$ref" in choice or "anyOf" in choice)
    found: Mapping[str, Any] = schemas[schema["$ref"].removeprefix(_REFERENCE)]
    return found


def _type(schema: Mapping[str, Any]) -> str:
    """In a few words: "string or Address or array of ..."."""
    if "$ref" in schema:
        return str(schema["$ref"]).removeprefix(_REFERENCE)
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(choice) for choice in schema["anyOf"]))
    if schema.get("type") == "array":
        return f"array of ({_type(schema['items'])})"
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    return str(schema.get("type", "any"))


def _meaning(schema: Mapping[str, Any]) -> str:
    if "description" in schema:
        return str(schema["description"])
    return next((str(c["description"]) for c in schema.get("anyOf", ()) if "description" in c), "")


def _example(
    base_url: str, path: str, method: str, operation: Mapping[str, Any], schemas: Mapping[str, Any]
) -> str | None:
    if not operation["security"]:
        return None
    lines = [f"curl {shlex.quote(base_url + path)}", '-H "Authorization: Bearer $MAILER_API_KEY"']
    body = operation.get("requestBody")
    # curl takes a body for a POST, and none for a GET.
    if method != ("get" if body is None else "post"):
        lines.insert(1, f"-X {method.upper()}")
    if body is not None and _JSON in body["content"]:
        value = _sample(body, schemas)
        lines += ["-H 'Content-Type: application/json'", f"-d {shlex.quote(json.dumps(value, indent=2))}"]
    elif body is not None:
        lines += [f"-H 'Content-Type: {next(iter(body['content']))}'", "--data-binary @FILE"]
    return " \\\n  ".join(lines)


def _sample(body: Mapping[str, Any], schemas: Mapping[str, Any]) -> Any:
    """The first example of the body, or of its shape; nothing where neither has one."""
    examples = body["content"][_JSON].get("examples")
    if examples:
        return next(iter(examples.values()))["value"]
    return next(iter(_shape(body["content"][_JSON]["schema"], schemas).get("examples", ())), {})
