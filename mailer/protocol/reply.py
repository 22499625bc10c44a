"""An SMTP reply as it was heard (RFC 5321 §4.2)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reply:
    """code: 200..599; lines: the text of each reply line without code, separator and CRLF."""

    code: int
    lines: tuple[str, ...]

    @property
    def is_positive(self) -> bool:
        """2yz: the command was done (RFC 5321 §4.2.1)."""
        return 200 <= self.code < 300

    @property
    def text(self) -> str:
        return " ".join(self.lines)
