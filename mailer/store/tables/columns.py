"""What all tables share: their metadata, and how ids and instants are declared."""

from __future__ import annotations

from sqlalchemy import Column, MetaData

from mailer.store.types import Id, Instant

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def own_id() -> Column[int]:
    return Column("id", Id, primary_key=True, autoincrement=False)


def when(name: str, *, null: bool = False) -> Column[object]:
    return Column(name, Instant, nullable=null)
