"""What receivers report about mail of our domains, and the TLS reports that we sent."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017_pre_reports"
down_revision = "0015_pre_lane_pools"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _dmarc_report()
    _dmarc_record()
    _dmarc_failure()
    _tls_report()
    _tls_policy()
    _tls_failure()
    _complaint()
    _tls_report_sent()


def _dmarc_report() -> None:
    op.create_table(
        "dmarc_report",
        sa.Column("id", ID, autoincrement=False, nullable=False),
        sa.Column("tenant_id", ID, nullable=False),
        sa.Column("domain_id", ID, nullable=False),
        sa.Column("organization", sa.String(length=200), nullable=False),
        sa.Column("contact", sa.String(length=320), nullable=False),
        sa.Column("report_id", sa.String(length=500), nullable=False),
        sa.Column("report_key", sa.String(length=44), nullable=False),
        sa.Column("begins_at", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("messages", sa.BigInteger(), nullable=False),
        sa.Column("aligned", sa.BigInteger(), nullable=False),
        sa.Column("records", sa.Integer(), nullable=False),
        sa.Column("unreadable", sa.Integer(), nullable=False),
        sa.Column("via", sa.String(length=10), nullable=False),
        sa.Column("signed_by", sa.String(length=255), nullable=False),
        sa.Column("raw_id", ID, nullable=True),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["domain_id"], ["sending_domain.id"], name="fk_dmarc_report_domain_id_sending_domain"
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name="fk_dmarc_report_tenant_id_tenant"),
        sa.PrimaryKeyConstraint("id", name="pk_dmarc_report"),
        sa.UniqueConstraint(
            "domain_id", "report_key", "signed_by", name="uq_dmarc_report_domain_id_report_key_signed_by"
        ),
    )
    op.create_index("ix_dmarc_report_domain_id_id", "dmarc_report", ["domain_id", "id"])
    op.create_index("ix_dmarc_report_received_at", "dmarc_report", ["received_at"])


def _dmarc_record() -> None:
    op.create_table(
        "dmarc_record",
        sa.Column("report_id", ID, autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("domain_id", ID, nullable=False),
        sa.Column("begins_at", sa.BigInteger(), nullable=False),
        sa.Column("source_ip", sa.String(length=45), nullable=False),
        sa.Column("messages", sa.BigInteger(), nullable=False),
        sa.Column("disposition", sa.String(length=10), nullable=False),
        sa.Column("dkim_aligned", sa.Boolean(), nullable=False),
        sa.Column("spf_aligned", sa.Boolean(), nullable=False),
        sa.Column("header_from", sa.String(length=255), nullable=False),
        sa.Column("envelope_from", sa.String(length=255), nullable=False),
        sa.Column("envelope_to", sa.String(length=255), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["report_id"], ["dmarc_report.id"], name="fk_dmarc_record_report_id_dmarc_report"
        ),
        sa.PrimaryKeyConstraint("report_id", "number", name="pk_dmarc_record"),
    )
    op.create_index("ix_dmarc_record_domain_id_begins_at", "dmarc_record", ["domain_id", "begins_at"])


def _dmarc_failure() -> None:
    op.create_table(
        "dmarc_failure",
        sa.Column("id", ID, autoincrement=False, nullable=False),
        sa.Column("tenant_id", ID, nullable=False),
        sa.Column("domain_id", ID, nullable=False),
        sa.Column("stream_id", ID, nullable=True),
        sa.Column("message_id", ID, nullable=True),
        sa.Column("report_key", sa.String(length=44), nullable=False),
        sa.Column("source_ip", sa.String(length=45), nullable=False),
        sa.Column("failures", sa.Text(), nullable=False),
        sa.Column("delivery", sa.String(length=40), nullable=False),
        sa.Column("mail_from", sa.String(length=320), nullable=False),
        sa.Column("recipient", sa.String(length=320), nullable=False),
        sa.Column("rfc_message_id", sa.String(length=255), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("results", sa.String(length=1000), nullable=False),
        sa.Column("reporter", sa.String(length=255), nullable=False),
        sa.Column("incidents", sa.Integer(), nullable=False),
        sa.Column("arrived_at", sa.BigInteger(), nullable=False),
        sa.Column("via", sa.String(length=10), nullable=False),
        sa.Column("signed_by", sa.String(length=255), nullable=False),
        sa.Column("raw_id", ID, nullable=True),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["domain_id"], ["sending_domain.id"], name="fk_dmarc_failure_domain_id_sending_domain"
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name="fk_dmarc_failure_tenant_id_tenant"),
        sa.PrimaryKeyConstraint("id", name="pk_dmarc_failure"),
        sa.UniqueConstraint(
            "domain_id", "report_key", "signed_by", name="uq_dmarc_failure_domain_id_report_key_signed_by"
        ),
    )
    op.create_index("ix_dmarc_failure_domain_id_id", "dmarc_failure", ["domain_id", "id"])
    op.create_index("ix_dmarc_failure_received_at", "dmarc_failure", ["received_at"])


def _tls_report() -> None:
    op.create_table(
        "tls_report",
        sa.Column("id", ID, autoincrement=False, nullable=False),
        sa.Column("tenant_id", ID, nullable=False),
        sa.Column("domain_id", ID, nullable=False),
        sa.Column("organization", sa.String(length=200), nullable=False),
        sa.Column("contact", sa.String(length=320), nullable=False),
        sa.Column("report_id", sa.String(length=500), nullable=False),
        sa.Column("report_key", sa.String(length=44), nullable=False),
        sa.Column("begins_at", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.Column("successful", sa.BigInteger(), nullable=False),
        sa.Column("failed", sa.BigInteger(), nullable=False),
        sa.Column("via", sa.String(length=10), nullable=False),
        sa.Column("signed_by", sa.String(length=255), nullable=False),
        sa.Column("raw_id", ID, nullable=True),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["domain_id"], ["sending_domain.id"], name="fk_tls_report_domain_id_sending_domain"
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name="fk_tls_report_tenant_id_tenant"),
        sa.PrimaryKeyConstraint("id", name="pk_tls_report"),
        sa.UniqueConstraint(
            "domain_id", "report_key", "signed_by", name="uq_tls_report_domain_id_report_key_signed_by"
        ),
    )
    op.create_index("ix_tls_report_domain_id_id", "tls_report", ["domain_id", "id"])
    op.create_index("ix_tls_report_received_at", "tls_report", ["received_at"])


def _tls_policy() -> None:
    op.create_table(
        "tls_policy",
        sa.Column("report_id", ID, autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("domain_id", ID, nullable=False),
        sa.Column("begins_at", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.String(length=20), nullable=False),
        sa.Column("policy_domain", sa.String(length=255), nullable=False),
        sa.Column("lines", sa.Text(), nullable=False),
        sa.Column("hosts", sa.Text(), nullable=False),
        sa.Column("successful", sa.BigInteger(), nullable=False),
        sa.Column("failed", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["report_id"], ["tls_report.id"], name="fk_tls_policy_report_id_tls_report"),
        sa.PrimaryKeyConstraint("report_id", "number", name="pk_tls_policy"),
    )
    op.create_index("ix_tls_policy_domain_id_begins_at", "tls_policy", ["domain_id", "begins_at"])


def _tls_failure() -> None:
    op.create_table(
        "tls_failure",
        sa.Column("report_id", ID, autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("policy", sa.Integer(), nullable=False),
        sa.Column("domain_id", ID, nullable=False),
        sa.Column("begins_at", sa.BigInteger(), nullable=False),
        sa.Column("result", sa.String(length=40), nullable=False),
        sa.Column("sessions", sa.BigInteger(), nullable=False),
        sa.Column("sending_ip", sa.String(length=45), nullable=False),
        sa.Column("receiving_host", sa.String(length=255), nullable=False),
        sa.Column("receiving_ip", sa.String(length=45), nullable=False),
        sa.Column("reason_code", sa.String(length=500), nullable=False),
        sa.Column("more", sa.String(length=500), nullable=False),
        sa.ForeignKeyConstraint(["report_id"], ["tls_report.id"], name="fk_tls_failure_report_id_tls_report"),
        sa.PrimaryKeyConstraint("report_id", "number", name="pk_tls_failure"),
    )
    op.create_index("ix_tls_failure_domain_id_begins_at", "tls_failure", ["domain_id", "begins_at"])


def _complaint() -> None:
    op.create_table(
        "complaint",
        sa.Column("id", ID, autoincrement=False, nullable=False),
        sa.Column("tenant_id", ID, nullable=False),
        sa.Column("domain_id", ID, nullable=False),
        sa.Column("stream_id", ID, nullable=True),
        sa.Column("message_id", ID, nullable=True),
        sa.Column("recipient_id", ID, nullable=True),
        sa.Column("report_key", sa.String(length=44), nullable=False),
        sa.Column("format", sa.String(length=10), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("source_ip", sa.String(length=45), nullable=False),
        sa.Column("reporter", sa.String(length=255), nullable=False),
        sa.Column("rfc_message_id", sa.String(length=255), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("incidents", sa.Integer(), nullable=False),
        sa.Column("is_verified", sa.Boolean(), nullable=False),
        sa.Column("arrived_at", sa.BigInteger(), nullable=False),
        sa.Column("via", sa.String(length=10), nullable=False),
        sa.Column("signed_by", sa.String(length=255), nullable=False),
        sa.Column("raw_id", ID, nullable=True),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["domain_id"], ["sending_domain.id"], name="fk_complaint_domain_id_sending_domain"
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name="fk_complaint_tenant_id_tenant"),
        sa.PrimaryKeyConstraint("id", name="pk_complaint"),
        sa.UniqueConstraint(
            "domain_id", "report_key", "signed_by", name="uq_complaint_domain_id_report_key_signed_by"
        ),
    )
    op.create_index("ix_complaint_domain_id_id", "complaint", ["domain_id", "id"])
    op.create_index("ix_complaint_received_at", "complaint", ["received_at"])


def _tls_report_sent() -> None:
    op.create_table(
        "tls_report_sent",
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("domain", sa.String(length=255), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("sent_as", ID, nullable=True),
        sa.Column("reason", sa.String(length=500), nullable=True),
        sa.PrimaryKeyConstraint("day", "domain", name="pk_tls_report_sent"),
    )
    op.create_index("ix_tls_report_sent_state_due_at", "tls_report_sent", ["state", "due_at"])
