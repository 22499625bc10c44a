"""Rules for mailbox providers that were set by the API or a command; they lie over those of the files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, select

from mailer.store import Store, dialect
from mailer.store.tables import provider_rule

Values = Mapping[str, Any]  # as a section [provider.NAME] has them (policy/sites.py)
OwnRules = Mapping[str, Values]  # by name
Check = Callable[[OwnRules], object]


def all_of(store: Store) -> OwnRules:
    """Raises StoreUnavailable."""
    with store.read() as connection:
        return _all(connection)


def put(store: Store, name: str, values: Values, *, check: Check, now: datetime) -> None:
    """In place of what was set by this name. check: raises what is wrong with all of them together."""
    with store.write() as connection:
        dialect.one_at_a_time(connection)
        check({**_all(connection), name: values})
        new = dialect.insert(connection, provider_rule).values(name=name, rule=dict(values), changed_at=now)
        connection.execute(
            new.on_conflict_do_update(
                index_elements=["name"],
                set_={"rule": new.excluded.rule, "changed_at": new.excluded.changed_at},
            )
        )


def remove(store: Store, name: str, *, check: Check) -> Values | None:
    """What it said; None: none is set by this name. check: as for `put`, of those that are left."""
    with store.write() as connection:
        dialect.one_at_a_time(connection)
        left = dict(_all(connection))
        removed = left.pop(name, None)
        if removed is None:
            return None
        check(left)
        connection.execute(delete(provider_rule).where(provider_rule.c.name == name))
        return removed


def _all(connection: Connection) -> OwnRules:
    wanted = select(provider_rule.c.name, provider_rule.c.rule).order_by(provider_rule.c.name)
    return {name: rule for name, rule in connection.execute(wanted)}
