"""Where mail comes in, and how much of it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from mailer.config.table.sending import Mode
from mailer.config.table.setting import setting
from mailer.config.values import Networks, OptionalPath, PublicUrl


def _sandbox_url(data: dict[str, Any]) -> str | None:
    """A door of a sandbox speaks no TLS: who follows a link there says http. Yet its mail looks as that of
    live mode, so that what reads it can be tried."""
    if data["mode"] != Mode.SANDBOX:
        return None
    return f"https://localhost:{data['http_port']}" if data["http_port"] else "https://localhost"


class Doors(BaseModel):
    http_host: str = setting(
        "127.0.0.1", "Address the HTTP door listens on.", unit="an address", example="192.0.2.25"
    )
    http_port: int = setting(
        8025, "Port of the HTTP door; 0 takes any free one.", example="8080", least=0, most=65535,
    )  # fmt: skip
    public_url: PublicUrl = setting(
        _sandbox_url, "URL under which strangers reach the HTTP door, by a server that speaks TLS before it: "
        "links to unsubscribe lead to /u/ there. https in live mode; without one, broadcast mail has no such "
        "link (docs/unsubscribe.md).",
        unit="a URL", example="https://mail.example.org",
    )  # fmt: skip
    proxies: Networks = setting(
        ("127.0.0.0/8", "::1/128"), "Networks of the servers before the HTTP door, whose X-Forwarded-For "
        "says who asks for a page; with commas. Anybody else's is not believed.",
        unit="networks", example="127.0.0.1, 10.20.0.0/16",
    )  # fmt: skip
    unsubscribe_by_mail: bool = setting(
        True, "Whether List-Unsubscribe also names an address, at the return path: false where the MX of "
        "return-path domains does not lead to this installation.",
        example="false",
    )  # fmt: skip
    smtp_host: str = setting(
        "127.0.0.1", "Address the SMTP door listens on.", unit="an address", example="192.0.2.25"
    )
    smtp_port: int = setting(
        2587, "Port of the SMTP door with STARTTLS; 0 takes any free one.",
        example="587", least=0, most=65535,
    )  # fmt: skip
    smtps_port: int = setting(
        2465, "Port of the SMTP door with implicit TLS (RFC 8314); 0 takes any free one.",
        example="465", least=0, most=65535,
    )  # fmt: skip
    smtp_cert_file: OptionalPath = setting(
        None, "PEM file with the certificate chain of the SMTP door; read anew when it changes. "
        "Without one it shows a certificate of its own making.",
        unit="a file", example="/etc/mailer/smtp.pem",
    )  # fmt: skip
    smtp_key_file: OptionalPath = setting(
        None, "PEM file with the key of MAILER_SMTP_CERT_FILE, if it is not in that file.",
        unit="a file", example="/etc/mailer/smtp.key",
    )  # fmt: skip
    smtp_auth_in_clear: bool = setting(
        False, "Lets programs log in at the SMTP door without TLS: only in a sandbox that listens on "
        "loopback, and every such login is logged as a warning.",
        example="true",
    )  # fmt: skip
    inbox_host: str = setting(
        "127.0.0.1", "Address the sandbox inbox listens on.", unit="an address", example="127.0.0.1"
    )
    inbox_port: int = setting(
        2525, "Port of the sandbox inbox; 0 takes any free one, as `mailer up` does unless this is set.",
        example="2525", least=0, most=65535,
    )  # fmt: skip
    byte_budget_mb: int = setting(
        256, "Message bytes a process holds in memory; above it submissions are put off.",
        example="512", unit="MiB", least=64, most=65536,
    )  # fmt: skip
    free_space_floor_mb: int = setting(
        256, "Free disk space below which submissions are put off, so that outcomes can still be written.",
        example="1024", unit="MiB", least=0, most=1048576,
    )  # fmt: skip
    max_message_mb: int = setting(
        36, "Largest message as it is sent.", example="25", unit="MiB", least=1, most=1024,
    )  # fmt: skip
    max_request_mb: int = setting(
        40, "Largest HTTP request.", example="50", unit="MiB", least=1, most=1024,
    )  # fmt: skip
    max_recipients: int = setting(
        1000, "Most recipients of one message.", example="100", unit="recipients", least=1, most=10000,
    )  # fmt: skip
    key_messages_per_second: int = setting(
        0, "Most messages of one API key in any second, by SMTP and HTTP together and over all processes and "
        "hosts; 0: any number.",
        example="100", unit="messages", least=0, most=1000000,
    )  # fmt: skip
    key_messages_per_minute: int = setting(
        0, "The same in any minute.", example="3000", unit="messages", least=0, most=10000000,
    )  # fmt: skip
    key_recipients_per_second: int = setting(
        0, "Most recipients of one API key's messages in any second, and so of one of them; 0: any number.",
        example="200", unit="recipients", least=0, most=1000000,
    )  # fmt: skip
    key_recipients_per_minute: int = setting(
        0, "The same in any minute.", example="5000", unit="recipients", least=0, most=10000000,
    )  # fmt: skip
    key_sessions: int = setting(
        200, "Most SMTP sessions of one API key at once, for each `mailer http`; 0: any number.",
        example="50", unit="sessions", least=0, most=100000,
    )  # fmt: skip
    report_token: str | None = setting(
        None, "What those who post abuse reports (XARF) to /reports/xarf must show, 20 characters or more; "
        "without it none are taken there.",
        unit="text", example="s3cr3t-of-20-characters", secret=True,
    )  # fmt: skip
    idempotency_hours: int = setting(
        24, "How long an Idempotency-Key is remembered.", example="72", unit="hours", least=1, most=720,
    )  # fmt: skip
