"""`mailer send`: one message through the HTTP door of a running instance."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mailer.cli import greeting
from mailer.cli.faults import CommandFailed
from mailer.cli.options import data_dir_option, json_option, load_settings, print_json
from mailer.cli.preparation import kept_key

if TYPE_CHECKING:
    from mailer.config import Settings

_TIMEOUT_SECONDS = 30.0


@click.command()
@click.option("--from", "from_", required=True, help="Sender, as in 'Shop <shop@example.org>'.")
@click.option("--to", multiple=True, help="Recipient; may be repeated.")
@click.option("--cc", multiple=True, help="Recipient of a copy; may be repeated.")
@click.option("--bcc", multiple=True, help="Recipient the others do not see; may be repeated.")
@click.option("--reply-to", multiple=True, help="Where answers go; may be repeated.")
@click.option("--subject", default="", help="Subject.")
@click.option("--text", help="Text of the message; @FILE reads it from a file, - from standard input.")
@click.option("--html", help="The same in HTML.")
@click.option(
    "--header", "headers", multiple=True, metavar="NAME:VALUE", help="Header field; may be repeated."
)
@click.option("--tag", "tags", multiple=True, help="Word to find it by; may be repeated.")
@click.option("--stream", help="Stream it belongs to (default transactional).")
@click.option("--idempotency-key", help="Sending again with the same key sends nothing twice.")
@click.option("--url", help="Address of the HTTP door; default: of the instance in the data folder.")
@click.option("--key", help="API key; default MAILER_API_KEY, or the one of the first start.")
@data_dir_option
@json_option
def send(
    url: str | None,
    key: str | None,
    idempotency_key: str | None,
    as_json: bool,
    data_dir: Path | None,
    **given: Any,
) -> None:
    """Send a message through a running instance, and print its id.

    Example:

      mailer send --from shop@sandbox.mailer.test --to ann@example.org --subject Hello --text 'It works.'
    """
    settings = load_settings(data_dir=data_dir)
    headers = {"Authorization": f"Bearer {key or settings.api_key or _own_key(settings)}"}
    if idempotency_key:
        headers["Idempotency-Key"] = idempotency_key
    accepted = _post(url or _own_url(settings), _message(given), headers)
    if as_json:
        print_json(accepted)
    else:
        click.echo(f"{accepted['id']} is accepted; `mailer explain {accepted['id']}` tells its life")


def _message(given: dict[str, Any]) -> dict[str, object]:
    """The request's body; what was not given is left out."""
    fields: dict[str, object] = {
        "from": given["from_"],
        "subject": given["subject"],
        "text": _content(given["text"]),
        "html": _content(given["html"]),
        "headers": dict(_header(field) for field in given["headers"]),
        "stream": given["stream"],
    }
    fields |= {name: list(given[name]) for name in ("to", "cc", "bcc", "reply_to", "tags")}
    return {name: value for name, value in fields.items() if value}


def _content(text: str | None) -> str | None:
    if text == "-":
        return sys.stdin.read()
    if text is not None and text.startswith("@"):
        return Path(text[1:]).read_text(encoding="utf-8")
    return text


def _header(field: str) -> tuple[str, str]:
    name, colon, value = field.partition(":")
    if not colon:
        raise click.BadParameter(f"{field!r} has no colon", param_hint="--header")
    return name.strip(), value.strip()


def _own_key(settings: Settings) -> str:
    key = kept_key(settings.data_dir)
    if key is None:
        raise CommandFailed(f"no API key: give --key or MAILER_API_KEY; {settings.data_dir} keeps none")
    return key


def _own_url(settings: Settings) -> str:
    try:
        facts = json.loads((settings.run_dir / "http.json").read_bytes())
    except FileNotFoundError:
        raise CommandFailed(
            f"no instance runs in {settings.data_dir}: start `mailer up`, or give --url"
        ) from None
    return greeting.url(settings.http_host, int(facts["port"]))


def _post(url: str, message: dict[str, object], headers: dict[str, str]) -> dict[str, Any]:
    import httpx

    try:
        answer = httpx.post(
            f"{url.rstrip('/')}/v1/messages", json=message, headers=headers, timeout=_TIMEOUT_SECONDS
        )
        facts = answer.json()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise CommandFailed(f"{url} does not answer: {error}") from None
    except ValueError:
        raise CommandFailed(f"{url} answers {answer.status_code}, but is no HTTP door of ours") from None
    if answer.status_code != httpx.codes.ACCEPTED:
        raise CommandFailed(f"refused ({answer.status_code}): {_problem(facts)}")
    return dict(facts)


def _problem(facts: Any) -> str:
    """The problem document (RFC 9457) in one sentence."""
    if not isinstance(facts, dict):
        return "no reason given"
    faults = facts.get("errors") or []
    places = ", ".join(str(fault.get("pointer")) for fault in faults if fault.get("pointer"))
    return f"{facts.get('detail') or facts.get('title')}" + (f" (at {places})" if places else "")
