"""A claim that no store knows."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from mailer.queue.claim import Claimed


def claim_at(first_due_at: datetime, **more: Any) -> Claimed:
    """For ada@example.org; `more` over what it has."""
    usual = {"return_path_domain": "bounce.acme.example", "on_doubt": "retry", "stream_kind": "transactional"}
    return Claimed(
        attempt_id=1, recipient_id=2, message_id=3, tenant_id=4, lane_id=5, domain="example.org",
        address="ada@example.org", attempts=0, version=1, first_due_at=first_due_at, expires_at=None,
        size_bytes=99, in_doubt=False, content_id=6, domain_id=7, **(usual | more),
    )  # fmt: skip
