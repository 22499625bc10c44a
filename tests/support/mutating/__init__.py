"""Returned mail and reply lines in other dress: changes after which they mean what they meant before.

A reader that understands says the same of a mail and of its variants; one that knows samples by heart does
not. Each change is one function of a mail and a source of dice, so that a seed gives the same variant again.

    entity.py   a mail as a tree that is written out as it was read, octet for octet
    shapes.py   what the mail is wrapped in: fields, parts, encodings, the original
    names.py    who and where: addresses, hosts, IP addresses, ids, dates, consistently
    words.py    how the text is set: line width, HTML, quotes, footers, spacing of replies
    lines.py    the same for a reply line alone

Python's email package does not stand behind it: it mends what hosts do wrong, and the variants of a damaged
mail are to be damaged in the same way.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.support.mutating import names, shapes, words
from tests.support.mutating.entity import Entity, read, written
from tests.support.mutating.lines import LINES

__all__ = ["LINES", "MAILS", "Variant", "line_variant", "mail_variant"]

Change = Callable[[Entity, random.Random], Mapping[str, str] | None]
MAILS: Mapping[str, Change] = {**shapes.CHANGES, **names.CHANGES, **words.CHANGES}
_TOGETHER = 4


@dataclass(frozen=True)
class Variant:
    """renamed: addresses in lower case, and what stands in their place."""

    content: bytes
    renamed: Mapping[str, str] = field(default_factory=dict)

    def address(self, given: str) -> str:
        return self.renamed.get(given.lower(), given).lower()


def mail_variant(content: bytes, change: str, seed: int) -> Variant | None:
    """None: the change finds nothing to change. "mixture": several of them, one after the other."""
    dice = random.Random(f"{seed} {change} {zlib.crc32(content)}")
    if change == "mixture":
        return _mixture(content, dice)
    mail = read(content)
    if mail is None:
        return None
    renamed = MAILS[change](mail, dice) or {}
    made = written(mail)
    return None if made == content else Variant(made, renamed)


def _mixture(content: bytes, dice: random.Random) -> Variant | None:
    renamed: dict[str, str] = {}
    made = content
    for change in dice.sample(sorted(MAILS), _TOGETHER):
        further = mail_variant(made, change, dice.randrange(1000))
        if further is not None:
            renamed = {old: further.renamed.get(new.lower(), new) for old, new in renamed.items()}
            renamed = {**further.renamed, **renamed}
            made = further.content
    return None if made == content else Variant(made, renamed)


def line_variant(line: str, change: str, seed: int) -> str | None:
    """None: the change finds nothing to change."""
    made = LINES[change](line, random.Random(f"{seed} {change} {line}"))
    return None if made == line else made
