"""Whose a mail is that came back: by the address it came to, by a token inside it, or by what many know.

The first two are proofs, since nobody but us makes tokens, and a recipient sees no other's. The third, by the
submitter's envelope id (RFC 3461 §4.4) or the Message-ID, finds what there is to show, and proves nothing:
whoever got the same message knows both and who else got it. It becomes a proof where a provider that the
operator has an agreement with signed the mail.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, select

from mailer import ids
from mailer.compose.verp import TokenKeys
from mailer.ids import MalformedId
from mailer.policy.suppressionkey import canonical
from mailer.queue import returned
from mailer.queue.returned import Claimed, Known
from mailer.report.consequences import folded
from mailer.report.reading import DeliveryReport, FeedbackReport, Reading
from mailer.store.tables import message, recipient, sending_domain

_ADDRESSES = 3  # of those named, that are looked for
_MOST = 50  # newest messages to one address that are looked through


@dataclass(frozen=True, slots=True)
class Match:
    """matched_by: address | content | envelope-id | message-id. is_verified: it proves whose the mail is."""

    known: Known
    matched_by: str
    is_verified: bool


def match(connection: Connection, mail: Claimed, reading: Reading, keys: TokenKeys) -> Match | None:
    """None: nobody's."""
    if mail.token_of is not None:
        known = returned.known(connection, mail.token_of)
        return None if known is None else Match(known, "address", is_verified=True)
    original = getattr(reading, "original", None)
    if original is None:
        return None
    inner = None if original.mailer_ref is None else keys.read(original.mailer_ref)
    if inner is not None:
        known = returned.known(connection, inner)
        if known is not None:
            return Match(known, "content", is_verified=True)
    named = _named(reading)
    if original.envid is not None:
        found = _by_envelope_id(connection, original.envid, named, mail.address)
        if found is not None:
            return Match(found, "envelope-id", is_verified=False)
    if original.message_id is None:
        return None
    found = _by_message_id(connection, original.message_id, named)
    return None if found is None else Match(found, "message-id", is_verified=False)


def _named(reading: Reading) -> list[str]:
    """The addresses that it speaks of, those it is surest of first."""
    named: list[str] = []
    if isinstance(reading, DeliveryReport):
        for one in reading.recipients:
            named += [one.original_address or one.address, one.address]
    if isinstance(reading, FeedbackReport):
        named += reading.recipients
    original = getattr(reading, "original", None)
    named += original.recipients if original is not None else ()
    return list(dict.fromkeys(named))


def _by_envelope_id(connection: Connection, envid: str, named: list[str], came_to: str) -> Known | None:
    """A submitter made it, and only the tenant that the mail came to may have: looked for among the newest
    to the addresses, of which it means the one whose envelope had it."""
    tenant_id = _tenant_of(connection, came_to.rpartition("@")[2].lower())
    if tenant_id is None:
        return None
    return _of_newest(connection, tenant_id, named, message.c.envid == envid)


def _by_message_id(connection: Connection, message_id: str, named: list[str]) -> Known | None:
    """A Message-ID of ours says which message; one that a submitter made is looked for among the newest to
    the addresses, of the tenant whose domain it names."""
    ours = _own_message(message_id)
    if ours is not None:
        return _recipient_of(connection, ours, named)
    tenant_id = _tenant_of(connection, message_id.rpartition("@")[2].lower())
    if tenant_id is None:
        return None
    return _of_newest(connection, tenant_id, named, message.c.rfc_message_id == f"<{message_id}>")


def _of_newest(
    connection: Connection, tenant_id: int, named: list[str], is_meant: ColumnElement[bool]
) -> Known | None:
    """The tenant's newest recipient of one of the addresses whose message is meant."""
    for address in named[:_ADDRESSES]:
        for spelling in dict.fromkeys((address, canonical(address))):
            found = _among_newest(connection, tenant_id, spelling, is_meant)
            if found is not None:
                return returned.known(connection, found)
    return None


def _among_newest(
    connection: Connection, tenant_id: int, address: str, is_meant: ColumnElement[bool]
) -> int | None:
    """The recipient among the newest to the address whose message is meant."""
    # Chosen before their messages are looked at: in a join of all, PostgreSQL may walk every message from the
    # newest on until it meets one to the address, which may get none any more.
    newest = (
        select(recipient.c.id, recipient.c.message_id)
        .where(recipient.c.tenant_id == tenant_id, recipient.c.address == address)
        .order_by(recipient.c.message_id.desc())
        .limit(_MOST)
        .subquery()
    )
    wanted = (
        select(newest.c.id)
        .join(message, message.c.id == newest.c.message_id)
        .where(is_meant)
        .order_by(newest.c.message_id.desc())
    )
    return connection.execute(wanted.limit(1)).scalar()


def _own_message(message_id: str) -> int | None:
    try:
        return ids.parse("msg", message_id.partition("@")[0])
    except MalformedId:
        return None


def _recipient_of(connection: Connection, message_id: int, named: list[str]) -> Known | None:
    rows = connection.execute(
        select(recipient.c.id, recipient.c.address, recipient.c.orcpt)
        .where(recipient.c.message_id == message_id)
        .limit(1000)
    ).all()
    wanted = {folded(address) for address in named}
    mine = [row.id for row in rows if wanted & _names_of(row)]
    if len(rows) == 1 and not wanted:
        mine = [rows[0].id]  # the address was redacted, and there is no other
    return returned.known(connection, mine[0]) if len(mine) == 1 else None


def _names_of(row: Any) -> set[str]:
    """Of a recipient: its address, and the one that its submitter had it from (RFC 3461 §4.2)."""
    original = (row.orcpt or "").partition(";")[2]
    return {folded(address) for address in (row.address, original) if address}


def _tenant_of(connection: Connection, domain: str) -> int | None:
    """Of a sending domain, or a host in one."""
    labels = domain.split(".")
    names = [".".join(labels[i:]) for i in range(len(labels) - 1)][:8]
    if not names:
        return None
    owners = select(sending_domain.c.name, sending_domain.c.tenant_id).where(sending_domain.c.name.in_(names))
    found = {name: tenant_id for name, tenant_id in connection.execute(owners)}
    return next((found[name] for name in names if name in found), None)
