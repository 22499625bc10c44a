"""An attachment in the JSON of a request. Its content is left where it lies; base64text.py reads it there."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from mailer.compose.attachments import CONTENT_ID_CHARS, FILENAME_CHARS


class Attachment(Struct, frozen=True, forbid_unknown_fields=True):
    """A file that travels with the message."""

    filename: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=FILENAME_CHARS,
            description="As people read it, in any language",
            extra_json_schema={"format": "file-name"},
        ),
    ]
    content: Annotated[
        msgspec.Raw,
        Meta(
            description="Its octets in base64 or base64url, in one line or many, padded or not",
            extra_json_schema={"type": "string", "contentEncoding": "base64", "format": "base64"},
        ),
    ]
    content_type: (
        Annotated[
            str,
            Meta(
                max_length=255,
                description="Media type, parameters included; without it the file's name tells",
                extra_json_schema={"format": "media-type"},
                examples=["application/pdf"],
            ),
        ]
        | None
    ) = None
    content_id: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=CONTENT_ID_CHARS + 2,
                description='What `html` shows it by: `logo` for `<img src="cid:logo">`',
                extra_json_schema={"format": "content-id"},
                examples=["logo"],
            ),
        ]
        | None
    ) = None
    disposition: (
        Annotated[
            Literal["attachment", "inline"], Meta(description="`inline` with a content id, else `attachment`")
        ]
        | None
    ) = None
