"""The statements that find a lane's due recipients: whole lanes, without what is held, and by IP.

A row is as `Claimed` is made of (claim.py); by IP it has a stay's columns behind. Instants come as
microseconds, SQLite's booleans as numbers. Rows are locked, and those that somebody else locked left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, case, literal_column, or_, select

from mailer.store import dialect
from mailer.store.bare import Hot, bare
from mailer.store.tables import egress_stay, lane, message, recipient, stream

Row = Sequence[Any]


@dataclass(frozen=True, slots=True)
class But:
    """What of a lane is not to be claimed: ids of messages, and of recipients."""

    messages: Sequence[int] = ()
    recipients: Sequence[int] = ()


NOTHING = But()

_RECIPIENT, _MESSAGE, _LANE, _STREAM = bare(recipient), bare(message), bare(lane), bare(stream)
_STAY = bare(egress_stay)
_DUE_IN_LANE = (
    select(
        _RECIPIENT.c.id,
        _RECIPIENT.c.message_id,
        _RECIPIENT.c.tenant_id,
        _RECIPIENT.c.lane_id,
        _LANE.c.domain,
        _RECIPIENT.c.address,
        _RECIPIENT.c.attempts,
        _RECIPIENT.c.version,
        _RECIPIENT.c.first_due_at,
        _RECIPIENT.c.expires_at,
        _RECIPIENT.c.size_bytes,
        _RECIPIENT.c.in_doubt,
        _MESSAGE.c.content_id,
        _MESSAGE.c.domain_id,
        _MESSAGE.c.return_path_domain,
        _STREAM.c.in_doubt,
        _STREAM.c.kind,
        _RECIPIENT.c.notify,
        _RECIPIENT.c.orcpt,
        _MESSAGE.c.ret,
        _MESSAGE.c.envid,
        _MESSAGE.c.tls,
        _STREAM.c.tls,
        _LANE.c.stream_id,
        _LANE.c.pool_id,
        _MESSAGE.c.unsubscribe,
        _MESSAGE.c.stream_id,
    )
    .join(_MESSAGE, _MESSAGE.c.id == _RECIPIENT.c.message_id)
    .join(_LANE, _LANE.c.id == _RECIPIENT.c.lane_id)
    .join(_STREAM, _STREAM.c.id == _LANE.c.stream_id)
    .where(
        _RECIPIENT.c.state == literal_column("'queued'"),
        _RECIPIENT.c.lane_id == bindparam("lane"),
        or_(_RECIPIENT.c.expires_at.is_(None), _RECIPIENT.c.expires_at > bindparam("now")),
    )
    .order_by(_RECIPIENT.c.id)
    .limit(bindparam("quota"))
    .with_for_update(of=_RECIPIENT, skip_locked=True)
)
_DUE_OF_LANE = Hot(_DUE_IN_LANE)
_BUT = (
    ~dialect.OneOf(_RECIPIENT.c.message_id, "but_messages"),
    ~dialect.OneOf(_RECIPIENT.c.id, "but_rows"),
)
_DUE_BUT = Hot(_DUE_IN_LANE.where(*_BUT))

# What a stay asks for as one number, so that one list says what has no room.
_KEY = case(
    (_STAY.c.egress_id.is_(None), literal_column("0")),
    (_STAY.c.is_pinned, _STAY.c.egress_id),
    else_=-_STAY.c.egress_id,
)
_DUE_BY_IP = Hot(
    _DUE_IN_LANE.add_columns(_STAY.c.egress_id, _STAY.c.is_pinned, _STAY.c.is_changed)
    .outerjoin(_STAY, _STAY.c.recipient_id == _RECIPIENT.c.id)
    .where(*_BUT, ~dialect.OneOf(_KEY, "shut"))
)


def in_lane(connection: Connection, wanted: Mapping[str, Any], but: But | None) -> Sequence[Row]:
    """wanted: lane, quota, now."""
    if not but:
        return _DUE_OF_LANE.rows(connection, wanted)
    return _DUE_BUT.rows(connection, {**wanted, **_left_out(connection, but)})


def by_ip(
    connection: Connection, wanted: Mapping[str, Any], but: But, *, shut: Sequence[int]
) -> Sequence[Row]:
    """With what each row's last try means for its IP.

    shut  of which rows there is no room now: 0: those that may leave from any IP; an egress id: those that
          must leave from it; less than 0: those that must leave from another than that
    """
    left = _left_out(connection, but)
    return _DUE_BY_IP.rows(connection, {**wanted, **left, "shut": dialect.listed(connection, shut)})


def _left_out(connection: Connection, but: But) -> Mapping[str, Any]:
    return {
        "but_messages": dialect.listed(connection, but.messages),
        "but_rows": dialect.listed(connection, but.recipients),
    }
