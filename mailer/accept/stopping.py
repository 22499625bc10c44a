"""Who of a group's recipients gets nothing, decided in the transaction that accepts them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection

from mailer.accept.admission import Admitted
from mailer.policy.suppression import is_role
from mailer.policy.suppressionkey import Keys
from mailer.queue import suppressing
from mailer.queue.enqueue import NewMessage
from mailer.queue.suppressing import ROLE_ACCOUNT, Asked, Stop


def stopped_of(
    connection: Connection,
    keys: Keys,
    messages: Sequence[NewMessage],
    admitted: Mapping[int, Admitted],
    now: datetime,
) -> dict[int, Stop]:
    """By recipient's id. One look-up for all whose tenants have lists; none if none has.

    admitted: by message's id
    """
    asked = [
        Asked(r.id, m.tenant_id, m.stream_id, r.address)
        for m in messages
        if admitted[m.id].has_suppressions
        for r in m.recipients
    ]
    roles = {
        r.id: ROLE_ACCOUNT
        for m in messages
        if not admitted[m.id].takes_roles
        for r in m.recipients
        if is_role(r.address.rpartition("@")[0])
    }
    return roles | suppressing.stops(connection, keys, asked, now=now)
