"""The only code that knows a database: tables, types, engines, and what differs between them.

Two engines run the same statements. SQLite is the embedded default, PostgreSQL the one to grow on;
every difference stands in dialect.py, and how SQLite's commits come to the disk in disklog.py.
`Store.write()` is one durable transaction, `Store.read()` one consistent snapshot; no session state
outlives either, so a transaction pooler may stand in between.

Hot tables (message, content, recipient, attempt, event) carry no foreign keys: a key check on every
insert would lock parents that all doors share. `mailer verify` checks the references instead.

Instants are stored as whole microseconds since 1970 (BIGINT) and JSON as text, alike on both engines:
one meaning, no driver conversions on the hot path.
"""

from mailer.store.engine import CommitUnknown, Store, StoreUnavailable

__all__ = ["CommitUnknown", "Store", "StoreUnavailable"]
