"""What a file is: the media type that its submitter gives, or that its name tells (RFC 2045 §5, RFC 2046)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

OCTET_STREAM = "application/octet-stream"  # RFC 2046 §4.5.1: of which nothing is known

_CHARS = 255
_NAME = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"  # RFC 6838 §4.2, narrower than a token of RFC 2045 §5.1
_TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]+"  # noqa: S105
_ESSENCE = re.compile(rf"[ \t]*({_NAME})/({_NAME})[ \t]*")
_PARAMETER = re.compile(rf'[ \t]*;[ \t]*({_TOKEN})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))[ \t]*')
_QUOTED_PAIR = re.compile(r"\\(.)")
# Ours to write: the name, and what divides and encodes (RFC 2045 §6, RFC 2046 §5.1.1).
_OURS = frozenset({"name", "boundary"})


class MediaTypeError(ValueError):
    """The text is no media type that an attachment may have. The message is a sentence for people."""


@dataclass(frozen=True, slots=True)
class MediaType:
    """A media type with its parameters in order.

    essence     type/subtype in lower case
    parameters  names in lower case, each once; values printable ASCII, without quotes
    """

    essence: str
    parameters: tuple[tuple[str, str], ...] = ()

    @property
    def has_charset(self) -> bool:
        return any(name == "charset" for name, _ in self.parameters)


def parse_media_type(text: str) -> MediaType:
    """`type/subtype`, with parameters or without. Raises MediaTypeError and nothing else."""
    if len(text) > _CHARS or not (text.isascii() and text.replace("\t", " ").isprintable()):
        raise MediaTypeError(f"a content type is at most {_CHARS} printable ASCII characters")
    essence = _ESSENCE.match(text)
    if essence is None:
        raise MediaTypeError("a content type has the form type/subtype, such as application/pdf")
    found: dict[str, str] = {}
    at = essence.end()
    while at < len(text):
        parameter = _PARAMETER.match(text, at)
        if parameter is None:
            raise MediaTypeError("a parameter of a content type has the form ; name=value")
        name, quoted, token = parameter.groups()
        name = name.lower()
        if name in found:
            raise MediaTypeError(f"the parameter {name} of a content type is given more than once")
        if "*" in name:
            raise MediaTypeError("a parameter of a content type is given without the encoding of RFC 2231")
        found[name] = token if quoted is None else _QUOTED_PAIR.sub(r"\1", quoted)
        at = parameter.end()
    kept = tuple((name, value) for name, value in found.items() if name not in _OURS)
    return MediaType(f"{essence[1]}/{essence[2]}".lower(), kept)


def guess_media_type(filename: str) -> MediaType:
    """By the end of the name. The same on every machine: no table of the operating system is read."""
    return MediaType(_BY_SUFFIX.get(filename.rpartition(".")[2].lower(), OCTET_STREAM))


_BY_SUFFIX: Mapping[str, str] = MappingProxyType(
    {
        "avif": "image/avif", "bmp": "image/bmp", "bz2": "application/x-bzip2", "css": "text/css",
        "csv": "text/csv", "doc": "application/msword",
        "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "eml": "message/rfc822", "epub": "application/epub+zip", "gif": "image/gif",
        "gz": "application/gzip", "heic": "image/heic", "htm": "text/html", "html": "text/html",
        "ico": "image/vnd.microsoft.icon", "ics": "text/calendar", "jpeg": "image/jpeg",
        "jpg": "image/jpeg", "json": "application/json", "log": "text/plain", "m4a": "audio/mp4",
        "md": "text/markdown", "mov": "video/quicktime", "mp3": "audio/mpeg", "mp4": "video/mp4",
        "odp": "application/vnd.oasis.opendocument.presentation",
        "ods": "application/vnd.oasis.opendocument.spreadsheet",
        "odt": "application/vnd.oasis.opendocument.text", "ogg": "audio/ogg",
        "p7m": "application/pkcs7-mime", "p7s": "application/pkcs7-signature", "pdf": "application/pdf",
        "pkpass": "application/vnd.apple.pkpass", "png": "image/png",
        "ppt": "application/vnd.ms-powerpoint",
        "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        "rtf": "application/rtf", "svg": "image/svg+xml", "tar": "application/x-tar", "tif": "image/tiff",
        "tiff": "image/tiff", "tsv": "text/tab-separated-values", "txt": "text/plain",
        "vcf": "text/vcard", "wav": "audio/wav", "webm": "video/webm", "webp": "image/webp",
        "xls": "application/vnd.ms-excel",
        "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "xml": "application/xml", "zip": "application/zip",
    }
)  # fmt: skip
