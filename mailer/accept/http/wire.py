"""The JSON of a send request: its shape, and where in it a fault lies."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct, field

from mailer.accept.http.enclosure import Attachment
from mailer.accept.submission import Fault, SubmissionError
from mailer.compose import control
from mailer.compose.attachments import ATTACHMENTS

Shape = TypeVar("Shape")
_MAILBOX = Meta(
    max_length=8192,
    description="`local@domain` or `Name <local@domain>`",
    extra_json_schema={"format": "mailbox"},
    examples=["Ada <ada@example.org>"],
)
T = TypeVar("T")
_SHOWN_CHARS = 60  # of what the sender wrote, in a sentence about it
_STEP = re.compile(r"\.([A-Za-z_]+)|\[(\d+|\.\.\.)\]")
_OF_A_FIELD = re.compile(r"Object (contains unknown|missing required) field `(.*)`", re.DOTALL)


class Address(Struct, frozen=True, forbid_unknown_fields=True):
    """A mailbox in two parts."""

    address: Annotated[
        str,
        Meta(max_length=8192, description="`local@domain`", extra_json_schema={"format": "addr-spec"}),
    ]
    name: Annotated[str, Meta(max_length=998, description="Display name")] | None = None


class HeaderField(Struct, frozen=True, forbid_unknown_fields=True):
    """A further header field of the message."""

    name: Annotated[str, Meta(min_length=1, max_length=50, extra_json_schema={"format": "header-name"})]
    value: Annotated[str, Meta(min_length=1, max_length=8192, extra_json_schema={"format": "header-value"})]


AnyAddress = Annotated[str, _MAILBOX] | Address
Addresses = AnyAddress | list[AnyAddress] | None
# Python's $ also matches before a line break at the end; that of JSON Schema does not.
_TAG = Meta(
    pattern=rf"^{control.TAG_PATTERN}\Z", max_length=control.TAG_CHARS, description="Visible ASCII",
    extra_json_schema={"pattern": f"^{control.TAG_PATTERN}$"},
)  # fmt: skip
Tag = Annotated[str, _TAG]
_Headers = (
    Annotated[
        dict[
            Annotated[str, Meta(min_length=1, max_length=50, extra_json_schema={"format": "header-name"})],
            Annotated[str, Meta(min_length=1, max_length=8192, extra_json_schema={"format": "header-value"})],
        ],
        Meta(max_length=50),
    ]
    | Annotated[list[HeaderField], Meta(max_length=50)]
    | None
)
Metadata = (
    Annotated[
        dict[
            Annotated[str, Meta(min_length=1, max_length=control.METADATA_KEY_CHARS)],
            Annotated[str, Meta(max_length=control.METADATA_VALUE_CHARS)],
        ],
        Meta(max_length=control.METADATA_PAIRS),
    ]
    | None
)


class TemplateUse(Struct, frozen=True, forbid_unknown_fields=True):
    """A stored template, by name or id, and what fills it."""

    name: (
        Annotated[str, Meta(min_length=1, max_length=100, extra_json_schema={"format": "template"})] | None
    ) = None
    id: Annotated[str, Meta(min_length=1, max_length=100, description="`tmpl_...`")] | None = None
    version: Annotated[int, Meta(ge=1, le=2**31 - 1, description="Without it, the published one")] | None = (
        None
    )
    data: Annotated[
        dict[str, Any], Meta(description="Every variable that the template speaks of; null is a value")
    ] = field(default_factory=dict)


class SendRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """A message to send: at least one recipient in to, cc or bcc; a text, an html, or both; or a template."""

    from_: Annotated[AnyAddress, Meta(description="Author; its domain is a sending domain of the tenant")] = (
        field(name="from")
    )
    to: Annotated[Addresses, Meta(description="Recipients that all recipients see")] = None
    cc: Annotated[Addresses, Meta(description="Further recipients that all recipients see")] = None
    bcc: Annotated[Addresses, Meta(description="Recipients that nobody sees")] = None
    reply_to: Annotated[Addresses, Meta(description="Where replies should go")] = None
    subject: Annotated[
        str,
        Meta(max_length=2000, description="One line", extra_json_schema={"format": "header-text"}),
    ] = ""
    text: Annotated[str, Meta(description="Plain text part")] | None = None
    html: Annotated[str, Meta(description="HTML part")] | None = None
    template: TemplateUse | None = None  # instead of subject, text and html
    inline_css: (
        Annotated[bool, Meta(description="Write style rules into the elements; true for a template")] | None
    ) = None
    auto_text: (
        Annotated[bool, Meta(description="Make a text of an html that has none; true for a template")] | None
    ) = None
    headers: Annotated[
        _Headers,
        Meta(description="Further header fields; those that the mailer writes itself are refused"),
    ] = None
    attachments: (
        Annotated[
            list[Attachment],
            Meta(max_length=ATTACHMENTS, description="Files, inline images among them"),
        ]
        | None
    ) = None
    tags: (
        Annotated[
            list[Tag],
            Meta(max_length=control.TAGS, description="Words to find the message by; never sent"),
        ]
        | None
    ) = None
    metadata: Annotated[
        Metadata, Meta(description="Your own data, kept and shown with the message; never sent")
    ] = None
    stream: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=control.STREAM_CHARS,
            description="Name of a stream of the tenant",
            extra_json_schema={"format": "stream"},
        ),
    ] = "transactional"
    unsubscribe: (
        Annotated[
            bool,
            Meta(
                description="Whether the message offers to leave its stream: by List-Unsubscribe fields (RFC"
                " 8058), and by `{{unsubscribe_url}}` in its text and HTML. Mail of a broadcast stream always"
                " does, other mail where it is true"
            ),
        ]
        | None
    ) = None
    tls: (
        Annotated[
            Literal["optional", "encrypted", "required", "requiretls"],
            Meta(
                description="What a next hop must prove before it gets the message: `encrypted` TLS;"
                " `required` TLS with a right certificate; `requiretls` that, and to pass it on likewise"
                " (RFC 8689). `optional`: rather in clear than not at all. Without it, what the recipient's"
                " domain demands"
            ),
        ]
        | None
    ) = None
    send_at: (
        Annotated[datetime, Meta(tz=True, description="When to send it, at most 30 days ahead")] | None
    ) = None
    expires_at: (
        Annotated[
            datetime,
            Meta(tz=True, description="When it is worth nothing any more: it is not sent after this"),
        ]
        | None
    ) = None


# What a message that is made of a template does not say itself.
_OF_A_TEMPLATE = {
    "template": {"type": "object"}, "subject": {"const": ""},
    "text": {"type": "null"}, "html": {"type": "null"},
}  # fmt: skip
_decoder = msgspec.json.Decoder(SendRequest)


def decode(raw: bytes | bytearray | msgspec.Raw) -> SendRequest:
    """The request in `raw`. Raises SubmissionError and nothing else, whatever the octets."""
    return decode_by(_decoder, raw)


def decode_by(decoder: msgspec.json.Decoder[Shape], raw: bytes | bytearray | msgspec.Raw) -> Shape:
    """What `decoder` reads in `raw`. Raises SubmissionError and nothing else, whatever the octets."""
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SubmissionError(Fault.MALFORMED_REQUEST, _malformed(error)) from None


def schema() -> tuple[dict[str, Any], dict[str, Any]]:
    """The JSON Schema of a send request, and the components that it refers to."""
    [reference], components = msgspec.json.schema_components(
        [SendRequest], ref_template="#/components/schemas/{name}"
    )
    components["SendRequest"]["anyOf"] = [
        {"required": [part], "properties": {part: {"type": "string"}, "template": {"type": "null"}}}
        for part in ("text", "html")
    ] + [{"required": ["template"], "properties": _OF_A_TEMPLATE}]
    components["TemplateUse"]["oneOf"] = [
        {"required": [given], "properties": {given: {"type": "string"}, other: {"type": "null"}}}
        for given, other in (("name", "id"), ("id", "name"))
    ]
    return reference, components


def pointer(*steps: str | int) -> str:
    """RFC 6901 §3: "~" and "/" in a step are escaped."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)


def _malformed(error: Exception) -> str:
    if isinstance(error, msgspec.DecodeError):
        return f"the body is not JSON: {error}"
    return "the body is not JSON in UTF-8, or is nested too deep"


def _invalid(message: str) -> SubmissionError:
    """From msgspec's words, such as: Expected `str`, got `int` - at `$.to[0]`."""
    what, at, path = message.rpartition(" - at `$")
    if not at:
        what, path = message, ""
    steps = [name or index for name, index in _STEP.findall(path)]
    # Of an object with free names msgspec does not say which member it was.
    steps = steps[: steps.index("...")] if "..." in steps else steps
    of_a_field = _OF_A_FIELD.fullmatch(what)
    if of_a_field is not None:
        shown = of_a_field[2] if len(of_a_field[2]) <= _SHOWN_CHARS else of_a_field[2][:_SHOWN_CHARS] + "..."
        problem = "there is no field" if of_a_field[1] == "contains unknown" else "a field is missing:"
        return SubmissionError(
            Fault.INVALID_FIELD, f"{problem} {shown!r}", pointer=pointer(*steps, of_a_field[2])
        )
    return SubmissionError(Fault.INVALID_FIELD, _said(what), pointer=pointer(*steps))


def _said(what: str) -> str:
    """In words that help: of all that is read here, tags have a pattern and instants an offset."""
    if "matching regex" in what:
        return f"a tag is made of 1 to {control.TAG_CHARS} visible ASCII characters"
    if "RFC3339" in what or "timezone" in what:
        return control.NOT_AN_INSTANT
    # JSON's words for what Python calls str.
    detail = what.replace("`str", "`string").replace("`", "")
    return detail[:1].lower() + detail[1:]
