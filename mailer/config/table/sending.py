"""What is sent, and as whom."""

from __future__ import annotations

import enum

from pydantic import BaseModel

from mailer.config.load import BootstrapKey, DomainName
from mailer.config.table.setting import setting
from mailer.config.values import (
    Hostname,
    OptionalPath,
    Secret,
)

SANDBOX_DOMAIN = "sandbox.mailer.test"  # .test is nobody's (RFC 6761 §6.2)


class Mode(enum.StrEnum):
    SANDBOX = "sandbox"  # all mail goes to the local inbox, or where MAILER_ROUTES says
    LIVE = "live"


class Sending(BaseModel):
    mode: Mode = setting(
        Mode.SANDBOX, "sandbox: all mail goes to the local inbox. live: mail is delivered to the world.",
        example="live",
    )  # fmt: skip
    tenant: str = setting(
        "default", "Name of the tenant made at the first start.", unit="a name", example="acme",
    )  # fmt: skip
    domain: DomainName = setting(
        lambda data: SANDBOX_DOMAIN if data["mode"] == Mode.SANDBOX else None,
        "Sending domain made at the first start; in live mode none is made unless it is named.",
        unit="a domain", example="example.org",
    )  # fmt: skip
    dkim_key_file: OptionalPath = setting(
        None, "PEM file with that domain's DKIM key; an RSA key gets an Ed25519 key beside it. "
        "Without a file both are made.",
        unit="a file", example="/etc/mailer/dkim.pem",
    )  # fmt: skip
    dkim_selector: str | None = setting(
        None, "Selector under which the key of MAILER_DKIM_KEY_FILE is published.",
        unit="a selector", example="mail2026",
    )  # fmt: skip
    return_path_prefix: Hostname = setting(
        "bounce", "Label put before the sending domain to name the host of its reverse-paths.",
        unit="a DNS label", example="bounce",
    )  # fmt: skip
    api_key: BootstrapKey = setting(
        None, "API key made at the first start; without it one is made up. `mailer key new` prints one.",
        unit="an API key", example="mk_...", secret=True,
    )  # fmt: skip
    secret: Secret = setting(
        None, "The installation's secret: 32 bytes in hexadecimal or base64; it seals DKIM keys and signs "
        "reverse-paths. Without it one is kept in the data folder. The same on every host.",
        unit="32 bytes", example="`openssl rand -hex 32`", secret=True,
    )  # fmt: skip
