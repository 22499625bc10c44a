"""A request that names a template, or wants its HTML finished, becomes one that says everything itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from mailer.accept.http.wire import SendRequest, TemplateUse, pointer
from mailer.accept.stationery import Stationery
from mailer.accept.submission import Fault, SubmissionError
from mailer.compose import bodyurl, wording
from mailer.compose.templating import Missing, TemplateFault
from mailer.compose.wording import Filled, Finish, Form, Wording
from mailer.store import StoreUnavailable


def is_wanted(request: SendRequest) -> bool:
    """Whether `fill` has anything to do."""
    return request.template is not None or bool(request.inline_css) or bool(request.auto_text)


def fill(request: SendRequest, stationery: Stationery, tenant_id: int) -> SendRequest:
    """`request` with its words as they are sent. Not for an event loop. Raises SubmissionError."""
    if request.template is not None:
        form = form_of(request, stationery, tenant_id)
        filled = filled_with(form, request.template.data, finish_of(request, is_template=True))
        return with_words(request, filled)
    if not is_wanted(request):
        return request
    finish = finish_of(request, is_template=False)
    try:
        text, html = wording.finished(bodyurl.stand_in(request.text), bodyurl.stand_in(request.html), finish)
    except TemplateFault as error:
        raise SubmissionError(Fault.TEMPLATE_FAILED, str(error), pointer="/html") from error
    return with_words(request, Filled(request.subject, text, html))


def form_of(request: SendRequest, stationery: Stationery, tenant_id: int) -> Form:
    """The stored template that `request` names, or what it says itself as one. Raises SubmissionError."""
    used = request.template
    if used is None:
        return _given(request, stationery)
    for field in ("subject", "text", "html"):
        if getattr(request, field):
            raise SubmissionError(
                Fault.INVALID_FIELD, f"a template says the {field}: give one of them", pointer=pointer(field)
            )
    try:
        form, _ = stationery.stored(tenant_id, _name_of(used), used.version)
    except SubmissionError as error:
        raise SubmissionError(error.fault, error.detail, pointer="/template") from None
    except TemplateFault as error:
        raise SubmissionError(Fault.TEMPLATE_FAILED, str(error), pointer="/template") from error
    except StoreUnavailable as error:
        raise SubmissionError(
            Fault.UNAVAILABLE, "the database did not answer; the template could not be read"
        ) from error
    return form


def filled_with(form: Form, data: Mapping[str, Any], finish: Finish) -> Filled:
    """Raises SubmissionError, which names every variable that `data` lacks.

    The URL to unsubscribe by is none of the data, unless it is there: whose it is, is not known yet.
    """
    try:
        filled = form.fill({bodyurl.VARIABLE: bodyurl.STAND_IN, **data}, finish)
    except TemplateFault as error:
        raise SubmissionError(Fault.TEMPLATE_FAILED, str(error), pointer="/template") from error
    if filled.missing:
        raise _missing(filled.missing)
    if bodyurl.STAND_IN in filled.subject:
        raise SubmissionError(
            Fault.TEMPLATE_FAILED,
            "unsubscribe_url stands in a text or HTML, not in a subject",
            pointer="/template",
        )
    return filled


def finish_of(request: SendRequest, *, is_template: bool) -> Finish:
    """What is not said is done to a template, and left alone where the words are literal."""
    return Finish(
        inline_css=is_template if request.inline_css is None else request.inline_css,
        auto_text=is_template if request.auto_text is None else request.auto_text,
    )


def with_words(request: SendRequest, filled: Filled, **changes: Any) -> SendRequest:
    """`request` with these words in place of its own or its template's."""
    return msgspec.structs.replace(
        request, subject=filled.subject, text=filled.text, html=filled.html, template=None, **changes
    )


def _given(request: SendRequest, stationery: Stationery) -> Form:
    try:
        return stationery.given(Wording(request.subject, request.text, request.html))
    except TemplateFault as error:
        raise SubmissionError(Fault.TEMPLATE_FAILED, str(error), pointer=pointer(error.part)) from error


def _name_of(used: TemplateUse) -> str:
    name = used.name or used.id
    if name is None or (used.name is not None and used.id is not None):
        raise SubmissionError(Fault.INVALID_FIELD, "a template is named by its name or its id, one of them")
    return name


def _missing(missing: Sequence[Missing]) -> SubmissionError:
    errors: dict[str, str] = {}
    for m in missing:
        place = pointer("template", "data", *m.path)
        errors.setdefault(place, f"`{m.name}` is not in the data ({m.part}, line {m.line})")
    first, more = missing[0], len(errors) - 1
    others = f" and {more} more variable{'s' if more > 1 else ''}" if more else ""
    return SubmissionError(
        Fault.TEMPLATE_FAILED,
        f"the template needs `{first.name}` ({first.part}, line {first.line}){others}, missing in the data",
        pointer=pointer("template", "data", *first.path),
        errors=list(errors.items()),
    )
