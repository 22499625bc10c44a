"""What the framework finds wrong with a request, told in our words: where, as a pointer or a parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi.exceptions import RequestValidationError

from mailer.accept.http.wire import pointer
from mailer.accept.submission import Fault

_MOST = 20  # listed in one answer
_OURS = "Value error, "  # put by pydantic before a sentence of our own


@dataclass(frozen=True, slots=True)
class Invalid:
    """errors: as a problem document lists them."""

    fault: Fault
    detail: str
    errors: Sequence[Mapping[str, str]]


def judge(error: RequestValidationError, content_type: str) -> Invalid:
    faults = error.errors()
    first = faults[0]
    if first["type"] == "json_invalid":
        return Invalid(Fault.MALFORMED_REQUEST, f"the body is not JSON: {first['ctx']['error']}", ())
    if tuple(first["loc"]) == ("body",) and first["type"] != "missing" and not _is_json(content_type):
        return Invalid(Fault.UNSUPPORTED_MEDIA_TYPE, "the body must be application/json", ())
    what = "field" if first["loc"][0] == "body" else "parameter"
    errors = [_place(fault["loc"]) | {"detail": _detail(fault)} for fault in faults[:_MOST]]
    return Invalid(Fault.INVALID_FIELD, f"a {what} of the request is not valid", errors)


def _is_json(content_type: str) -> bool:
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type == "application/json" or media_type.endswith("+json")


def _place(steps: Sequence[str | int]) -> dict[str, str]:
    if steps[0] == "body":
        return {"pointer": _encodable(pointer(*steps[1:]))}
    return {"parameter": str(steps[1] if len(steps) > 1 else steps[0])}


def _detail(fault: Mapping[str, Any]) -> str:
    sentence = str(fault["msg"]).removeprefix(_OURS)
    return _encodable(sentence[:1].lower() + sentence[1:])


def _encodable(text: str) -> str:
    """JSON may write half a surrogate pair, which UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode()
