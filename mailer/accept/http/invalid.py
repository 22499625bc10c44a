"""What the framework finds wrong with a request, told in our words: where, as a pointer or a parameter.

The words are those of the routes that read their JSON without the framework (wire.py), and the detail of the
whole names the first fault, so that whoever shows no more than that still learns what to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi.exceptions import RequestValidationError

from mailer.accept.http.wire import pointer
from mailer.accept.submission import Fault

_MOST = 20  # listed in one answer
_OURS = "Value error, "  # put by pydantic before a sentence of our own
# Pydantic's words, and Python's for what JSON calls otherwise; a longer one stands before its beginning.
_WORDS = {
    "Input should be": "must be",
    "String should have": "must have",
    "List should have": "must have",
    "String should match pattern": "must match the pattern",
    "a valid dictionary or object to extract fields from": "an object",
    "a valid dictionary": "an object",
    "a valid list": "a list",
    "a valid string": "a string",
    "a valid integer": "a whole number",
    "a valid boolean": "true or false",
    " after validation": "",
}


@dataclass(frozen=True, slots=True)
class Invalid:
    """errors: as a problem document lists them."""

    fault: Fault
    detail: str
    errors: Sequence[Mapping[str, str]]


def judge(error: RequestValidationError, content_type: str) -> Invalid:
    # Where a value may also be left out, the framework adds that it is not null: nobody gave a null.
    faults = [fault for fault in error.errors() if fault["type"] != "none_required"]
    first = faults[0]
    if first["type"] == "json_invalid":
        return Invalid(Fault.MALFORMED_REQUEST, f"the body is not JSON: {first['ctx']['error']}", ())
    if tuple(first["loc"]) == ("body",) and first["type"] != "missing" and not _is_json(content_type):
        return Invalid(Fault.UNSUPPORTED_MEDIA_TYPE, "the body must be application/json", ())
    errors = [_place(fault["loc"]) | {"detail": _detail(fault)} for fault in faults[:_MOST]]
    return Invalid(Fault.INVALID_FIELD, _sentence(first), errors)


def _is_json(content_type: str) -> bool:
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type == "application/json" or media_type.endswith("+json")


def _place(steps: Sequence[str | int]) -> dict[str, str]:
    if steps[0] == "body":
        return {"pointer": _encodable(pointer(*steps[1:]))}
    return {"parameter": _encodable(_name(steps))}


def _name(steps: Sequence[str | int]) -> str:
    """What is wrong, as people say it. Behind a parameter's name stands how it was read."""
    if steps[0] == "body":
        return "/".join(map(str, steps[1:])) or "the body"
    return str(steps[1] if len(steps) > 1 else steps[0])


def _sentence(fault: Mapping[str, Any]) -> str:
    if fault["type"] in {"missing", "extra_forbidden"}:
        return _detail(fault)
    return _encodable(f"{_name(fault['loc'])}: {_detail(fault)}")


def _detail(fault: Mapping[str, Any]) -> str:
    what = "field" if fault["loc"][0] == "body" else "parameter"
    name = str(fault["loc"][-1])
    match fault["type"]:
        case "missing":
            return "the body is missing" if name == "body" else f"a {what} is missing: {name!r}"
        case "extra_forbidden":
            return _encodable(f"there is no {what} {name!r}")
    sentence = str(fault["msg"]).removeprefix(_OURS)
    for theirs, ours in _WORDS.items():
        sentence = sentence.replace(theirs, ours)
    return _encodable(sentence[:1].lower() + sentence[1:])


def _encodable(text: str) -> str:
    """JSON may write half a surrogate pair, which UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode()
