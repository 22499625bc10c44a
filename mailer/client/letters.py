"""What a caller says of a message: keyword arguments, typed, and the JSON that they become."""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Required, TypedDict


class Address(TypedDict, total=False):
    """A mailbox in two parts."""

    address: Required[str]
    name: str


AnyAddress = str | Address
Addresses = AnyAddress | Sequence[AnyAddress]


class Attachment(TypedDict, total=False):
    """A file sent along; `attachment` and `inline` make one. content: base64."""

    filename: Required[str]
    content: Required[str]
    content_type: str
    content_id: str
    disposition: str


class TemplateUse(TypedDict, total=False):
    """A stored template with the data of this message: its name or its id; version: the published one."""

    name: str
    id: str
    version: int
    data: Mapping[str, Any]


class Letter(TypedDict, total=False):
    """A message, as `POST /v1/messages` takes it; `from_` is its `from`."""

    from_: Required[AnyAddress]
    to: Addresses
    cc: Addresses
    bcc: Addresses
    reply_to: Addresses
    subject: str
    text: str
    html: str
    template: TemplateUse
    inline_css: bool
    auto_text: bool
    headers: Mapping[str, str]
    attachments: Sequence[Attachment]
    tags: Sequence[str]
    metadata: Mapping[str, str]
    stream: str
    unsubscribe: bool
    tls: str
    send_at: datetime
    expires_at: datetime


class BatchRecipient(TypedDict, total=False):
    """Who gets a message of a batch, and with what data its templates are filled."""

    to: Required[AnyAddress]
    data: Mapping[str, Any]
    tags: Sequence[str]
    metadata: Mapping[str, str]


class Words(TypedDict, total=False):
    """A version of a template, in Liquid: a text, an html, or both."""

    subject: Required[str]
    text: str
    html: str
    publish: bool


def attachment(
    source: str | Path | bytes, *, filename: str | None = None, content_type: str | None = None
) -> Attachment:
    """A file by its path, or octets with a file name. Raises OSError, ValueError (octets without a name)."""
    if isinstance(source, bytes):
        if filename is None:
            raise ValueError("octets need a filename")
        content = source
    else:
        content = Path(source).read_bytes()
        filename = filename or Path(source).name
    kind = content_type or mimetypes.guess_type(filename)[0] or "application/octet-stream"
    return Attachment(filename=filename, content=base64.b64encode(content).decode("ascii"), content_type=kind)


def inline(
    source: str | Path | bytes,
    content_id: str,
    *,
    filename: str | None = None,
    content_type: str | None = None,
) -> Attachment:
    """The same for what the HTML shows as `cid:content_id`."""
    made = attachment(source, filename=filename, content_type=content_type)
    return made | Attachment(
        filename=made["filename"], content=made["content"], content_id=content_id, disposition="inline"
    )


def as_request(letter: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON object of a letter. What is None was not said."""
    return {name.rstrip("_"): value for name, value in letter.items() if value is not None}
