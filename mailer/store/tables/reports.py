"""What receivers report about mail of our domains; nothing in it decides anything.

Of every report: `signed_by` is the domain whose DKIM signature held on the mail that brought it, empty where
none did, or where it came by HTTP; `via` is mail | http; `raw_id` names the mail itself while that is kept.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    UniqueConstraint,
)

from mailer.store.tables.columns import metadata, own_id, when
from mailer.store.types import Id, Json


def _whose() -> list[Column[object]]:
    return [
        Column("tenant_id", Id, ForeignKey("tenant.id"), nullable=False),
        Column("domain_id", Id, ForeignKey("sending_domain.id"), nullable=False),
    ]


def _how_it_came() -> list[Column[object]]:
    return [
        Column("via", String(10), nullable=False),
        Column("signed_by", String(255), nullable=False),
        Column("raw_id", Id),
        when("received_at"),
    ]


def _reported() -> list[Column[object]]:
    """What aggregate and TLS reports begin with."""
    return [
        Column("organization", String(200), nullable=False),  # in their words
        Column("contact", String(320), nullable=False),  # empty: none given
        Column("report_id", String(500), nullable=False),  # theirs
        # base64 of a SHA-256 over organization and report_id: the same one of a signer comes once
        Column("report_key", String(44), nullable=False),
        when("begins_at"),  # of the time it tells of, as for the next
        when("ends_at"),
    ]


dmarc_report = Table(
    "dmarc_report",
    metadata,
    # The part of an aggregate report that speaks of one sending domain.
    own_id(),
    *_whose(),
    *_reported(),
    Column("policy", Json, nullable=False),  # object: as it was published for the domain that was reported on
    Column("messages", BigInteger, nullable=False),  # of its records
    Column("aligned", BigInteger, nullable=False),  # of these, that passed DMARC
    Column("records", Integer, nullable=False),
    Column("unreadable", Integer, nullable=False),  # records left out
    *_how_it_came(),
    UniqueConstraint("domain_id", "report_key", "signed_by"),
    Index(None, "domain_id", "id"),
    Index(None, "received_at"),
)

dmarc_record = Table(
    "dmarc_record",
    metadata,
    # Messages that were seen alike.
    Column("report_id", Id, ForeignKey("dmarc_report.id"), primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),  # 0, 1, ...
    Column("domain_id", Id, nullable=False),
    when("begins_at"),  # of the report
    Column("source_ip", String(45), nullable=False),  # empty: it was no address
    Column("messages", BigInteger, nullable=False),
    Column("disposition", String(10), nullable=False),  # none | quarantine | reject | pass; empty: other
    Column("dkim_aligned", Boolean, nullable=False),
    Column("spf_aligned", Boolean, nullable=False),
    Column("header_from", String(255), nullable=False),  # domain; empty: not said, as for the next two
    Column("envelope_from", String(255), nullable=False),
    Column("envelope_to", String(255), nullable=False),
    Column("details", Json, nullable=False),  # object: reasons, dkim, spf: lists of objects
    Index(None, "domain_id", "begins_at"),
)

dmarc_failure = Table(
    "dmarc_failure",
    metadata,
    # A message that failed DMARC somewhere. Texts: empty where not said.
    own_id(),
    *_whose(),
    Column("stream_id", Id),  # null: the message is not known here
    Column("message_id", Id),  # of ours; null: not known
    Column("report_key", String(44), nullable=False),  # base64 of a SHA-256 over what it says
    Column("source_ip", String(45), nullable=False),
    Column("failures", Json, nullable=False),  # list of words: dmarc, dkim, spf ...
    Column("delivery", String(40), nullable=False),
    Column("mail_from", String(320), nullable=False),
    Column("recipient", String(320), nullable=False),
    Column("rfc_message_id", String(255), nullable=False),
    Column("subject", String(200), nullable=False),
    Column("results", String(1000), nullable=False),  # Authentication-Results
    Column("reporter", String(255), nullable=False),  # Reporting-MTA, else User-Agent
    Column("incidents", Integer, nullable=False),  # messages that it stands for
    when("arrived_at"),  # when the message came there; else when the report came here
    *_how_it_came(),
    UniqueConstraint("domain_id", "report_key", "signed_by"),
    Index(None, "domain_id", "id"),
    Index(None, "received_at"),
)

tls_report = Table(
    "tls_report",
    metadata,
    # The part of a TLS report that speaks of one sending domain, or of its return path.
    own_id(),
    *_whose(),
    *_reported(),
    Column("successful", BigInteger, nullable=False),  # sessions, as for the next
    Column("failed", BigInteger, nullable=False),
    *_how_it_came(),
    UniqueConstraint("domain_id", "report_key", "signed_by"),
    Index(None, "domain_id", "id"),
    Index(None, "received_at"),
)

tls_policy = Table(
    "tls_policy",
    metadata,
    # What the reporter found published, and how sessions under it went.
    Column("report_id", Id, ForeignKey("tls_report.id"), primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),  # 0, 1, ...
    Column("domain_id", Id, nullable=False),
    when("begins_at"),  # of the report
    Column("type", String(20), nullable=False),  # sts | tlsa | no-policy-found; empty: other
    Column("policy_domain", String(255), nullable=False),
    Column("lines", Json, nullable=False),  # list of texts
    Column("hosts", Json, nullable=False),  # list of texts: patterns of MX hosts
    Column("successful", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Index(None, "domain_id", "begins_at"),
)

tls_failure = Table(
    "tls_failure",
    metadata,
    # Sessions that failed alike. Texts: empty where not said.
    Column("report_id", Id, ForeignKey("tls_report.id"), primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),  # 0, 1, ... in the report
    Column("policy", Integer, nullable=False),  # number of the tls_policy
    Column("domain_id", Id, nullable=False),
    when("begins_at"),  # of the report
    Column("result", String(40), nullable=False),  # a word of RFC 8460 §4.3, or the vendor's
    Column("sessions", BigInteger, nullable=False),
    Column("sending_ip", String(45), nullable=False),
    Column("receiving_host", String(255), nullable=False),
    Column("receiving_ip", String(45), nullable=False),
    Column("reason_code", String(500), nullable=False),
    Column("more", String(500), nullable=False),
    Index(None, "domain_id", "begins_at"),
)

complaint = Table(
    "complaint",
    metadata,
    # Somebody, or a spam trap, complained of mail. Texts: empty where not said.
    own_id(),
    *_whose(),
    Column("stream_id", Id),  # null: the message is not known here, as for the next two
    Column("message_id", Id),
    Column("recipient_id", Id),
    Column("report_key", String(44), nullable=False),  # base64 of a SHA-256 over what names the report
    Column("format", String(10), nullable=False),  # arf | xarf | jmrp | ...
    Column("kind", String(40), nullable=False),  # abuse, fraud, virus, not-spam, spam, ...
    Column("source_ip", String(45), nullable=False),  # that the mail came from
    Column("reporter", String(255), nullable=False),  # domain, else what it calls itself
    Column("rfc_message_id", String(255), nullable=False),
    Column("subject", String(200), nullable=False),
    Column("incidents", Integer, nullable=False),  # messages that it stands for
    # A token of ours, or a provider's signature, proves it; else it is a stranger's word.
    Column("is_verified", Boolean, nullable=False),
    when("arrived_at"),  # when the mail came there; else when the report came here
    *_how_it_came(),
    UniqueConstraint("domain_id", "report_key", "signed_by"),
    Index(None, "domain_id", "id"),
    Index(None, "received_at"),
)

tls_report_sent = Table(
    "tls_report_sent",
    metadata,
    # TLS reports of ours to recipient domains, one a day (RFC 8460 §4); the row is taken before it is sent.
    Column("day", String(10), primary_key=True),  # UTC, that it tells of
    Column("domain", String(255), primary_key=True),
    Column("state", String(10), nullable=False),  # due | none (asks for no report) | sent | failed
    when("due_at"),  # when it is tried, at a random time of the day after
    Column("tries", Integer, nullable=False),
    Column("sent_as", Id),  # the message that bears it; null: none, or by HTTPS alone
    Column("reason", String(500)),  # what was in the way last; null: nothing
    Index(None, "state", "due_at"),
)
