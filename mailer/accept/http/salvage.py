"""What can be read of a send request that is not one: each field by itself, and every fault by its place."""

from __future__ import annotations

from typing import Any

import msgspec

from mailer.accept.http.complaints import Complaints
from mailer.accept.http.wire import SendRequest, decode_by, pointer
from mailer.accept.submission import Fault, SubmissionError

_FIELDS = {field.encode_name: field for field in msgspec.structs.fields(SendRequest)}
_DECODERS = {name: msgspec.json.Decoder(field.type) for name, field in _FIELDS.items()}
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_NOBODY = "nobody@invalid.invalid"  # RFC 2606 §2: for a From that was complained about


def salvage(raw: bytes | bytearray, complaints: Complaints) -> SendRequest:
    """The request without the fields that cannot be read; what is wrong with them is complained about.

    Raises SubmissionError where nothing can be read.
    """
    values: dict[str, Any] = {"from_": _NOBODY}
    members = decode_by(_OBJECT, raw)
    for name, value in members.items():
        field = _FIELDS.get(name)
        if field is None:
            complaints.leave_out(_fault(f"there is no field {name[:60]!r}", name))
            continue
        try:
            values[field.name] = decode_by(_DECODERS[name], value)
        except SubmissionError as error:
            for found in [*_of_elements(name, value), _below(error, name)]:
                complaints.leave_out(found)
    for name, field in _FIELDS.items():
        if field.required and name not in members:
            complaints.leave_out(_fault(f"a field is missing: {name!r}", name))
    return SendRequest(**values)


def _of_elements(name: str, value: msgspec.Raw) -> list[SubmissionError]:
    """Of a list, the faults of each element, by decoding it in a list of its own."""
    try:
        elements = decode_by(_LIST, value)
    except SubmissionError:
        return []
    found = []
    for index, element in enumerate(elements):
        try:
            decode_by(_DECODERS[name], b"[%b]" % bytes(element))
        except SubmissionError as error:
            below = (error.pointer or "").removeprefix("/0")
            found.append(SubmissionError(error.fault, error.detail, pointer=pointer(name, index) + below))
    return found


def _below(error: SubmissionError, name: str) -> SubmissionError:
    return SubmissionError(error.fault, error.detail, pointer=pointer(name) + (error.pointer or ""))


def _fault(detail: str, name: str) -> SubmissionError:
    return SubmissionError(Fault.INVALID_FIELD, detail, pointer=pointer(name))
