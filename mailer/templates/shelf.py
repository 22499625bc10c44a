"""Templates in the store: made, listed, looked at, given new versions, published, deleted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, select, update

from mailer.compose.wording import Wording
from mailer.ids import IdMaker
from mailer.store import Store, dialect
from mailer.store.tables import template, template_version
from mailer.templates.reading import KIND, NAME_CHARS, is_name, owned

_VERSIONS = 100  # told of at once, the newest


class TemplateError(Exception):
    """Refused: one clear sentence that the caller can act on."""


class BadName(TemplateError):
    """The text cannot be the name of a template."""


class NameTaken(TemplateError):
    """The tenant has a template of this name."""


class UnknownVersion(TemplateError):
    """The template has no such version."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A template in a list. published: None if no version is."""

    id: int
    name: str
    published: int | None
    latest: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Version:
    """A version without its words."""

    number: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Content:
    """A version with its words."""

    number: int
    created_at: datetime
    wording: Wording


@dataclass(frozen=True, slots=True)
class View:
    """A template with its newest versions, the newest first.

    shown  the published one, else the latest
    """

    entry: Entry
    versions: Sequence[Version]
    shown: Content


def create(
    store: Store,
    tenant_id: int,
    name: str,
    words: Wording,
    *,
    publishes: bool,
    new_id: IdMaker,
    now: datetime,
) -> Entry:
    """A template with version 1. Raises BadName, NameTaken."""
    if not is_name(name):
        raise BadName(
            f"the name of a template has 1 to {NAME_CHARS} letters, digits, dots, underscores and hyphens,"
            f" begins with a letter or digit, and not with {KIND}_"
        )
    made = Entry(new_id(), name, 1 if publishes else None, 1, now)
    values = {
        "id": made.id, "tenant_id": tenant_id, "name": name, "published": made.published, "latest": 1,
        "created_at": now,
    }  # fmt: skip
    with store.write() as connection:
        inserted = connection.execute(
            dialect.insert(connection, template)
            .values(values)
            .on_conflict_do_nothing()
            .returning(template.c.id)
        ).first()
        if inserted is None:
            raise NameTaken(f"this tenant has a template {name!r} already")
        _insert_version(connection, made.id, 1, words, now)
    return made


def listed(store: Store, tenant_id: int, *, after: str, limit: int) -> list[Entry]:
    """Templates whose names sort after `after`, by name; "" for the first ones."""
    page = select(template).where(template.c.tenant_id == tenant_id, template.c.name > after)
    with store.read() as connection:
        rows = connection.execute(page.order_by(template.c.name).limit(limit)).all()
    return [Entry(r.id, r.name, r.published, r.latest, r.created_at) for r in rows]


def view(store: Store, tenant_id: int, name: str) -> View | None:
    """None if the tenant has none of this name or id."""
    v = template_version.c
    with store.read() as connection:
        row = connection.execute(select(template).where(owned(tenant_id, name))).first()
        if row is None:
            return None
        numbers = select(v.number, v.created_at).where(v.template_id == row.id)
        versions = connection.execute(numbers.order_by(v.number.desc()).limit(_VERSIONS)).all()
        shown = _content(connection, row.id, row.published or row.latest)
    assert shown is not None  # versions are deleted with their template only
    entry = Entry(row.id, row.name, row.published, row.latest, row.created_at)
    return View(entry, [Version(r.number, r.created_at) for r in versions], shown)


def content(store: Store, tenant_id: int, name: str, number: int) -> Content | None:
    """A version of the tenant's template; None if there is none."""
    with store.read() as connection:
        row = connection.execute(select(template.c.id).where(owned(tenant_id, name))).first()
        return None if row is None else _content(connection, row.id, number)


def add_version(
    store: Store, tenant_id: int, name: str, words: Wording, *, publishes: bool, now: datetime
) -> Entry | None:
    """The template with one version more; None if the tenant has none of this name or id.

    The row of the template gives the number: whoever adds another at the same time waits, and gets the next.
    """
    values = {"latest": template.c.latest + 1}
    if publishes:
        values["published"] = template.c.latest + 1
    changed = update(template).where(owned(tenant_id, name)).values(values).returning(*template.c)
    with store.write() as connection:
        row = connection.execute(changed).first()
        if row is None:
            return None
        _insert_version(connection, row.id, row.latest, words, now)
    return Entry(row.id, row.name, row.published, row.latest, row.created_at)


def publish(store: Store, tenant_id: int, name: str, number: int) -> Entry | None:
    """It is what is sent from now on, within a second everywhere; again is no error.

    None if the tenant has no such template. Raises UnknownVersion.
    """
    with store.write() as connection:
        row = connection.execute(
            update(template)
            .where(owned(tenant_id, name), template.c.latest >= number)
            .values(published=number)
            .returning(*template.c)
        ).first()
        if row is None:
            there = connection.execute(select(template.c.latest).where(owned(tenant_id, name))).first()
            if there is None:
                return None
            raise UnknownVersion(f"the template has versions 1 to {there.latest}, not {number}")
    return Entry(row.id, row.name, row.published, row.latest, row.created_at)


def remove(store: Store, tenant_id: int, name: str) -> bool:
    """It is gone with its versions; messages made of it are as they were. False if there was none."""
    with store.write() as connection:
        # Locked first: a version added meanwhile would refer to nothing.
        held = update(template).where(owned(tenant_id, name)).values(latest=template.c.latest)
        row = connection.execute(held.returning(template.c.id)).first()
        if row is None:
            return False
        connection.execute(delete(template_version).where(template_version.c.template_id == row.id))
        connection.execute(delete(template).where(template.c.id == row.id))
    return True


def _insert_version(
    connection: Connection, template_id: int, number: int, words: Wording, now: datetime
) -> None:
    connection.execute(
        template_version.insert().values(
            template_id=template_id, number=number, subject=words.subject, text=words.text, html=words.html,
            created_at=now,
        )
    )  # fmt: skip


def _content(connection: Connection, template_id: int, number: int) -> Content | None:
    v = template_version.c
    row = connection.execute(
        select(template_version).where(v.template_id == template_id, v.number == number)
    ).first()
    if row is None:
        return None
    return Content(row.number, row.created_at, Wording(row.subject, row.text, row.html))
