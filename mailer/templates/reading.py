"""What is sent: which version a name stands for, and its words."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sqlalchemy import ColumnElement, false, select

from mailer import ids
from mailer.compose.wording import Wording
from mailer.store import Store
from mailer.store.tables import template, template_version

KIND = "tmpl"
NAME_CHARS = 100
# Neither a path nor an id is mistaken for a name.
NAME_PATTERN = rf"(?!{KIND}_)[A-Za-z0-9][A-Za-z0-9._-]{{0,{NAME_CHARS - 1}}}"
_NAME = re.compile(NAME_PATTERN)
MOST_VERSIONS = 2**31 - 1  # what their column holds


@dataclass(frozen=True, slots=True)
class Pointer:
    """A template as it stands. published: None if no version is."""

    id: int
    name: str
    published: int | None
    latest: int


def pointer(store: Store, tenant_id: int, name: str) -> Pointer | None:
    """The tenant's template of this name or id; None if there is none."""
    with store.read() as connection:
        row = connection.execute(select(template).where(owned(tenant_id, name))).first()
    return None if row is None else Pointer(row.id, row.name, row.published, row.latest)


def wording(store: Store, template_id: int, number: int) -> Wording | None:
    """The words of a version; None if it is gone. The caller knows that the template is the tenant's."""
    v = template_version.c
    with store.read() as connection:
        row = connection.execute(
            select(v.subject, v.text, v.html).where(v.template_id == template_id, v.number == number)
        ).first()
    return None if row is None else Wording(row.subject, row.text, row.html)


def owned(tenant_id: int, name: str) -> ColumnElement[bool]:
    """The condition for the tenant's template of this name or id."""
    if is_name(name):
        return (template.c.tenant_id == tenant_id) & (template.c.name == name)
    try:
        return (template.c.tenant_id == tenant_id) & (template.c.id == ids.parse(KIND, name))
    except ids.MalformedId:
        return false()


def is_name(text: str) -> bool:
    """Whether a template may be called so."""
    return _NAME.fullmatch(text) is not None
