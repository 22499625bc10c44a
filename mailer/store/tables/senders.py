"""Who may send, and what they write once and use often."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)

from mailer.store.tables.columns import metadata, own_id, when
from mailer.store.types import Id, Json

tenant = Table(
    "tenant",
    metadata,
    own_id(),
    Column("name", String(200), nullable=False, unique=True),
    Column("state", String(20), nullable=False),  # active | suspended (nothing is accepted)
    # What its SMTP submitters hear of failures: dsn (RFC 3464 mail to the reverse-path) | events (only those)
    Column("failure_notices", String(10), nullable=False, server_default="dsn"),
    when("created_at"),
)

stream = Table(
    "stream",
    metadata,
    own_id(),
    Column("tenant_id", Id, ForeignKey("tenant.id"), nullable=False),
    Column("name", String(100), nullable=False),
    Column("kind", String(20), nullable=False),  # transactional | broadcast
    Column("in_doubt", String(20), nullable=False),  # retry | give-up: what follows an unheard final dot
    Column("state", String(10), nullable=False, server_default="active"),  # active | archived
    Column("tls", String(10)),  # encrypted | required: what its mail wants of TLS; null: what domains demand
    Column("expires_after", Integer),  # seconds that its mail is of use; null: as long as it is retried
    # refuse: no message may bring List-Unsubscribe fields of its own; null: one that does keeps them
    Column("own_unsubscribe", String(10)),
    # Broadcast mail goes to addresses of tasks (RFC 2142), too; of a transactional stream it always does
    Column("role_accounts", Boolean, nullable=False, server_default=false()),
    when("created_at"),
    UniqueConstraint("tenant_id", "name"),
)

sending_domain = Table(
    "sending_domain",
    metadata,
    own_id(),
    Column("tenant_id", Id, ForeignKey("tenant.id"), nullable=False),
    Column("name", String(255), nullable=False, unique=True),  # A-label, lower case
    Column("return_path_domain", String(255), nullable=False),  # host of our reverse-paths
    Column("state", String(20), nullable=False),  # active | revoked
    when("created_at"),
    Index(None, "return_path_domain"),
)

dkim_key = Table(
    "dkim_key",
    metadata,
    own_id(),
    Column("domain_id", Id, ForeignKey("sending_domain.id"), nullable=False),
    Column("selector", String(63), nullable=False),
    Column("algorithm", String(20), nullable=False),  # rsa-sha256 | ed25519-sha256
    Column("private_key", LargeBinary, nullable=False),  # PEM, encrypted with the installation's secret
    Column("public_key", Text, nullable=False),  # base64 as published in p= (RFC 6376 §3.6.1)
    Column("state", String(20), nullable=False),  # active | retired
    when("created_at"),
    UniqueConstraint("domain_id", "selector"),
)

api_key = Table(
    "api_key",
    metadata,
    own_id(),
    Column("tenant_id", Id, ForeignKey("tenant.id"), nullable=False),
    Column("name", String(200), nullable=False),
    Column("secret_hash", LargeBinary, nullable=False),  # SHA-256 of the 256-bit secret
    Column("scopes", Json, nullable=False),  # list of scope words
    Column("streams", Json),  # names of the only streams it may send to; null: any
    Column("domains", Json),  # the only sending domains it may send from, A-labels; null: any
    when("created_at"),
    when("expires_at", null=True),  # null: never
    when("revoked_at", null=True),  # null: still good
)

template = Table(
    "template",
    metadata,
    own_id(),
    Column("tenant_id", Id, ForeignKey("tenant.id"), nullable=False),
    Column("name", String(100), nullable=False),
    Column("published", Integer),  # the version that is sent when none is named; null: none yet
    Column("latest", Integer, nullable=False),  # the highest version there is
    when("created_at"),
    UniqueConstraint("tenant_id", "name"),
)

template_version = Table(
    "template_version",
    metadata,
    # Never changed once written: a message can be traced to the words it was made of.
    Column("template_id", Id, ForeignKey("template.id"), primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),  # 1, 2, ...
    Column("subject", Text, nullable=False),
    Column("text", Text),  # null: made from the HTML
    Column("html", Text),  # null: text only
    when("created_at"),
)
