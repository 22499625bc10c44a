"""Stored templates."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct


class Template(Struct, frozen=True, kw_only=True):
    """published: the version sent where none is named, None: none yet. latest: the highest there is."""

    id: str
    name: str
    latest: int
    created_at: datetime
    published: int | None = None


class TemplatePage(Struct, frozen=True, kw_only=True):
    templates: Sequence[Template]
    next_after: str | None = None


class Variable(Struct, frozen=True, kw_only=True):
    """required: False if it has a default."""

    name: str
    required: bool


class TemplateContent(Struct, frozen=True, kw_only=True):
    """A version's words as they were written, and the variables that they speak of."""

    number: int
    created_at: datetime
    subject: str
    text: str | None = None
    html: str | None = None
    variables: Sequence[Variable] = ()


class TemplateVersion(Struct, frozen=True, kw_only=True):
    number: int
    created_at: datetime


class TemplateView(Template, frozen=True, kw_only=True):
    """A template with its newest versions, and the words of the one that is sent."""

    versions: Sequence[TemplateVersion]
    content: TemplateContent


class MissingVariable(Struct, frozen=True, kw_only=True):
    """part: subject, text or html; line: where it is first wanted."""

    name: str
    part: str
    line: int


class Rendering(Struct, frozen=True, kw_only=True):
    """What would be sent. Where variables are missing there are gaps, and it would be refused."""

    version: int
    subject: str
    text: str | None = None
    html: str | None = None
    missing: Sequence[MissingVariable] = ()
