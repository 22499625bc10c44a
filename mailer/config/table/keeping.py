"""What is told to others, and how long things are kept."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from mailer.config.table.setting import setting
from mailer.config.values import (
    Durations,
    Networks,
)


class Keeping(BaseModel):
    callback_delays: Durations = setting(
        "5s,5m,30m,2h,5h,10h,10h", "Delays after the first, second, ... call of a webhook endpoint that "
        "failed; after the last one the callback is given up.",
        example="5s,1m,10m,1h", unit="durations",
    )  # fmt: skip
    callback_timeout_seconds: float = setting(
        15.0, "For one call of a webhook endpoint, until the head of its answer is there.",
        example="5", unit="seconds", least=0.05, most=40,
    )  # fmt: skip
    callback_networks: Networks = setting(
        (), "Networks that webhook endpoints may be in although they are not public, with commas.",
        example="10.20.0.0/16, fd12:3456::/48", unit="networks",
    )  # fmt: skip
    retention_days: int = setting(
        30, "How long messages in a final state are kept.", example="90", unit="days", least=1, most=3650,
    )  # fmt: skip
    reports_retention_days: int = setting(
        400, "How long DMARC and TLS reports and complaints about mail of sending domains are kept.",
        example="90", unit="days", least=1, most=3650,
    )  # fmt: skip
    log_level: Literal["debug", "info", "warning", "error"] = setting(
        "info", "Least severity that is logged; `mailer up` on a terminal shows warnings unless this is set.",
        example="warning",
    )  # fmt: skip
    log_format: Literal["console", "json"] = setting(
        "console", "How log lines look: for people, or one JSON object a line.", example="json",
    )  # fmt: skip
