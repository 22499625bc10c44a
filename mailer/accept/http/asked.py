"""What callers ask of the framework's routes: types of their values, and refusals with a place in them.

Everything is taken as JSON and the query say it: no number out of text, no instant out of a number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any, get_origin

from fastapi import Path
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic.json_schema import SkipJsonSchema

from mailer import ids
from mailer.accept.credentials import Identity
from mailer.accept.http import cursors
from mailer.accept.http.shapes import id_pattern
from mailer.accept.http.wire import pointer
from mailer.accept.submission import Fault, SubmissionError
from mailer.compose.control import read_instant
from mailer.identity.asking import Asker
from mailer.identity.names import (
    BadName,
    IdentityError,
    Limited,
    NameTaken,
    NotAllowed,
    NotNow,
    TooMany,
    Unknown,
)


class Asked(BaseModel):
    """A request's body or query. What it does not know is an error: a typing error would be ignored else."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def once(*queries: type[BaseModel]) -> frozenset[str]:
    """Names of their parameters that may be given once; a list may be repeated."""
    return frozenset(
        known.alias or name
        for query in queries
        for name, known in query.model_fields.items()
        if get_origin(known.annotation) is not list
    )


def _digits_only(value: object) -> object:
    """Refuses what Python reads as a number all the same: `0.0`, `+1`, ` 1`, `1_000`."""
    if isinstance(value, str) and not (value.isascii() and value.isdigit()):
        raise ValueError("must be a whole number in decimal digits")
    return value


def _instant(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("must be text")
    return read_instant(value)


# A parameter that is not given is None, and cannot be given as null: the document does not offer it.
NotGiven = SkipJsonSchema[None]
Digits = Annotated[int, BeforeValidator(_digits_only)]
# RFC 3339 §5.6; pydantic alone also takes seconds since 1970, and days without a time.
Instant = Annotated[
    datetime,
    BeforeValidator(_instant),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-03-09T14:30:00Z"]}),
]


def left_out(description: str | None = None) -> Any:
    """Of a member that need not be there, and cannot be null. Unlike with NotGiven, what is wrong with it has
    the member itself as its place."""
    return Field(default_factory=lambda: None, description=description)


def id_path(kind: str, what: str) -> Any:
    """Of an id in a path. A malformed one is 404 like an unknown one: the pattern is told, not enforced."""
    return Path(description=f"Id of {what}", json_schema_extra={"pattern": id_pattern(kind)})


def number_of(kind: str, text: str, *, what: str) -> int:
    """The id in a path. Raises SubmissionError (NOT_FOUND): malformed is as good as unknown."""
    try:
        return ids.parse(kind, text)
    except ids.MalformedId:
        raise SubmissionError(Fault.NOT_FOUND, f"this tenant has no such {what}") from None


def position_of(cursor: str | None, question: str) -> int | None:
    """Where a page begins; None: with the list. Raises RequestValidationError, as the framework does."""
    if cursor is None:
        return None
    try:
        return cursors.position(cursor, question)
    except cursors.BadCursor as error:
        raise refused("cursor", str(error)) from None


def refused(parameter: str, sentence: str) -> RequestValidationError:
    """As the framework refuses a parameter. sentence: goes on after its name."""
    return RequestValidationError([{"type": "value_error", "loc": ("query", parameter), "msg": sentence}])


_FAULTS: Mapping[type[IdentityError], Fault] = {
    BadName: Fault.INVALID_FIELD,
    NameTaken: Fault.NAME_TAKEN,
    NotAllowed: Fault.FORBIDDEN,
    Limited: Fault.KEY_LIMITED,
    NotNow: Fault.CONFLICT,
    TooMany: Fault.LIMIT_REACHED,
    Unknown: Fault.NOT_FOUND,
}


def asker(identity: Identity) -> Asker:
    return Asker(identity.tenant_id, identity.key_id)


@contextmanager
def refusals() -> Iterator[None]:
    """What identity refuses, as a refused request."""
    try:
        yield
    except IdentityError as error:
        at = pointer(*error.at) if error.at else None
        raise SubmissionError(_FAULTS[type(error)], str(error), pointer=at) from None


def examples(**values: Mapping[str, Any]) -> dict[str, Any]:
    """For `Body(openapi_examples=...)`: the documentation page shows the first."""
    return {name: {"value": dict(value)} for name, value in values.items()}
