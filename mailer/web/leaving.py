"""How a kept message says it can be unsubscribed from, as somebody at this machine can follow it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mailer.compose.unsubscribe import LIST_UNSUBSCRIBE, LIST_UNSUBSCRIBE_POST, PATH
from mailer.web.reading import Reading

_OURS = re.compile(rf"<https?://[^<>\s]*({re.escape(PATH)}[A-Za-z0-9_-]+)>")


@dataclass(frozen=True, slots=True)
class Leave:
    """path: of the page on this door, whatever URL strangers reach it by."""

    path: str
    is_one_click: bool


def leaving_of(reading: Reading) -> Leave | None:
    """None: it bears no List-Unsubscribe of ours."""
    fields = {name.lower(): value for name, value in reading.fields}
    found = _OURS.search(fields.get(LIST_UNSUBSCRIBE.lower(), ""))
    return None if found is None else Leave(found[1], LIST_UNSUBSCRIBE_POST.lower() in fields)
