"""What a message is made of: templates of subject, text and HTML, filled with data and finished."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mailer.compose import bodyurl, finishing, templating
from mailer.compose.finishing import FinishingFault
from mailer.compose.templating import Missing, Part, Template, TemplateFault, Variable

SUBJECT_CHARS = 2000  # of a template, and of what it makes


@dataclass(frozen=True, slots=True)
class Wording:
    """Three templates as their author wrote them.

    text  None: made from the HTML
    html  None: text only
    """

    subject: str
    text: str | None
    html: str | None


@dataclass(frozen=True, slots=True)
class Finish:
    """What is done to HTML that has its data: styles into its elements; a text beside it if there is none."""

    inline_css: bool = True
    auto_text: bool = True


@dataclass(frozen=True, slots=True)
class Filled:
    """A message's words. missing: empty, or there are gaps and it must not be sent."""

    subject: str
    text: str | None
    html: str | None
    missing: tuple[Missing, ...] = ()


@dataclass(frozen=True, slots=True)
class Form:
    """A wording, compiled. Safe to share between threads."""

    subject: Template
    text: Template | None
    html: Template | None

    @property
    def variables(self) -> tuple[Variable, ...]:
        """Of all parts, by name; required if it is so in one."""
        required: dict[str, bool] = {}
        for part in filter(None, (self.subject, self.text, self.html)):
            for variable in part.variables:
                is_given = variable.name == bodyurl.VARIABLE  # by us
                required[variable.name] = required.get(variable.name, False) or (
                    variable.is_required and not is_given
                )
        return tuple(Variable(name, required[name]) for name in sorted(required))

    def fill(self, data: Mapping[str, object], finish: Finish) -> Filled:
        """The same for the same data. Raises TemplateFault."""
        missing: list[Missing] = []

        def made(template: Template | None) -> str | None:
            if template is None:
                return None
            rendered = template.render(data)
            missing.extend(rendered.missing)
            return rendered.text

        subject, text, html = _one_line(made(self.subject) or ""), made(self.text), made(self.html)
        text, html = finished(text, html, finish)
        return Filled(subject, text, html, tuple(missing))


def compile_wording(wording: Wording) -> Form:
    """Raises TemplateFault: a part is no template, or there is neither text nor HTML."""
    if wording.text is None and wording.html is None:
        raise TemplateFault("a template needs a text, an html, or both", Part.TEXT)
    if len(wording.subject) > SUBJECT_CHARS:
        raise TemplateFault(f"a subject may have {SUBJECT_CHARS} characters", Part.SUBJECT)
    return Form(
        templating.compile_template(wording.subject, Part.SUBJECT),
        None if wording.text is None else templating.compile_template(wording.text, Part.TEXT),
        None if wording.html is None else templating.compile_template(wording.html, Part.HTML),
    )


def finished(text: str | None, html: str | None, finish: Finish) -> tuple[str | None, str | None]:
    """Text and HTML as they are sent. Raises TemplateFault."""
    try:
        if html is not None and finish.inline_css:
            html = finishing.inline_css(html)
        if text is None and html is not None and finish.auto_text:
            # After the styles, since these say what is hidden. No words at all: no part without any.
            text = finishing.text_of(html) or None
    except FinishingFault as error:
        raise TemplateFault(str(error), Part.HTML) from error
    return text, html


def _one_line(subject: str) -> str:
    """Line breaks that a template is written with, or that a value brings along, become spaces: nothing
    in data can begin another header field (RFC 5322 §2.2)."""
    line = " ".join(subject.replace("\t", " ").splitlines()).strip()
    if len(line) > SUBJECT_CHARS:
        raise TemplateFault(f"a subject may have {SUBJECT_CHARS} characters", Part.SUBJECT)
    return line
