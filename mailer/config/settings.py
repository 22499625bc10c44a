"""The one table of settings. `http_port` is MAILER_HTTP_PORT in the environment."""

from __future__ import annotations

import enum
import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from mailer.config import load
from mailer.config.load import BootstrapKey, ConfigError, DomainName, Routes
from mailer.config.values import (
    BrokerUrl,
    DatabaseUrl,
    Duration,
    Durations,
    Folder,
    Hostname,
    OptionalPath,
    Resolvers,
    Secret,
    parse_hostname,
    reachable,
)
from mailer.policy.routing import Route, RouteTable

SANDBOX_DOMAIN = "sandbox.mailer.test"  # .test is nobody's (RFC 6761 §6.2)


class Mode(enum.StrEnum):
    SANDBOX = "sandbox"  # all mail goes to the local inbox, or where MAILER_ROUTES says
    LIVE = "live"


def _setting(
    default: Any,
    meaning: str,
    *,
    example: str,
    unit: str = "",
    least: float | None = None,
    most: float | None = None,
    secret: bool = False,
) -> Any:
    """A line of the table. A callable default is computed from the settings above it.

    unit: of a number, or what kind of text it is. secret: shown nowhere, not in an error either.
    """
    facts = {"unit": unit, "secret": secret}
    common: dict[str, Any] = {
        "description": meaning, "examples": [example], "ge": least, "le": most, "json_schema_extra": facts,
    }  # fmt: skip
    common |= {"validate_default": True, "repr": not secret}
    return Field(default_factory=default, **common) if callable(default) else Field(default, **common)


def role_name(role: str, index: int = 1) -> str:
    """What a role process is called in files and answers: `worker`, `worker-2`, ..."""
    return role if index == 1 else f"{role}-{index}"


def _nodename() -> str:
    """This host's name where it is one that EHLO may carry; a bare label is not (RFC 5321 §2.3.5)."""
    name = os.uname().nodename
    try:
        return parse_hostname(name) if "." in name else "localhost.localdomain"
    except ValueError:
        return "localhost.localdomain"


class Settings(BaseModel):
    """Every value is resolved: what was not set has its default, some of them computed from the others."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    # ---- where things are
    data_dir: Folder = _setting(
        "data", "Folder that holds everything this installation makes. Local disk only.",
        unit="a folder", example="/var/lib/mailer",
    )  # fmt: skip
    database_url: DatabaseUrl = _setting(
        lambda data: f"sqlite:///{data['data_dir']}/mailer.sqlite3",
        "Database: SQLite in the data folder unless a PostgreSQL URL is given.",
        unit="a URL", example="postgresql://mailer@db.example.org/mailer", secret=True,
    )  # fmt: skip
    database_prepare: bool = _setting(
        False, "Prepare statements on PostgreSQL's side. Leave it off behind a pooler in transaction mode.",
        example="true",
    )  # fmt: skip
    broker_url: BrokerUrl = _setting(
        lambda data: f"bell://{load.quoted(data['data_dir'] / 'bell')}",
        "Broker that carries the bell: the embedded one, RabbitMQ or Redis. It holds no mail.",
        unit="a URL", example="amqp://mailer@broker.example.org//", secret=True,
    )  # fmt: skip

    # ---- what is sent, and as whom
    mode: Mode = _setting(
        Mode.SANDBOX, "sandbox: all mail goes to the local inbox. live: mail is delivered to the world.",
        example="live",
    )  # fmt: skip
    tenant: str = _setting(
        "default", "Name of the tenant made at the first start.", unit="a name", example="acme",
    )  # fmt: skip
    domain: DomainName = _setting(
        lambda data: SANDBOX_DOMAIN if data["mode"] == Mode.SANDBOX else None,
        "Sending domain made at the first start; in live mode none is made unless it is named.",
        unit="a domain", example="example.org",
    )  # fmt: skip
    dkim_key_file: OptionalPath = _setting(
        None, "PEM file with that domain's DKIM key; an RSA key gets an Ed25519 key beside it. "
        "Without a file both are made.",
        unit="a file", example="/etc/mailer/dkim.pem",
    )  # fmt: skip
    dkim_selector: str | None = _setting(
        None, "Selector under which the key of MAILER_DKIM_KEY_FILE is published.",
        unit="a selector", example="mail2026",
    )  # fmt: skip
    return_path_prefix: Hostname = _setting(
        "bounce", "Label put before the sending domain to name the host of its reverse-paths.",
        unit="a DNS label", example="bounce",
    )  # fmt: skip
    api_key: BootstrapKey = _setting(
        None, "API key made at the first start; without it one is made up. `mailer key new` prints one.",
        unit="an API key", example="mk_...", secret=True,
    )  # fmt: skip
    secret: Secret = _setting(
        None, "The installation's secret: 32 bytes in hexadecimal or base64; it seals DKIM keys and signs "
        "reverse-paths. Without it one is kept in the data folder. The same on every host.",
        unit="32 bytes", example="`openssl rand -hex 32`", secret=True,
    )  # fmt: skip

    # ---- doors
    http_host: str = _setting(
        "127.0.0.1", "Address the HTTP door listens on.", unit="an address", example="192.0.2.25"
    )
    http_port: int = _setting(
        8025, "Port of the HTTP door; 0 takes any free one.", example="8080", least=0, most=65535,
    )  # fmt: skip
    smtp_host: str = _setting(
        "127.0.0.1", "Address the SMTP door listens on.", unit="an address", example="192.0.2.25"
    )
    smtp_port: int = _setting(
        2587, "Port of the SMTP door with STARTTLS; 0 takes any free one.",
        example="587", least=0, most=65535,
    )  # fmt: skip
    smtps_port: int = _setting(
        2465, "Port of the SMTP door with implicit TLS (RFC 8314); 0 takes any free one.",
        example="465", least=0, most=65535,
    )  # fmt: skip
    smtp_cert_file: OptionalPath = _setting(
        None, "PEM file with the certificate chain of the SMTP door; read anew when it changes. "
        "Without one it shows a certificate of its own making.",
        unit="a file", example="/etc/mailer/smtp.pem",
    )  # fmt: skip
    smtp_key_file: OptionalPath = _setting(
        None, "PEM file with the key of MAILER_SMTP_CERT_FILE, if it is not in that file.",
        unit="a file", example="/etc/mailer/smtp.key",
    )  # fmt: skip
    inbox_host: str = _setting(
        "127.0.0.1", "Address the sandbox inbox listens on.", unit="an address", example="127.0.0.1"
    )
    inbox_port: int = _setting(
        2525, "Port of the sandbox inbox; 0 takes any free one, as `mailer up` does unless this is set.",
        example="2525", least=0, most=65535,
    )  # fmt: skip
    byte_budget_mb: int = _setting(
        256, "Message bytes a process holds in memory; above it submissions are put off.",
        example="512", unit="MiB", least=64, most=65536,
    )  # fmt: skip
    free_space_floor_mb: int = _setting(
        256, "Free disk space below which submissions are put off, so that outcomes can still be written.",
        example="1024", unit="MiB", least=0, most=1048576,
    )  # fmt: skip
    max_message_mb: int = _setting(
        36, "Largest message as it is sent.", example="25", unit="MiB", least=1, most=1024,
    )  # fmt: skip
    max_request_mb: int = _setting(
        40, "Largest HTTP request.", example="50", unit="MiB", least=1, most=1024,
    )  # fmt: skip
    max_recipients: int = _setting(
        1000, "Most recipients of one message.", example="100", unit="recipients", least=1, most=10000,
    )  # fmt: skip
    idempotency_hours: int = _setting(
        24, "How long an Idempotency-Key is remembered.", example="72", unit="hours", least=1, most=720,
    )  # fmt: skip

    # ---- workers
    workers: int = _setting(
        1, "Worker processes that `mailer up` starts.", example="4", unit="processes", least=1, most=64,
    )  # fmt: skip
    signer_threads: int = _setting(
        2, "Threads of a worker that load and sign messages.", example="4", unit="threads", least=1, most=64,
    )  # fmt: skip
    lease_seconds: float = _setting(
        15.0, "A worker whose heartbeat stands still for so long is declared dead, and its mail released.",
        example="15", unit="seconds", least=1, most=600,
    )  # fmt: skip
    sweep_seconds: float = _setting(
        1.0, "Interval of the sweep for due and orphaned mail: what a lost bell costs.",
        example="1", unit="seconds", least=0.05, most=60,
    )  # fmt: skip
    connections_per_site: int = _setting(
        20, "Most SMTP connections to one site, over all workers.",
        example="50", unit="connections", least=1, most=1000,
    )  # fmt: skip
    messages_per_session: int = _setting(
        1000, "Messages after which an SMTP session is ended and another opened.",
        example="100", unit="messages", least=1, most=100000,
    )  # fmt: skip
    session_idle_seconds: float = _setting(
        30.0, "How long an SMTP session without mail is kept open.",
        example="10", unit="seconds", least=0, most=300,
    )  # fmt: skip

    # ---- delivery
    hostname: Hostname = _setting(
        _nodename, "Name given in EHLO: this host's, resolvable, the same as its PTR record.",
        unit="a host name", example="mail.example.org",
    )  # fmt: skip
    operator_domain: DomainName = _setting(
        lambda data: load.operator_domain(data["mode"] == Mode.SANDBOX, data["hostname"]),
        "Domain that notices of failure (DSNs) to SMTP submitters come from and are signed by, as "
        "MAILER-DAEMON; a sending domain of the tenant operator. Without one none is sent.",
        unit="a domain", example="mail.example.org",
    )  # fmt: skip
    delay_notice_after: Duration = _setting(
        "4h", "Age at which a submitter who asked for it (NOTIFY=DELAY) is told that mail is delayed.",
        example="1h", unit="a duration",
    )  # fmt: skip
    resolvers: Resolvers = _setting(
        (), "DNS resolvers as address:port, with commas; empty: those of this host.",
        unit="addresses", example="127.0.0.1:53, [::1]:53",
    )  # fmt: skip
    routes: Routes = _setting(
        "", "Smart hosts by recipient domain or for all (*): host:port, TLS and credentials, with commas. "
        "Where no route matches, the domain's MX is looked up (never in sandbox mode).",
        unit="routes", example="*=smtp.example.org:587;tls=required;user=me;password=secret", secret=True,
    )  # fmt: skip
    retry_delays: Durations = _setting(
        "1m,5m,15m,30m,1h,2h,4h", "Delays after the first, second, ... deferral; the last one repeats.",
        example="5m,30m,2h", unit="durations",
    )  # fmt: skip
    give_up_after: Duration = _setting(
        "24h", "Age at which undelivered mail of a transactional stream expires, from its first due time.",
        example="2d", unit="a duration",
    )  # fmt: skip
    broadcast_give_up_after: Duration = _setting(
        "4d", "The same for broadcast streams.", example="5d", unit="a duration",
    )  # fmt: skip
    in_doubt: Literal["retry", "give-up"] = _setting(
        "retry", "What new streams do where the answer to the final dot was not heard: retry may repeat "
        "a delivery, give-up may lose one.",
        example="give-up",
    )  # fmt: skip
    smtp_timeout_connect: float = _setting(
        30.0, "To connect to one address.", example="10", unit="seconds", least=0.05, most=600,
    )  # fmt: skip
    smtp_timeout_greeting: float = _setting(
        300.0, "For the 220 greeting (RFC 5321 §4.5.3.2.1).",
        example="60", unit="seconds", least=0.05, most=3600,
    )  # fmt: skip
    smtp_timeout_command: float = _setting(
        300.0, "For the reply to EHLO, STARTTLS, MAIL and RCPT (RFC 5321 §4.5.3.2.2, §4.5.3.2.3).",
        example="60", unit="seconds", least=0.05, most=3600,
    )  # fmt: skip
    smtp_timeout_data_start: float = _setting(
        120.0, "For the 354 to DATA (RFC 5321 §4.5.3.2.4).",
        example="60", unit="seconds", least=0.05, most=3600,
    )  # fmt: skip
    smtp_timeout_data_block: float = _setting(
        180.0, "For each block of content to be taken (RFC 5321 §4.5.3.2.5).",
        example="60", unit="seconds", least=0.05, most=3600,
    )  # fmt: skip
    smtp_timeout_data_done: float = _setting(
        600.0, "For the reply to the final dot (RFC 5321 §4.5.3.2.6). Shorter means more mail in doubt.",
        example="600", unit="seconds", least=0.05, most=3600,
    )  # fmt: skip

    # ---- keeping and telling
    retention_days: int = _setting(
        30, "How long messages in a final state are kept.", example="90", unit="days", least=1, most=3650,
    )  # fmt: skip
    log_level: Literal["debug", "info", "warning", "error"] = _setting(
        "info", "Least severity that is logged; `mailer up` on a terminal shows warnings unless this is set.",
        example="warning",
    )  # fmt: skip
    log_format: Literal["console", "json"] = _setting(
        "console", "How log lines look: for people, or one JSON object a line.", example="json",
    )  # fmt: skip

    @classmethod
    def load(cls, environ: Mapping[str, str], overrides: Mapping[str, object] | None = None) -> Self:
        """The settings of `environ`, with `overrides` (by field name; None: not given) going before.

        Raises ConfigError, which names every fault and every unknown MAILER_* variable.
        """
        settings = load.validate(cls, environ, overrides or {})
        load.check_together(settings)
        return settings

    def is_set(self, name: str) -> bool:
        """True if `name` was given, false where the default holds."""
        return name in self.model_fields_set

    def to_environ(self) -> dict[str, str]:
        """The variables that make these same settings in a child process."""
        return load.to_environ(self)

    @property
    def is_live(self) -> bool:
        return self.mode is Mode.LIVE

    @property
    def route_table(self) -> RouteTable:
        """Routes of the relay. In sandbox mode what no other route takes goes to the inbox, never to an MX.

        Raises ConfigError where that needs the inbox's port and MAILER_INBOX_PORT leaves it open.
        """
        table = RouteTable.parse(self.routes)
        if self.is_live or any(route.pattern == "*" for route in table.routes):
            return table
        if not self.inbox_port:
            raise ConfigError(["MAILER_INBOX_PORT must be the port of a running inbox, for mail goes there"])
        inbox = Route(pattern="*", host=reachable(self.inbox_host), port=self.inbox_port)
        return RouteTable([*table.routes, inbox])

    @property
    def run_dir(self) -> Path:
        """Where running roles announce themselves (`<role>.json`) and `mailer up` keeps their pids."""
        return self.data_dir / "run"

    @property
    def log_dir(self) -> Path:
        return self.data_dir / "log"

    @property
    def secret_file(self) -> Path:
        """Where the installation's secret is kept unless MAILER_SECRET gives it."""
        return self.data_dir / "secret.key"

    @property
    def warnings(self) -> tuple[str, ...]:
        """What can be meant, and probably is not; one sentence each."""
        return load.warnings(self)

    @property
    def give_up_after_by_kind(self) -> Mapping[str, timedelta]:
        """The age at which mail expires, by the kind of its stream."""
        return {"transactional": self.give_up_after, "broadcast": self.broadcast_give_up_after}

    @property
    def retry_horizon(self) -> timedelta:
        """The longest a message may wait, over both kinds of stream."""
        return max(self.give_up_after, self.broadcast_give_up_after)
