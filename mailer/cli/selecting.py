"""The options that say which mail is meant, and what acting on it takes."""

from __future__ import annotations

import functools
import os
import pwd
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mailer.cli.options import load_settings, open_store

if TYPE_CHECKING:
    from mailer.queue.actions import Doer
    from mailer.queue.pieces import Means
    from mailer.queue.selection import Selection
    from mailer.store import Store

_F = TypeVar("_F", bound=Callable[..., Any])
_NAMES = ("tenant_name", "stream", "domain", "site", "message", "recipient", "everything")
_OPTIONS = (
    click.option("--tenant", "tenant_name", help="Mail of this tenant."),
    click.option("--stream", help="In streams of this name."),
    click.option("--domain", help="To recipients at this domain."),
    click.option("--site", help="To this site, as `mailer queue top` names it."),
    click.option("--message", metavar="ID", help="Of this message (msg_...)."),
    click.option("--recipient", metavar="ID", help="To this recipient (rcpt_...)."),
    click.option("--all", "everything", is_flag=True, help="All that waits, where nothing else is said."),
)
dry_run_option: Callable[[_F], _F] = click.option(
    "--dry-run", is_flag=True, help="Only say how many recipients are meant."
)


@dataclass(frozen=True, slots=True)
class Said:
    """What the options say, not yet looked up."""

    tenant_name: str | None
    stream: str | None
    domain: str | None
    site: str | None
    message: str | None
    recipient: str | None
    everything: bool

    def selection(self, store: Store) -> Selection:
        """Raises Unknown (tenant), BadParameter; UsageError if nothing is said, not even --all."""
        from mailer.identity import tenants
        from mailer.queue.selection import Selection

        tenant_id = None if self.tenant_name is None else tenants.named(store, self.tenant_name).id
        made = Selection(
            tenant_id=tenant_id,
            stream=self.stream,
            domain=_domain(self.domain),
            site=self.site,
            message_id=_id("msg", self.message, "--message"),
            recipient_id=_id("rcpt", self.recipient, "--recipient"),
        )
        if made.is_everything and not self.everything:
            raise click.UsageError("say which mail is meant: --tenant, --domain, --site ..., or --all")
        return made


def selecting(command: _F) -> _F:
    """Adds the options; the command gets `said`."""

    @functools.wraps(command)
    def with_said(**given: Any) -> Any:
        return command(said=Said(**{name: given.pop(name) for name in _NAMES}), **given)

    made: Any = with_said
    for option in reversed(_OPTIONS):
        made = option(made)
    selected: _F = made
    return selected


def _domain(text: str | None) -> str | None:
    from mailer.identity.names import BadName, parse_domain

    try:
        return None if text is None else parse_domain(text)
    except BadName as error:
        raise click.BadParameter(str(error), param_hint="--domain") from None


def _id(kind: str, text: str | None, option: str) -> int | None:
    from mailer import ids

    try:
        return None if text is None else ids.parse(kind, text)
    except ids.MalformedId as error:
        raise click.BadParameter(str(error), param_hint=option) from None


def operator() -> Doer:
    """Whoever gives the command, by the name that this machine knows."""
    from mailer.queue.actions import Doer

    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = f"uid {os.getuid()}"
    return Doer(f"{name} on {os.uname().nodename}"[:200])


@contextmanager
def means_of(given: dict[str, Any]) -> Iterator[Means]:
    """given: the shared options. Registered as a process of its own, under whose number usage is counted."""
    from mailer import clock
    from mailer.config.load import site_by_route
    from mailer.ids import IdMaker
    from mailer.queue import incarnations
    from mailer.queue.pieces import Means

    settings = load_settings(**given)
    with open_store(settings) as store:
        me = incarnations.register(
            store, role="command", host=os.uname().nodename[:64], pid=os.getpid(), now=clock.now(),
            wall_ms=clock.wall_ms(),
        )  # fmt: skip
        try:
            new_id = IdMaker(me.process_number, clock.wall_ms)
            yield Means(store, new_id, me.process_number, clock.now, site_by_route(settings))
        finally:
            incarnations.end(store, me.id, now=clock.now())
