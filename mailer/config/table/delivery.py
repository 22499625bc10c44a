"""How mail goes out, and how long it is tried."""

from __future__ import annotations

import os
from typing import Literal

from pydantic import BaseModel

from mailer.config import load
from mailer.config.load import BrakeFile, DomainName, Routes
from mailer.config.table.sending import Mode
from mailer.config.table.setting import setting
from mailer.config.values import (
    Duration,
    Durations,
    Hostname,
    OptionalPath,
    Resolvers,
    parse_hostname,
)


def _nodename() -> str:
    """This host's name where it is one that EHLO may carry; a bare label is not (RFC 5321 §2.3.5)."""
    name = os.uname().nodename
    try:
        return parse_hostname(name) if "." in name else "localhost.localdomain"
    except ValueError:
        return "localhost.localdomain"


class Delivery(BaseModel):
    hostname: Hostname = setting(
        _nodename, "Name given in EHLO: this host's, resolvable, the same as its PTR record.",
        unit="a host name", example="mail.example.org",
    )  # fmt: skip
    operator_domain: DomainName = setting(
        lambda data: load.operator_domain(data["mode"] == Mode.SANDBOX, data["hostname"]),
        "Domain that notices of failure (DSNs) to SMTP submitters come from and are signed by, as "
        "MAILER-DAEMON; a sending domain of the tenant operator. Without one none is sent.",
        unit="a domain", example="mail.example.org",
    )  # fmt: skip
    tls_reports: bool = setting(
        True, "In live mode, whether owners of recipient domains that ask for it (RFC 8460) are told once a "
        "day how TLS with their hosts went; MAILER_OPERATOR_DOMAIN reports and signs.",
        example="false",
    )  # fmt: skip
    report_organization: str | None = setting(
        None, "Who reports, in words; without it MAILER_OPERATOR_DOMAIN.",
        unit="text", example="Example Mail Ltd.",
    )  # fmt: skip
    report_contact: str | None = setting(
        None, "Mailbox for questions about reports of ours; without it postmaster at MAILER_OPERATOR_DOMAIN.",
        unit="a mailbox", example="postmaster@example.org",
    )  # fmt: skip
    delay_notice_after: Duration = setting(
        "4h", "Age at which a submitter who asked for it (NOTIFY=DELAY) is told that mail is delayed.",
        example="1h", unit="a duration",
    )  # fmt: skip
    resolvers: Resolvers = setting(
        (), "DNS resolvers as address:port, with commas; empty: those of this host.",
        unit="addresses", example="127.0.0.1:53, [::1]:53",
    )  # fmt: skip
    trusted_resolvers: Literal["loopback", "all", "none"] = setting(
        "loopback", "Resolvers whose word for DNSSEC counts, so that DANE is heeded: loopback, if all of "
        "them are on this host and validate; all, if the way to them is guarded; none.",
        example="all",
    )  # fmt: skip
    routes: Routes = setting(
        "", "Smart hosts by recipient domain or for all (*): host:port, TLS and credentials, with commas. "
        "Where no route matches, the domain's MX is looked up (never in sandbox mode).",
        unit="routes", example="*=smtp.example.org:587;tls=required;user=me;password=secret", secret=True,
    )  # fmt: skip
    sites_file: OptionalPath = setting(
        None, "Your rules for mailbox providers (TOML), over the shipped ones: see `mailer sites list`.",
        unit="path", example="/etc/mailer/sites.toml",
    )  # fmt: skip
    bounce_rules_file: OptionalPath = setting(
        None, "Your rules for what refusals mean (TOML), over the shipped ones: see `mailer rules check`.",
        unit="path", example="/etc/mailer/bounces.toml",
    )  # fmt: skip
    brake: bool = setting(
        lambda data: data["mode"] == Mode.LIVE, "Whether a broadcast stream with too many complaints or hard "
        "bounces is held until its rates are good (docs/queue.md).",
        example="false",
    )  # fmt: skip
    brake_file: BrakeFile = setting(
        None, "Your thresholds of the brake (TOML), over the shipped ones.",
        unit="path", example="/etc/mailer/brake.toml",
    )  # fmt: skip
    new_tenant_daily_cap: int = setting(
        0, "Messages that a tenant made by `mailer tenant create` may send in 24 hours at first; more after "
        "each clean day (docs/queue.md). 0: any number.",
        example="200", unit="messages", least=0, most=10000000,
    )  # fmt: skip
    retry_delays: Durations = setting(
        "1m,5m,15m,30m,1h,2h,4h", "Delays after the first, second, ... deferral; the last one repeats.",
        example="5m,30m,2h", unit="durations",
    )  # fmt: skip
    give_up_after: Duration = setting(
        "24h", "Age at which undelivered mail of a transactional stream expires, from its first due time.",
        example="2d", unit="a duration",
    )  # fmt: skip
    broadcast_give_up_after: Duration = setting(
        "4d", "The same for broadcast streams.", example="5d", unit="a duration",
    )  # fmt: skip
    in_doubt: Literal["retry", "give-up"] = setting(
        "retry", "What new streams do where the answer to the final dot was not heard: retry may repeat "
        "a delivery, give-up may lose one.",
        example="give-up",
    )  # fmt: skip
    smtp_timeout_connect: float = setting(
        30.0, "To connect to one address.", example="10", unit="seconds", least=0.05, most=600,
    )  # fmt: skip
    smtp_timeout_greeting: float = setting(
        300.0, "For the 220 greeting (RFC 5321 §4.5.3.2.1).",
        example="60", unit="seconds", least=0.05, most=3600,
    )  # fmt: skip
    smtp_timeout_command: float = setting(
        300.0, "For the reply to EHLO, STARTTLS, MAIL and RCPT (RFC 5321 §4.5.3.2.2, §4.5.3.2.3).",
        example="60", unit="seconds", least=0.05, most=3600,
    )  # fmt: skip
    smtp_timeout_data_start: float = setting(
        120.0, "For the 354 to DATA (RFC 5321 §4.5.3.2.4).",
        example="60", unit="seconds", least=0.05, most=3600,
    )  # fmt: skip
    smtp_timeout_data_block: float = setting(
        180.0, "For each block of content to be taken (RFC 5321 §4.5.3.2.5).",
        example="60", unit="seconds", least=0.05, most=3600,
    )  # fmt: skip
    smtp_timeout_data_done: float = setting(
        600.0, "For the reply to the final dot (RFC 5321 §4.5.3.2.6). Shorter means more mail in doubt.",
        example="600", unit="seconds", least=0.05, most=3600,
    )  # fmt: skip
