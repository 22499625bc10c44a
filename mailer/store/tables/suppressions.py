"""Who is not sent to, what was heard of them before, and what was stopped for it."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, String, Table, text

from mailer.store.tables.columns import metadata, when
from mailer.store.types import Id

suppression = Table(
    "suppression",
    metadata,
    # Nothing is sent to whom an entry covers. Found by the hash alone, however long the list is.
    Column("key_hash", String(22), primary_key=True),  # mailer/policy/suppressionkey.py
    Column("tenant_id", Id, primary_key=True, autoincrement=False),  # 0: all tenants, by the operator
    Column("stream_id", Id, primary_key=True, autoincrement=False),  # 0: all streams
    Column("id", Id, nullable=False),
    Column("what", String(10), nullable=False),  # address | domain | subdomains (the domain, and all beneath)
    Column("address", String(400)),  # in the form of the key; null: of a domain, or erased
    Column("domain", String(255)),  # A-label; null: erased
    Column("reason", String(20), nullable=False),  # mailer/policy/suppression.py
    Column("cause", String(10), nullable=False),  # reply | report | link | api | import | operator
    Column("recipient_id", Id),  # of whom it was heard; null: nobody
    Column("attempt_id", Id),  # that heard the reply; null: it was no reply
    Column("report_id", Id),  # the returned mail; null: it was none
    Column("site", String(255)),  # that refused or returned; null: none did, or it is not known
    Column("words", String(500)),  # the peer's, or who added it about why; null: none, or erased
    Column("added_by", String(200)),  # an API key's id, or who gave the command; null: what was heard
    when("created_at"),
    when("expires_at", null=True),  # null: never
    Index(None, "tenant_id", "id", unique=True),
    # By prefix, also where the database sorts text by a language.
    Index("ix_suppression_address", "tenant_id", "address", postgresql_ops={"address": "text_pattern_ops"}),
    Index("ix_suppression_domain", "tenant_id", "domain", "id"),
    Index("ix_suppression_site", "site", "created_at", sqlite_where=text("site IS NOT NULL"),
          postgresql_where=text("site IS NOT NULL")),
    Index("ix_suppression_expires", "expires_at", sqlite_where=text("expires_at IS NOT NULL"),
          postgresql_where=text("expires_at IS NOT NULL")),
)  # fmt: skip

suppression_owner = Table(
    "suppression_owner",
    metadata,
    # A tenant that has, or had, an entry; 0: all of them have one. Who is not here is asked for nothing.
    Column("tenant_id", Id, primary_key=True, autoincrement=False),
)

suppression_memory = Table(
    "suppression_memory",
    metadata,
    # What counts when it happens again (mailer/policy/suppression.py). Forgotten after ninety days.
    Column("key_hash", String(22), primary_key=True),
    Column("tenant_id", Id, primary_key=True, autoincrement=False),
    Column("memory", String(20), primary_key=True),  # hard-bounce | mailbox-full | invalid-domain
    Column("count", Integer, nullable=False),
    Column(
        "message_id", Id, nullable=False
    ),  # counted last: a message counts once, however often it is tried
    when("first_at"),
    when("last_at"),
    Index(None, "last_at"),
)

suppressed = Table(
    "suppressed",
    metadata,
    # What an entry stopped, to be sent again if it was wrong; goes with the recipient.
    Column("recipient_id", Id, primary_key=True, autoincrement=False),
    Column("suppression_id", Id, nullable=False),
    Index(None, "suppression_id", "recipient_id"),
)

suppression_task = Table(
    "suppression_task",
    metadata,
    # What the sweeper has to do about entries: stop what waits for their recipients, or send again.
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("kind", String(10), nullable=False),  # stop | again
    Column("tenant_id", Id, nullable=False),  # of the entries
    Column("first_id", Id, nullable=False),  # of the entries; done ones are left out by moving it
    Column("last_id", Id, nullable=False),
    when("created_at"),
    when("due_at"),
    Index(None, "due_at"),
)

suppression_share = Table(
    "suppression_share",
    metadata,
    # How a site answered, hour by hour; each process counts in rows of its own.
    Column("site", String(255), primary_key=True),
    Column("hour", Integer, primary_key=True, autoincrement=False, index=True),  # since 1970, UTC
    Column("process_number", Integer, primary_key=True, autoincrement=False),
    Column("answered", BigInteger, nullable=False),  # recipients
    # Of them, those it said there is no such mailbox of; of those it returned, none that is in use.
    Column("invalid", BigInteger, nullable=False),
)

suppression_storm = Table(
    "suppression_storm",
    metadata,
    # A site that suddenly knows nobody any more: what would be suppressed for it waits for the operator.
    Column("site", String(255), primary_key=True),
    when("since"),
    when("until"),  # then it is believed again; moved on while the share stays high
    Column("answered", BigInteger, nullable=False),  # in the hour that was judged last
    Column("invalid", BigInteger, nullable=False),
    Column("baseline_ppm", Integer, nullable=False),  # the usual share, in millionths
    Column("is_told", Boolean, nullable=False),  # the operator was told, in the log
)

suppression_review = Table(
    "suppression_review",
    metadata,
    # An entry that waits for the operator.
    Column("key_hash", String(22), primary_key=True),
    Column("tenant_id", Id, primary_key=True, autoincrement=False),
    Column("stream_id", Id, primary_key=True, autoincrement=False),
    Column("id", Id, nullable=False),
    Column("what", String(10), nullable=False),
    Column("address", String(400)),  # null: erased
    Column("domain", String(255)),
    Column("reason", String(20), nullable=False),
    Column("cause", String(10), nullable=False),
    Column("recipient_id", Id),
    Column("attempt_id", Id),
    Column("report_id", Id),
    Column("site", String(255), nullable=False),
    Column("words", String(500)),
    when("created_at"),
    when("expires_at", null=True),  # of the entry that it would be
    Index(None, "site", "id"),
)
