"""Stored templates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from mailer.client.answers.templates import Rendering, Template, TemplateContent, TemplatePage, TemplateView
from mailer.client.call import Call, changing, pairs

_PATH = "/v1/templates"


def page(*, after: str | None, limit: int) -> Call[TemplatePage]:
    return Call(
        method="GET",
        path=_PATH,
        answer=TemplatePage,
        params=tuple(pairs(after=after, limit=limit)),
        repeatable=True,
    )


def get(template: str) -> Call[TemplateView]:
    return Call(method="GET", path=_one(template), answer=TemplateView, repeatable=True)


def version(template: str, number: int) -> Call[TemplateContent]:
    path = f"{_one(template)}/versions/{number}"
    return Call(method="GET", path=path, answer=TemplateContent, repeatable=True)


def create(name: str, words: Mapping[str, Any]) -> Call[Template]:
    return changing("POST", _PATH, Template, {"name": name, **words})


def add_version(template: str, words: Mapping[str, Any]) -> Call[Template]:
    return changing("POST", f"{_one(template)}/versions", Template, words)


def publish(template: str, number: int) -> Call[Template]:
    return changing("POST", f"{_one(template)}/publish", Template, {"version": number}, repeatable=True)


def render(template: str, data: Mapping[str, Any], *, version: int | None) -> Call[Rendering]:
    wanted = {"version": version, "data": data}
    return changing("POST", f"{_one(template)}/render", Rendering, wanted, repeatable=True)


def delete(template: str) -> Call[None]:
    return Call(method="DELETE", path=_one(template), answer=None)


def _one(template: str) -> str:
    return f"{_PATH}/{quote(template, safe='')}"
