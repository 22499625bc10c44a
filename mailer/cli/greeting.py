"""What `mailer up` says when all is ready: to people, or as the one line of JSON."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import mailer
from mailer.config.values import reachable


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What there is to tell.

    smtp_port    with STARTTLS; smtps_port: with implicit TLS; returns_port: of what comes back
    api_key      None if revoked
    key_is_kept  true if it was made up, and lies in the data folder
    domain       None if there is none yet
    pids         by role
    command      how this command is called here, fit to be pasted
    """

    http_url: str
    smtp_host: str
    smtp_port: int
    smtps_port: int
    returns_port: int
    api_key: str | None
    key_is_kept: bool
    domain: str | None
    has_inbox: bool
    pids: Mapping[str, int]
    data_dir: Path
    command: str = "mailer"

    @property
    def inbox_url(self) -> str | None:
        return f"{self.http_url}/inbox" if self.has_inbox else None


def as_json(facts: Facts) -> str:
    return json.dumps(
        {
            "http_url": facts.http_url,
            "smtp_host": facts.smtp_host,
            "smtp_port": facts.smtp_port,
            "smtps_port": facts.smtps_port,
            "returns_port": facts.returns_port,
            "api_key": facts.api_key,
            "domain": facts.domain,
            "inbox_url": facts.inbox_url,
            "pids": dict(facts.pids),
        }
    )


def as_text(facts: Facts) -> str:
    mode = "sandbox: all mail ends in the inbox" if facts.has_inbox else "live: mail is delivered"
    lines = [
        f"ECM Mailer {mailer.__version__} is ready ({mode}).",
        "",
        f"  HTTP API  {facts.http_url}/v1/messages",
        f"  API docs  {facts.http_url}/docs, as OpenAPI at {facts.http_url}/openapi.json",
        f"  SMTP      {facts.smtp_host}:{facts.smtp_port} (STARTTLS), {facts.smtps_port} (implicit TLS);"
        " any user name, the API key as password",
        f"  Returns   port {facts.returns_port}: bounces, complaints and reports, by SMTP",
        *([f"  Inbox     {facts.inbox_url}"] if facts.inbox_url else []),
        f"  Domain    {facts.domain or 'none yet: `mailer domain create`'}",
        f"  API key   {facts.api_key or 'revoked: `mailer key create` makes another'}",
        f"  Data      {facts.data_dir}"
        + (" (the key is kept there, in bootstrap.json)" if facts.key_is_kept else ""),
        *_first_message(facts),
        "",
        "Warnings appear below. Ctrl-C stops everything.",
    ]
    return "\n".join(lines)


def _first_message(facts: Facts) -> list[str]:
    if facts.domain is None or facts.api_key is None:
        return []
    message = {
        "from": f"Shop <shop@{facts.domain}>",
        "to": "ann@example.org",
        "subject": "Hello",
        "text": "It works.",
    }
    look = facts.inbox_url or f"`{facts.command} messages`"
    explain = f"{facts.command} explain ID --data-dir {shlex.quote(str(facts.data_dir))}"
    return [
        "",
        "Send a message:",
        "",
        f"  curl {facts.http_url}/v1/messages \\",
        f"    -H 'Authorization: Bearer {facts.api_key}' \\",
        "    -H 'Content-Type: application/json' \\",
        f"    -d {shlex.quote(json.dumps(message))}",
        "",
        "or by SMTP:",
        "",
        f"  swaks --server {facts.smtp_host}:{facts.smtp_port} --tls --auth PLAIN --auth-user any \\",
        f"    --auth-password {facts.api_key} --from shop@{facts.domain} --to ann@example.org",
        "",
        f"  python3 -c {shlex.quote(_smtplib(facts))}",
        "",
        f"and look at {look}; `{explain}` tells its life.",
    ]


def _smtplib(facts: Facts) -> str:
    """A program on one line; the sandbox's certificate is vouched for by nobody, so it is not checked."""
    letter = f"From: shop@{facts.domain}\\nTo: ann@example.org\\nSubject: Hello\\n\\nIt works."
    return (
        f'import smtplib; s = smtplib.SMTP("{facts.smtp_host}", {facts.smtp_port}); s.starttls(); '
        f's.login("any", "{facts.api_key}"); '
        f's.sendmail("shop@{facts.domain}", ["ann@example.org"], "{letter}"); s.quit()'
    )


def url(host: str, port: int) -> str:
    host = reachable(host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
