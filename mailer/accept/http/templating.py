"""/v1/templates: what a tenant writes once and sends often. Written with the scope `templates`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, NoReturn

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import Field

from mailer.accept.credentials import Authenticator, Identity
from mailer.accept.http.asked import Asked, Digits, once, refused
from mailer.accept.http.callers import Caller, as_json
from mailer.accept.http.smallbody import bodies_up_to
from mailer.accept.http.template_shapes import (
    TOLD_NAME,
    MissingVariable,
    NewTemplate,
    Publication,
    Rendering,
    TemplateContent,
    TemplateEntry,
    TemplatePage,
    TemplateVariable,
    TemplateVersion,
    TemplateView,
    Trial,
    Words,
)
from mailer.accept.http.wire import pointer
from mailer.accept.stationery import Stationery
from mailer.accept.submission import Fault, SubmissionError
from mailer.compose import bodyurl, wording
from mailer.compose.templating import TemplateFault
from mailer.compose.wording import Finish, Form, Wording
from mailer.ids import IdMaker
from mailer.store import Store
from mailer.templates import shelf
from mailer.templates.reading import MOST_VERSIONS, NAME_CHARS, is_name
from mailer.templates.shelf import BadName, Content, Entry, NameTaken, UnknownVersion

SCOPE = "templates"
READING_SCOPE = "read"
_MOST_LISTED = 1000
MOST_BYTES = 8 * 1024 * 1024  # two parts of the largest size, every character escaped, fit in half of it

# What is no name and no id is 404 like an unknown one, so the pattern is told and not enforced.
NameOrId = Annotated[
    str,
    Path(description="Name or id of a template", json_schema_extra={"format": "template-name"}),
]
NumberText = Annotated[
    str, Path(description="Number of a version", json_schema_extra={"pattern": "^[1-9][0-9]{0,9}$"})
]


class TemplateQuery(Asked):
    """Which part of the list."""

    after: str | None = Field(
        None,
        max_length=NAME_CHARS,
        description="Name of the last template seen",
        json_schema_extra={**TOLD_NAME},
    )
    limit: Digits = Field(100, ge=1, le=_MOST_LISTED, description="Most templates in the answer")


@dataclass(frozen=True, slots=True)
class TemplateParts:
    """What the routes work with; see HttpParts."""

    store: Store
    stationery: Stationery
    authenticator: Authenticator
    new_id: IdMaker
    now: Callable[[], datetime]


def router(parts: TemplateParts) -> APIRouter:
    """Synchronous functions: FastAPI runs them in threads, where the database may be used."""
    routes = APIRouter(prefix="/v1/templates", tags=["templates"], route_class=bodies_up_to(MOST_BYTES))
    _add_reading(routes, parts)
    writer = Depends(Caller(parts.authenticator, SCOPE, changes=True))
    _add_writing(routes, parts, writer)
    _add_changing(routes, parts, writer)
    return routes


def _add_reading(routes: APIRouter, parts: TemplateParts) -> None:
    reader = Depends(Caller(parts.authenticator, READING_SCOPE, once=once(TemplateQuery)))

    @routes.get("", response_model=TemplatePage, summary="List templates")
    def list_templates(query: Annotated[TemplateQuery, Query()], identity: Identity = reader) -> Response:
        """Templates by name."""
        if query.after is not None and not is_name(query.after):
            raise refused("after", "must be the name of a template")
        found = shelf.listed(parts.store, identity.tenant_id, after=query.after or "", limit=query.limit)
        more = found[-1].name if len(found) == query.limit else None
        return as_json(TemplatePage.model_validate({"templates": found, "next_after": more}))

    @routes.get("/{template}", response_model=TemplateView, summary="Get a template")
    def get_template(template: NameOrId, identity: Identity = reader) -> Response:
        """A template with its versions, and the words and variables of the one that is sent."""
        view = shelf.view(parts.store, identity.tenant_id, template)
        if view is None:
            _not_found()
        versions = [TemplateVersion.model_validate(version) for version in view.versions]
        entry = TemplateEntry.model_validate(view.entry)
        content = _content(parts.stationery, view.shown)
        return as_json(TemplateView(**dict(entry), versions=versions, content=content))

    @routes.get("/{template}/versions/{number}", response_model=TemplateContent, summary="Get a version")
    def get_template_version(template: NameOrId, number: NumberText, identity: Identity = reader) -> Response:
        """A version's words as they were written, and the variables that they speak of."""
        is_number = number.isascii() and number.isdigit() and 0 < int(number[:11]) <= MOST_VERSIONS
        found = shelf.content(parts.store, identity.tenant_id, template, int(number)) if is_number else None
        if found is None:
            raise SubmissionError(Fault.NOT_FOUND, "there is no such version of a template of this tenant")
        return as_json(_content(parts.stationery, found))

    @routes.post("/{template}/render", response_model=Rendering, summary="Try a template")
    def render_template(template: NameOrId, trial: Trial, identity: Identity = reader) -> Response:
        """Subject, text and HTML as they would be sent, and every variable that the data lacks."""
        found = _version(parts.store, identity.tenant_id, template, trial.version)
        try:
            form = parts.stationery.given(found.wording)
            finish = Finish(inline_css=trial.inline_css, auto_text=trial.auto_text)
            filled = form.fill({bodyurl.VARIABLE: bodyurl.STAND_IN, **trial.data}, finish)
        except TemplateFault as error:
            raise SubmissionError(Fault.TEMPLATE_FAILED, str(error)) from error
        missing = [MissingVariable.model_validate(one) for one in filled.missing]
        return as_json(
            Rendering(
                version=found.number,
                subject=filled.subject,
                text=filled.text,
                html=filled.html,
                missing=missing,
            )
        )


def _add_writing(routes: APIRouter, parts: TemplateParts, writer: Any) -> None:
    @routes.post("", response_model=TemplateEntry, status_code=201, summary="Create a template")
    def create_template(new: NewTemplate, identity: Identity = writer) -> Response:
        """A template under a name, with version 1. A template that is not well written is refused here."""
        words = _words(new)
        try:
            made = shelf.create(
                parts.store, identity.tenant_id, new.name, words, publishes=new.publish,
                new_id=parts.new_id, now=parts.now(),
            )  # fmt: skip
        except BadName as error:
            raise SubmissionError(Fault.INVALID_FIELD, str(error), pointer="/name") from error
        except NameTaken as error:
            raise SubmissionError(Fault.NAME_TAKEN, str(error), pointer="/name") from error
        return _changed(parts, identity, made, 201)

    @routes.post(
        "/{template}/versions", response_model=TemplateEntry, status_code=201, summary="Add a version"
    )
    def add_template_version(template: NameOrId, new: Words, identity: Identity = writer) -> Response:
        """The next version. Versions never change; what is sent changes when one is published."""
        made = shelf.add_version(
            parts.store, identity.tenant_id, template, _words(new), publishes=new.publish, now=parts.now()
        )
        return _changed(parts, identity, made, 201)


def _add_changing(routes: APIRouter, parts: TemplateParts, writer: Any) -> None:
    @routes.post("/{template}/publish", response_model=TemplateEntry, summary="Publish a version")
    def publish_template(template: NameOrId, wanted: Publication, identity: Identity = writer) -> Response:
        """It is sent from now on where no version is named, everywhere within a second. So an older version
        is gone back to."""
        try:
            made = shelf.publish(parts.store, identity.tenant_id, template, wanted.version)
        except UnknownVersion as error:
            raise SubmissionError(Fault.INVALID_FIELD, str(error), pointer="/version") from error
        return _changed(parts, identity, made)

    @routes.delete("/{template}", status_code=204, summary="Delete a template")
    def delete_template(template: NameOrId, identity: Identity = writer) -> Response:
        """It is gone with all its versions. Messages that were made of it are as they were."""
        if not shelf.remove(parts.store, identity.tenant_id, template):
            _not_found()
        parts.stationery.forget(identity.tenant_id)
        return Response(status_code=204, headers={"Cache-Control": "no-store"})


def _changed(parts: TemplateParts, identity: Identity, entry: Entry | None, status: int = 200) -> Response:
    if entry is None:
        _not_found()
    parts.stationery.forget(identity.tenant_id)
    answer = as_json(TemplateEntry.model_validate(entry))
    answer.status_code = status
    return answer


def _words(new: Words) -> Wording:
    """Raises SubmissionError: a part is no template, or both are missing."""
    words = Wording(new.subject, new.text, new.html)
    try:
        wording.compile_wording(words)
    except TemplateFault as error:
        raise SubmissionError(Fault.TEMPLATE_FAILED, str(error), pointer=pointer(error.part)) from error
    return words


def _version(store: Store, tenant_id: int, template: str, number: int | None) -> Content:
    if number is not None:
        found = shelf.content(store, tenant_id, template, number)
        if found is not None:
            return found
    view = shelf.view(store, tenant_id, template)
    if view is None:
        _not_found()
    if number is not None:
        raise SubmissionError(
            Fault.INVALID_FIELD, f"the template has no version {number}", pointer="/version"
        )
    return view.shown


def _content(stationery: Stationery, content: Content) -> TemplateContent:
    words = content.wording
    form = _form(stationery, words)
    return TemplateContent(
        number=content.number,
        created_at=content.created_at,
        subject=words.subject,
        text=words.text,
        html=words.html,
        variables=[TemplateVariable.model_validate(v) for v in (form.variables if form else ())],
    )


def _form(stationery: Stationery, words: Wording) -> Form | None:
    """None for words that an earlier release took and this one does not; they can still be looked at."""
    try:
        return stationery.given(words)
    except TemplateFault:
        return None


def _not_found() -> NoReturn:
    raise SubmissionError(Fault.NOT_FOUND, "this tenant has no such template")
