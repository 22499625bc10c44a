"""The body of a one-click POST (RFC 8058 §3.2): urlencoded or multipart/form-data, from whatever program."""

from __future__ import annotations

from email import message_from_bytes, policy
from email.message import Message
from urllib.parse import parse_qsl

ONE_CLICK_FIELD = "list-unsubscribe"
_MOST_FIELDS = 20


def fields_of(body: bytes, content_type: str) -> dict[str, str]:
    """The first value of each field, names in lower case; empty for what cannot be read. Never raises.

    body  as small as its caller took it

    A body without a type, or of one that is no form, is read as urlencoded: programs post the one line that
    RFC 8058 shows, and name it as they like. The link is the proof, and this line the wish.
    """
    kind = content_type.partition(";")[0].strip().lower()
    pairs = _multipart(body, content_type) if kind == "multipart/form-data" else _urlencoded(body)
    found: dict[str, str] = {}
    for name, value in pairs:
        found.setdefault(name.strip().lower(), value.strip())
    return found


def _urlencoded(body: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(body.decode("latin-1").strip(), max_num_fields=_MOST_FIELDS)
    except ValueError:
        return []


def _multipart(body: bytes, content_type: str) -> list[tuple[str, str]]:
    """RFC 7578 §4.2: the name of a field is a parameter of its Content-Disposition."""
    if "\r" in content_type or "\n" in content_type:
        return []
    head = f"Content-Type: {content_type}\r\n\r\n".encode("latin-1", "replace")
    whole = message_from_bytes(head + body, policy=policy.compat32)
    parts = whole.get_payload()
    if not isinstance(parts, list):
        return []
    return [(_name(part), _value(part)) for part in parts[:_MOST_FIELDS] if isinstance(part, Message)]


def _name(part: Message) -> str:
    name = part.get_param("name", "", header="content-disposition")
    return name if isinstance(name, str) else ""


def _value(part: Message) -> str:
    payload = part.get_payload()
    return payload if isinstance(payload, str) else ""
