"""What came back, for those who look: a tenant sees what is its own, the operator all of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select

from mailer.store import Store
from mailer.store.tables import returned_content, returned_mail, suppression_review


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """One mail that came to one address of ours; columns of `returned_mail`.

    state         new (not read yet), read, failed (it cannot be read)
    bounce_class  null until it was read
    findings      what it says and what followed: form, event, why, passed_on, report
    """

    id: int
    received_at: datetime
    kind: str
    address: str
    reverse_path: str
    peer: str
    size_bytes: int
    state: str
    bounce_class: str | None
    matched_by: str | None
    is_verified: bool | None
    message_id: int | None
    recipient_id: int | None
    findings: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which of them; all that is said must be met. tenant_id: None: anybody's, for the operator."""

    tenant_id: int | None
    kind: str | None = None
    bounce_class: str | None = None
    is_verified: bool | None = None
    state: str | None = None
    before: int | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True)
class Waiting:
    """unread: mails that came back. under_review: entries that a storm held up."""

    unread: int
    under_review: int


def waiting(store: Store) -> Waiting:
    """How much waits; both are few but in trouble, and found by partial indexes or in a small table."""
    unread = select(func.count()).where(returned_mail.c.state.in_(("new", "held")))
    reviews = select(func.count()).select_from(suppression_review)
    with store.read() as connection:
        return Waiting(connection.execute(unread).scalar_one(), connection.execute(reviews).scalar_one())


def page(store: Store, wanted: Wanted) -> list[Returned]:
    """Newest first."""
    c = returned_mail.c
    said = {
        c.tenant_id: wanted.tenant_id, c.kind: wanted.kind, c["class"]: wanted.bounce_class,
        c.is_verified: wanted.is_verified, c.state: wanted.state,
    }  # fmt: skip
    found = select(returned_mail).where(
        *(column == value for column, value in said.items() if value is not None)
    )
    if wanted.before is not None:
        found = found.where(c.id < wanted.before)
    with store.read() as connection:
        rows = connection.execute(found.order_by(c.id.desc()).limit(wanted.limit)).all()
    return [_shown(row) for row in rows]


def get(store: Store, tenant_id: int | None, returned_id: int) -> Returned | None:
    """tenant_id: None: anybody's."""
    with store.read() as connection:
        row = connection.execute(_one(tenant_id, returned_id)).first()
    return None if row is None else _shown(row)


def content(store: Store, tenant_id: int | None, returned_id: int) -> bytes | None:
    """As it came, under our trace fields. None: there is none."""
    with store.read() as connection:
        row = connection.execute(_one(tenant_id, returned_id)).first()
        if row is None:
            return None
        mine = select(returned_content.c.content).where(returned_content.c.id == row.content_id)
        return bytes(connection.execute(mine).scalar_one())


def _one(tenant_id: int | None, returned_id: int) -> Any:
    found = select(returned_mail).where(returned_mail.c.id == returned_id)
    return found if tenant_id is None else found.where(returned_mail.c.tenant_id == tenant_id)


def _shown(row: Any) -> Returned:
    values = row._mapping
    same = {name: values[name] for name in Returned.__slots__ if name in values and name != "findings"}
    state = "new" if row.state == "held" else row.state
    return Returned(
        **{**same, "state": state}, bounce_class=values["class"], findings=dict(row.findings or {})
    )
