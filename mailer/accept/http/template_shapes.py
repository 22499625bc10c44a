"""What requests and answers about templates look like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from mailer.accept.http.asked import Asked
from mailer.accept.http.shapes import At, Shape, shown_as
from mailer.compose import templating, wording
from mailer.templates.reading import KIND, MOST_VERSIONS, NAME_CHARS, NAME_PATTERN

TemplateId = Annotated[int, *shown_as(KIND)]
# JSON Schema knows (?!...), the engine that pydantic takes does not: the pattern is told here and held there.
TOLD_NAME = {"pattern": f"^{NAME_PATTERN}$"}
_Number = Annotated[int, Field(strict=True, ge=1, le=MOST_VERSIONS)]
_Words = Annotated[str, Field(max_length=templating.SOURCE_CHARS, json_schema_extra={"format": "liquid"})]


class Words(Asked):
    """A version: templates in Liquid, a text, an html, or both."""

    subject: str = Field(
        max_length=wording.SUBJECT_CHARS, description="One line", json_schema_extra={"format": "liquid"}
    )
    text: _Words | None = Field(None, description="Without it, it is made from the HTML")
    html: _Words | None = Field(None, description="Values are escaped")
    publish: bool = Field(False, strict=True, description="Send it from now on where no version is named")


class NewTemplate(Words):
    """A template and its first version."""

    name: str = Field(
        min_length=1, max_length=NAME_CHARS, json_schema_extra={**TOLD_NAME, "format": "template"}
    )


class Publication(Asked):
    """Which version is sent where none is named."""

    version: _Number


class Trial(Asked):
    """Data to fill a template with, to see what would be sent."""

    version: _Number | None = Field(None, description="Without it, the published one, else the latest")
    data: dict[str, Any] = Field(default_factory=dict)
    inline_css: bool = Field(True, strict=True, description="Write style rules into the elements")
    auto_text: bool = Field(True, strict=True, description="Make a text of an html that has none")


class TemplateEntry(Shape):
    """A template."""

    id: TemplateId
    name: str
    published: int | None = Field(description="The version that is sent where none is named; null: none yet")
    latest: int = Field(description="The highest version there is")
    created_at: At


class TemplatePage(Shape):
    """Templates by name."""

    templates: Sequence[TemplateEntry]
    next_after: str | None = Field(description="Value of `after` for the next page; null: this is the last")


class TemplateVersion(Shape):
    number: int
    created_at: At


class TemplateVariable(Shape):
    """A variable that a version speaks of."""

    name: str
    required: bool = Field(validation_alias="is_required", description="false: it has a default")


class TemplateContent(Shape):
    """A version with its words, as they were written."""

    number: int
    created_at: At
    subject: str
    text: str | None
    html: str | None
    variables: Sequence[TemplateVariable]


class TemplateView(TemplateEntry):
    """A template with its newest 100 versions, and the words of one."""

    versions: Sequence[TemplateVersion] = Field(description="The newest first")
    content: TemplateContent = Field(description="The published version, else the latest")


class MissingVariable(Shape):
    name: str
    part: str = Field(description="subject, text or html")
    line: int = Field(description="Where it is first wanted")


class Rendering(Shape):
    """What would be sent. Where variables are missing there are gaps, and it would be refused."""

    version: int
    subject: str
    text: str | None
    html: str | None
    missing: Sequence[MissingVariable]
