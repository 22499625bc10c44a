"""Enhanced status codes: class.subject.detail (RFC 3463 §2), and where replies hide them."""

from __future__ import annotations

import re
from dataclasses import dataclass

_CODE = re.compile(r"([245])\.(0|[1-9][0-9]{0,2})\.(0|[1-9][0-9]{0,2})")
# RFC 2034 §4 puts the code first in the text. Not part of a longer dotted number: "5.1.1.2" is an address.
_AT_START = re.compile(rf"[\s\[(#<]*{_CODE.pattern}(?![0-9]|\.[0-9])")
# qmail and hosts that write like it put "(#5.1.1)" at the end (https://cr.yp.to/proto/hcmssc.txt).
_MARKED = re.compile(rf"#{_CODE.pattern}(?![0-9]|\.[0-9])")


class MalformedStatus(ValueError):
    """The text is not an enhanced status code."""


@dataclass(frozen=True, slots=True)
class EnhancedStatus:
    """class_ 2 (success), 4 (persistent transient) or 5 (permanent); subject and detail 0 to 999."""

    class_: int
    subject: int
    detail: int

    def __str__(self) -> str:
        return f"{self.class_}.{self.subject}.{self.detail}"

    @classmethod
    def parse(cls, text: str) -> EnhancedStatus:
        """The status that `text` is and nothing else. Raises MalformedStatus."""
        match = _CODE.fullmatch(text)
        if match is None:
            raise MalformedStatus("an enhanced status has the form 5.1.1, its class 2, 4 or 5")
        return cls(int(match[1]), int(match[2]), int(match[3]))

    @classmethod
    def find(cls, text: str, code: int) -> EnhancedStatus | None:
        """The status that a reply's `text` bears, None if it bears none that can be believed.

        code  the reply's own: RFC 2034 §4 wants both to begin with the same digit. Where they differ the
              peer contradicts itself, and the reply code, which the protocol runs on, is the one that counts
        """
        match = _AT_START.match(text) or _MARKED.search(text)
        if match is None or int(match[1]) != code // 100:
            return None
        return cls(int(match[1]), int(match[2]), int(match[3]))
