"""How a report came, what of it is known already, and how much of one day is kept."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, Table, delete, func, select

from mailer.ids import first_id_at
from mailer.store import dialect

_NOBODY = ""
MOST_A_DAY = 5_000  # reports of one kind about one domain


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """via: by what door.

    signed_by  domain whose DKIM signature held on the mail that brought it; None: nobody's word
    raw_id     of the mail, while it is kept; None: it came by HTTP
    """

    via: Literal["mail", "http"]
    signed_by: str | None = None
    raw_id: int | None = None

    def columns(self, now: datetime) -> dict[str, Any]:
        return {
            "via": self.via,
            "signed_by": self.signed_by or _NOBODY,
            "raw_id": self.raw_id,
            "received_at": now,
        }


def key_of(*names: object) -> str:
    """One text for what names a report, however long its names are."""
    octets = "\0".join(str(name) for name in names).encode("utf-8", "replace")
    return base64.b64encode(hashlib.sha256(octets).digest()).decode()


def is_new(connection: Connection, table: Table, row: dict[str, Any], *parts: Table, now: datetime) -> bool:
    """Inserts the row; false if the domain has this report already, or got too many today.

    parts: tables of what belongs to a row, by report_id
    """
    known = select(table.c.id, table.c.signed_by).where(
        table.c.domain_id == row["domain_id"], table.c.report_key == row["report_key"]
    )
    signers = {signed_by: number for number, signed_by in connection.execute(known)}
    if (signers and not row["signed_by"]) or row["signed_by"] in signers:
        return False
    if _of_today(connection, table, row["domain_id"], now) >= MOST_A_DAY:
        return False
    if _NOBODY in signers:
        for part in parts:
            connection.execute(delete(part).where(part.c.report_id == signers[_NOBODY]))
        connection.execute(delete(table).where(table.c.id == signers[_NOBODY]))
    new = dialect.insert(connection, table).values(row).on_conflict_do_nothing()
    return connection.execute(new.returning(table.c.id)).first() is not None


def _of_today(connection: Connection, table: Table, domain_id: int, now: datetime) -> int:
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    counted = (
        select(func.count())
        .select_from(table)
        .where(table.c.domain_id == domain_id, table.c.id >= first_id_at(_ms(today)))
    )
    return connection.execute(counted).scalar_one()


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)
