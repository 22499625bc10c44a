"""XML read as a stream (expat), element by element below a root, with limits on all that can grow.

A document type is refused where it begins: no entity is ever declared, so none is expanded (billion laughs)
and none is fetched (XXE). expat itself loads nothing from elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar
from xml.parsers import expat

_PIECE = 256 * 1024
_DEPTH = 24
_ELEMENTS = 400_000
_OF_ONE = 5_000  # elements below one child of the root
_ATTRIBUTES = 200_000  # a million in one element cost expat two seconds
_TEXT_CHARS = 8_000  # of one element; more is cut off
_MOST_MENDED = 100_000
# What expat says of octets that are not the encoding, of stray `&`, and of space before the declaration.
_MENDABLE = frozenset(
    expat.errors.codes[message]
    for message in (
        expat.errors.XML_ERROR_INVALID_TOKEN, expat.errors.XML_ERROR_UNDEFINED_ENTITY,
        expat.errors.XML_ERROR_UNKNOWN_ENCODING, expat.errors.XML_ERROR_INCORRECT_ENCODING,
        expat.errors.XML_ERROR_MISPLACED_XML_PI, expat.errors.XML_ERROR_BAD_CHAR_REF,
        expat.errors.XML_ERROR_PARTIAL_CHAR, expat.errors.XML_ERROR_SYNTAX,
    )
)  # fmt: skip
_DECLARATION = re.compile(r"<\?xml[^<>]{0,200}\?>")
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")  # XML 1.0 §2.2
_STRAY = re.compile(r"&(?!(?:amp|lt|gt|quot|apos|#[0-9]{1,7}|#x[0-9a-fA-F]{1,6});)")


@dataclass(slots=True)
class Element:
    """name: without its prefix. text: of its own, not of its children."""

    name: str
    children: list[Element] = field(default_factory=list)
    text: str = ""

    def first(self, name: str) -> Element | None:
        for child in self.children:
            if child.name == name:
                return child
        return None

    def every(self, name: str) -> list[Element]:
        return [child for child in self.children if child.name == name]

    def value(self, *path: str) -> str:
        """The text below, by the names on the way; empty if it is not there."""
        found: Element | None = self
        for name in path:
            found = found.first(name) if found is not None else None
        return "" if found is None else found.text.strip()


_Reader = TypeVar("_Reader", bound=Callable[[Element], None])


class XmlRefused(Exception):
    """why: a sentence without words of the sender's."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


def walked(content: bytes, root: str, begin: Callable[[], _Reader]) -> _Reader:
    """A reader that was called for every child of the first `root`, in order. Raises XmlRefused.

    What follows the end of the root is not looked at. Octets that are not what the encoding says, and
    `&` that begins no entity, are mended once, and all is told to a new reader.
    """
    if content.count(b"=") > _ATTRIBUTES:
        raise XmlRefused("it has more attributes than a report has")
    try:
        return _read(content, root, begin())
    except expat.ExpatError as error:
        if error.code not in _MENDABLE or content.count(b"&") > _MOST_MENDED:
            raise XmlRefused("it is not well-formed XML") from None
    except LookupError:
        pass  # Python knows no such encoding: most are UTF-8 under a wrong name
    try:
        return _read(_mended(content), root, begin())
    except expat.ExpatError:
        raise XmlRefused("it is not well-formed XML") from None


def _read(content: bytes, root: str, reader: _Reader) -> _Reader:
    _Walk(root, reader).run(content)
    return reader


def _mended(content: bytes) -> bytes:
    text = content.decode("utf-8", "replace")
    text = _FORBIDDEN.sub("\ufffd", _DECLARATION.sub("", text, count=1).lstrip("\ufeff \t\r\n"))
    return _STRAY.sub("&amp;", text).encode("utf-8", "replace")


class _Walk:
    def __init__(self, root: str, on_child: Callable[[Element], None]) -> None:
        self._root = root
        self._on_child = on_child
        self._stack: list[Element] = []  # from the child of the root down
        self._outside = 0  # elements around the root
        self._depth = 0
        self._elements = 0
        self._of_one = 0
        self._inside = self._done = False

    def run(self, content: bytes) -> None:
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.StartDoctypeDeclHandler = self._doctype
        parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
        try:
            for at in range(0, len(content), _PIECE):
                parser.Parse(content[at : at + _PIECE], False)
                if self._done:
                    return
            parser.Parse(b"", True)
        except expat.ExpatError:
            if not self._done:  # else it is about what follows the report
                raise
        except ValueError:  # an encoding of several octets that expat cannot read
            raise XmlRefused("its encoding is not known") from None
        if not self._done:
            raise XmlRefused(f"it has no {self._root} element")

    def _doctype(self, *_: object) -> None:
        raise XmlRefused("it declares a document type, which no report needs")

    def _start(self, name: str, _: dict[str, str]) -> None:
        if self._done:
            return
        self._elements += 1
        self._depth += 1
        if self._elements > _ELEMENTS or self._depth > _DEPTH:
            raise XmlRefused("it has more elements, or deeper ones, than a report has")
        name = name.rpartition(":")[2]
        if not self._inside:
            self._inside = name == self._root
            self._outside += not self._inside
            return
        self._of_one = self._of_one + 1 if self._stack else 0
        if self._of_one > _OF_ONE:
            raise XmlRefused("one of its records has more elements than a record has")
        element = Element(name)
        if self._stack:
            self._stack[-1].children.append(element)
        self._stack.append(element)

    def _text(self, text: str) -> None:
        if self._stack:
            element = self._stack[-1]
            if len(element.text) < _TEXT_CHARS:
                element.text += text[:_TEXT_CHARS]

    def _end(self, _: str) -> None:
        self._depth -= 1
        if self._done or not self._inside:
            return
        if not self._stack:
            self._done = True
            return
        element = self._stack.pop()
        if not self._stack:
            self._on_child(element)
