"""Pages for people, without scripts and without anything loaded from elsewhere."""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any

from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

# Nothing but the style element of the page itself.
_POLICY = "; ".join(
    (
        "default-src 'none'", "style-src 'unsafe-inline'", "base-uri 'none'", "form-action 'none'",
        "frame-ancestors 'none'",
    )
)  # fmt: skip


def render(template: str, **facts: Any) -> HTMLResponse:
    """The page of `template` in templates/; `facts` are escaped."""
    html = text(template, **facts)
    return HTMLResponse(html, headers={"Content-Security-Policy": _POLICY, "Referrer-Policy": "no-referrer"})


def text(template: str, **facts: Any) -> str:
    """The same as text, for an answer with headers of its own."""
    return _environment().get_template(template).render(facts)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("mailer.accept.http"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["words"] = _words
    return environment


def _words(text: str) -> Markup:
    """`text` escaped, with what stands between backticks set as code."""
    return Markup("").join(
        Markup("<code>{}</code>").format(piece) if odd else escape(piece)
        for piece, odd in zip(text.split("`"), itertools.cycle((False, True)), strict=False)
    )
