"""How fast sites take mail and which streams they dislike, and what the operator says of them."""

from __future__ import annotations

from sqlalchemy import Column, Float, Index, Integer, String, Table, Text

from mailer.store.tables.columns import metadata, when
from mailer.store.types import Id, Json

pace = Table(
    "pace",
    metadata,
    Column("egress_ip", String(45), primary_key=True),  # "" where the system chooses
    Column("site", String(400), primary_key=True),  # a site that is free has no row
    Column("state", String(12), nullable=False),  # slowed | suspended | probing (mailer/policy/pace.py)
    Column("rate", Float),  # messages an hour; null: unlimited
    Column("connections", Integer),  # at a time, over all workers; null: as the site's rule has it
    when("suspended_until", null=True),  # then one message asks; null unless suspended or probing
    when("probe_until", null=True),  # then another may; null unless probing
    Column("reason", Text),  # the peer's words; null: never troubled, some rule only counts
    Column("rule", String(60)),  # null: no rule, the learner's own finding
    Column("place", String(255)),  # file and line of the rule; null without one
    when("since", null=True),  # of the state
    when("changed_at"),
    Column("learned", Json, nullable=False),  # the whole record (mailer/policy/governor.py)
)

provider_rule = Table(
    "provider_rule",
    metadata,
    # The operator's rules for mailbox providers beside those of the files, which they lie over.
    Column("name", String(60), primary_key=True),  # of the provider, or "default"
    Column("rule", Json, nullable=False),  # as a section of mailer/policy/data/sites.toml
    when("changed_at"),
)

stream_pace = Table(
    "stream_pace",
    metadata,
    Column("tenant_id", Id, primary_key=True, autoincrement=False),
    Column("stream_id", Id, primary_key=True, autoincrement=False),
    Column("site", String(400), primary_key=True),
    when("held_until", null=True),  # null: not held
    Column("rate", Float),  # messages an hour at `rated_at`, twice as many each hour; null: unlimited
    when("rated_at", null=True),
    Column("reason", Text),
    Column("rule", String(60)),
    Column("place", String(255)),
    when("since", null=True),
    when("changed_at"),
    Column("learned", Json, nullable=False),
)

greylist_habit = Table(
    "greylist_habit",
    metadata,
    # What a site's greylisting takes, learnt from recipients that came again (mailer/policy/greylisting.py).
    Column("site", String(255), primary_key=True),
    Column("passes_after_seconds", Float, nullable=False),  # after its first refusal a recipient passed
    Column("refuses_until_seconds", Float, nullable=False),  # one was still refused; 0: nobody came sooner
    when("refused_at", null=True),  # when that was seen last; null: never
    when("used_at"),  # when something was learnt last, or (once a day) a recipient greylisted there
    Index("ix_greylist_habit_used_at", "used_at"),
)

greylisted = Table(
    "greylisted",
    metadata,
    # A recipient that a site greylisted; no row: none did.
    Column("recipient_id", Id, primary_key=True, autoincrement=False),
    Column("site", String(255), nullable=False),
    when("first_at"),
    when("last_at"),
)
