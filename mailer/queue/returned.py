"""Mail that came back: kept before it is answered for, read once, by one reader at a time.

A reader claims in one transaction and settles in another, which also carries what follows from the mail. A
reader that dies leaves its claim to the next; what it had settled stays, what it had not is read again. Mail
that three readers did not get through, because it kills whoever reads it, is set aside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, literal_column, or_, select, update

from mailer.ids import first_id_at
from mailer.queue.incarnations import hold_live
from mailer.store import Store
from mailer.store.tables import (
    feedback,
    incarnation,
    lane,
    message,
    past_recipient,
    recipient,
    returned_content,
    returned_mail,
    sending_domain,
)

MOST_CLAIMS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """One address that a mail came to.

    kind          what the address is for
    token_of      the recipient whose token it bears; None: it bears none
    reverse_path  empty: the null one
    peer          IP address that it came from
    """

    id: int
    kind: str
    address: str
    token_of: int | None
    reverse_path: str
    peer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A mail that this reader holds."""

    id: int
    kind: str
    address: str
    token_of: int | None
    reverse_path: str
    received_at: datetime
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A recipient of ours, whose message may be gone.

    settled_at  None: it is still under way
    version     of its last event
    """

    id: int
    message_id: int
    tenant_id: int
    stream_id: int
    address: str
    return_path_domain: str
    version: int
    settled_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What a mail was found to mean.

    matched_by  address | content | envelope-id | message-id; None: it is nobody's
    findings    what it says and what followed, for people
    is_failed   our reader did not get through it
    """

    bounce_class: str
    matched_by: str | None
    is_verified: bool
    findings: Mapping[str, Any]
    is_failed: bool = False
    tenant_id: int | None = None
    message_id: int | None = None
    recipient_id: int | None = None


# ---- at the door ---------------------------------------------------------------------------------------


def known(connection: Connection, recipient_id: int) -> Known | None:
    """By its id, one index look-up; of one whose message was dropped what stayed. None: there is none."""
    here = (
        select(
            recipient.c.id, recipient.c.message_id, recipient.c.tenant_id, lane.c.stream_id,
            recipient.c.address, message.c.return_path_domain, recipient.c.version, recipient.c.settled_at,
        )
        .join(message, message.c.id == recipient.c.message_id)
        .join(lane, lane.c.id == recipient.c.lane_id)
        .where(recipient.c.id == recipient_id)
    )  # fmt: skip
    row = connection.execute(here).first()
    if row is None:
        row = connection.execute(select(past_recipient).where(past_recipient.c.id == recipient_id)).first()
    return None if row is None else Known(**row._mapping)


def takes_reports(connection: Connection, domain: str) -> bool:
    """Whether it is the host of our reverse-paths for some sending domain that is in use."""
    ours = select(sending_domain.c.id).where(
        sending_domain.c.return_path_domain == domain, sending_domain.c.state == "active"
    )
    return connection.execute(ours.limit(1)).first() is not None


def has_return_path(connection: Connection, domain: str) -> bool:
    """Whether it is the host of our reverse-paths for some sending domain, also for one that was revoked."""
    ours = select(sending_domain.c.id).where(sending_domain.c.return_path_domain == domain)
    return connection.execute(ours.limit(1)).first() is not None


def serves(connection: Connection, domain: str) -> bool:
    """Whether it is a sending domain that is in use, or takes what comes back for one."""
    ours = select(sending_domain.c.id).where(
        or_(sending_domain.c.name == domain, sending_domain.c.return_path_domain == domain),
        sending_domain.c.state == "active",
    )
    return connection.execute(ours.limit(1)).first() is not None


def keep(
    store: Store, content_id: int, content: bytes, addresses: Sequence[Arrived], *, now: datetime
) -> None:
    """On disk when this returns: the mail may be answered for. Raises StoreUnavailable."""
    rows = [
        {
            "id": one.id, "content_id": content_id, "kind": one.kind, "address": one.address,
            "token_of": one.token_of, "reverse_path": one.reverse_path, "peer": one.peer,
            "size_bytes": len(content), "received_at": now, "state": "new", "claims": 0,
        }
        for one in addresses
    ]  # fmt: skip
    with store.write() as connection:
        connection.execute(returned_content.insert().values(id=content_id, content=content))
        connection.execute(returned_mail.insert(), rows)


# ---- readers -------------------------------------------------------------------------------------------

_IS_NEW = returned_mail.c.state == literal_column("'new'")
_IS_HELD = returned_mail.c.state == literal_column("'held'")


def claim(store: Store, me: int, *, most: int, now: datetime) -> list[Claimed]:
    """The oldest that nobody reads, now held by `me`. Raises Fenced, StoreUnavailable.

    What was claimed too often is set aside instead.
    """
    with store.read() as connection:
        if connection.execute(select(returned_mail.c.id).where(_IS_NEW).limit(1)).first() is None:
            return []
    waiting = (
        select(returned_mail.c.id, returned_mail.c.claims)
        .where(_IS_NEW)
        .order_by(returned_mail.c.id)
        .limit(most)
        .with_for_update(skip_locked=True)
    )
    with store.write() as connection:
        hold_live(connection, me)
        found = _together(connection.execute(waiting).all())
        bad = [row.id for row in found if row.claims >= MOST_CLAIMS]
        good = [row.id for row in found if row.claims < MOST_CLAIMS]
        if bad:
            gone = update(returned_mail).where(returned_mail.c.id.in_(bad), _IS_NEW)
            findings = {"why": f"{MOST_CLAIMS} readers did not come to its end"}
            values = {"state": "failed", "class": "undetermined", "is_verified": False, "read_at": now}
            connection.execute(gone.values(**values, findings=findings))
        if good:
            taken = update(returned_mail).where(returned_mail.c.id.in_(good), _IS_NEW)
            connection.execute(taken.values(state="held", holder=me, claims=returned_mail.c.claims + 1))
        return _contents(connection, good)


def _together(rows: Sequence[Any]) -> Sequence[Any]:
    """What a reader takes at once: one that a reader died with comes alone, and takes no other with it."""
    if rows and rows[0].claims:
        return rows[:1]
    return [row for row in rows if not row.claims]


def _contents(connection: Connection, ids: Sequence[int]) -> list[Claimed]:
    if not ids:
        return []
    c = returned_mail.c
    mine = (
        select(c.id, c.kind, c.address, c.token_of, c.reverse_path, c.received_at, returned_content.c.content)
        .join(returned_content, returned_content.c.id == c.content_id)
        .where(c.id.in_(ids))
        .order_by(c.id)
    )
    return [Claimed(**row._mapping) for row in connection.execute(mine)]


def settle(connection: Connection, me: int, mail_id: int, meaning: Meaning, *, now: datetime) -> bool:
    """In the transaction that carries what follows; False: another has it by now, and nothing may follow.

    Raises Fenced.
    """
    hold_live(connection, me)
    mine = update(returned_mail).where(returned_mail.c.id == mail_id, _IS_HELD, returned_mail.c.holder == me)
    values = {
        "state": "failed" if meaning.is_failed else "read",
        "holder": None,
        "class": meaning.bounce_class,
        "matched_by": meaning.matched_by,
        "is_verified": meaning.is_verified,
        "tenant_id": meaning.tenant_id,
        "message_id": meaning.message_id,
        "recipient_id": meaning.recipient_id,
        "findings": dict(meaning.findings),
        "read_at": now,
    }
    return connection.execute(mine.values(values)).rowcount > 0


def let_go(store: Store, me: int) -> int:
    """What `me` holds is for others; how many."""
    mine = update(returned_mail).where(_IS_HELD, returned_mail.c.holder == me)
    with store.write() as connection:
        # Given back in order: it killed nobody.
        back = mine.values(state="new", holder=None, claims=returned_mail.c.claims - 1)
        return connection.execute(back).rowcount


def release_of_dead(store: Store) -> int:
    """What readers held that were fenced or ended is for others; how many."""
    live = select(incarnation.c.id).where(
        incarnation.c.id == returned_mail.c.holder, incarnation.c.state == "live"
    )
    orphans = (_IS_HELD, ~live.exists())
    with store.read() as connection:
        if connection.execute(select(returned_mail.c.id).where(*orphans).limit(1)).first() is None:
            return 0
    with store.write() as connection:
        freed = update(returned_mail).where(*orphans)
        return connection.execute(freed.values(state="new", holder=None)).rowcount


# ---- retention -----------------------------------------------------------------------------------------


def forget(store: Store, *, before: datetime, most: int = 200) -> int:
    """Drops what was read and came before then; returns how many."""
    old = (
        select(returned_mail.c.id, returned_mail.c.content_id)
        .where(returned_mail.c.state.in_(("read", "failed")), returned_mail.c.received_at < before)
        .order_by(returned_mail.c.id)
        .limit(most)
    )
    with store.read() as connection:
        rows = connection.execute(old).all()
    if not rows:
        return 0
    with store.write() as connection:
        connection.execute(delete(returned_mail).where(returned_mail.c.id.in_([row.id for row in rows])))
        shared = select(returned_mail.c.id).where(returned_mail.c.content_id == returned_content.c.id)
        contents = [row.content_id for row in rows]
        connection.execute(
            delete(returned_content).where(returned_content.c.id.in_(contents), ~shared.exists())
        )
    return len(rows)


def forget_past(store: Store, *, now: datetime, after: timedelta, most: int = 1000) -> int:
    """Drops what stayed of recipients that were settled so long ago; returns how many."""
    before = now - after
    # Whoever was settled before was accepted before: by its id an index finds it.
    made_before = past_recipient.c.id < first_id_at(int(before.timestamp() * 1000))
    old = select(past_recipient.c.id).where(made_before, past_recipient.c.settled_at < before).limit(most)
    with store.read() as connection:
        ids = list(connection.execute(old).scalars())
    if not ids:
        return 0
    with store.write() as connection:
        connection.execute(delete(feedback).where(feedback.c.recipient_id.in_(ids)))
        return connection.execute(delete(past_recipient).where(past_recipient.c.id.in_(ids))).rowcount
