"""`mailer up`: everything on one machine, in one data folder, from nothing."""

from __future__ import annotations

import contextlib
import http.client
import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import mailer
from mailer.cli import earlier, greeting
from mailer.cli.child import Child, Death, Role
from mailer.cli.faults import CommandFailed
from mailer.cli.options import data_dir_option, json_option, load_settings
from mailer.cli.preparation import Prepared, check_port, only_here, prepare
from mailer.cli.signals import Signals
from mailer.cli.supervisor import Interrupted, Supervisor
from mailer.config.values import reachable

if TYPE_CHECKING:
    from mailer.config import Settings

_READY_SECONDS = 60.0
_HTTP = "http"
_INBOX = "inbox"
_RETURNS = "returns"


@click.command()
@data_dir_option
@click.option("--http-port", type=int, help="Port of the HTTP door (default 8025); 0 takes any free one.")
@click.option("--smtp-port", type=int, help="Port of the SMTP door with STARTTLS (default 2587).")
@click.option("--smtps-port", type=int, help="Port of the SMTP door with implicit TLS (default 2465).")
@click.option("--workers", type=int, help="Worker processes (default 1).")
@click.option("--live", is_flag=True, help="Deliver to the world instead of the local inbox.")
@json_option
def up(as_json: bool, live: bool, **given: Any) -> None:
    """Run everything on this machine: HTTP door, worker, sweeper and sandbox inbox.

    The first start makes the data folder, the database, a tenant, a sending domain with DKIM keys and an
    API key; later starts find all as it was. The key made up at the first start is kept in
    bootstrap.json of the data folder, readable by its owner only, and shown again at every start.

    With --json one line says when all is ready: http_url, smtp_host, smtp_port, smtps_port, returns_port,
    api_key, domain, inbox_url and the pids of the roles; logs then go to the folder log/ of the data folder.
    A role that dies is started again. Ctrl-C stops all; sessions whose message is just being taken are
    awaited up to 50 seconds, a second Ctrl-C does not wait.
    """
    settings = load_settings(**given, mode="live" if live else None)
    settings = _side_by_side(settings)
    with only_here(settings), Signals() as signals:
        earlier.await_end(settings.run_dir, signals)
        check_port(settings.http_host, settings.http_port, "MAILER_HTTP_PORT (--http-port)")
        check_port(settings.smtp_host, settings.smtp_port, "MAILER_SMTP_PORT (--smtp-port)")
        check_port(settings.smtp_host, settings.smtps_port, "MAILER_SMTPS_PORT (--smtps-port)")
        check_port(settings.inbox_host, settings.inbox_port, "MAILER_INBOX_PORT")
        check_port(settings.returns_host, settings.returns_port, "MAILER_RETURNS_PORT")
        prepared = prepare(settings)
        sys.exit(_Instance(settings, prepared, signals, as_json).run())


def _side_by_side(settings: Settings) -> Settings:
    """Free ports where none was asked for, so that instances need not be told about each other.

    Of the inbox, which only our own worker has to know; and of the SMTP door beside an HTTP door that has a
    port of its own.
    """
    names = ["inbox_port"]
    if settings.is_set("http_port"):
        names += ["smtp_port", "smtps_port", "returns_port"]
    return settings.model_copy(update={name: 0 for name in names if not settings.is_set(name)})


@dataclass(frozen=True, slots=True)
class _Roles:
    inbox: Child | None  # takes what comes back as well; in live mode a role of its own does
    returns: Child | None
    http: Child
    others: tuple[Child, ...]  # the sweeper, the caller and the workers

    @property
    def takes_returns(self) -> Child:
        taking = self.inbox or self.returns
        assert taking is not None
        return taking

    @property
    def all(self) -> tuple[Child, ...]:
        return (*self.early, *((self.inbox,) if self.inbox else ()))

    @property
    def early(self) -> tuple[Child, ...]:
        """Those that end before the inbox, which still answers their last sessions."""
        return (self.http, *self.others, *((self.returns,) if self.returns else ()))


class _Instance:
    def __init__(self, settings: Settings, prepared: Prepared, signals: Signals, as_json: bool) -> None:
        from mailer import clock

        self._settings = settings
        self._prepared = prepared
        self._as_json = as_json
        self._monotonic = clock.monotonic
        self._supervisor = Supervisor(signals, monotonic=clock.monotonic, on_death=self._mourn)
        self._roles = self._cast()

    def run(self) -> int:
        """The exit code: 0 if all ended in order."""
        try:
            self._start()
            self._greet()
            self._supervisor.watch()
        except Interrupted:
            pass
        except BaseException:
            self._supervisor.stop(self._roles.early)
            raise
        return 0 if self._supervisor.stop(self._roles.early) else 1

    def _cast(self) -> _Roles:
        from mailer.config import role_name

        indexes = range(1, self._settings.workers + 1)
        workers = [self._child(role_name("worker", i), "worker", "--index", str(i)) for i in indexes]
        # In live mode nothing goes to the inbox.
        is_live = self._settings.is_live
        inbox = None if is_live else self._child(_INBOX, _INBOX)
        returns = self._child(_RETURNS, _RETURNS) if is_live else None
        beside = [self._child(name, name) for name in ("sweeper", "caller")]
        return _Roles(inbox, returns, self._child(_HTTP, _HTTP), (*beside, *workers))

    def _child(self, name: str, *arguments: str) -> Child:
        run_dir, log_dir = self._settings.run_dir, self._settings.log_dir
        for folder in (run_dir, log_dir):
            folder.mkdir(exist_ok=True)
        # -P: children run this very code (PYTHONPATH), whatever lies in the folder they start in.
        command = (sys.executable, "-P", "-m", "mailer", *arguments, "--follow", str(os.getpid()))
        echo = None if self._as_json else _echo
        return Child(
            Role(name, command), run_dir=run_dir, log_dir=log_dir, echo=echo, monotonic=self._monotonic
        )

    def _start(self) -> None:
        environ = self._environ()
        inbox, http_door = self._roles.inbox, self._roles.http
        if inbox is not None:
            self._supervisor.start(inbox, environ)
        self._supervisor.start(http_door, environ)
        more: dict[str, str] = {}
        if inbox is not None:
            # Workers send there, so they start when its port is known.
            self._await([inbox])
            more = {"MAILER_INBOX_PORT": str(_port(inbox))}
        for child in (*self._roles.others, *((self._roles.returns,) if self._roles.returns else ())):
            self._supervisor.start(child, {**environ, **more})
        self._await(self._roles.all)
        taking = self._roles.takes_returns
        self._supervisor.pin(taking, **more, MAILER_RETURNS_PORT=str(_port(taking, "returns_port")))
        self._supervisor.pin(
            http_door,
            MAILER_HTTP_PORT=str(_port(http_door)),
            MAILER_SMTP_PORT=str(_port(http_door, "smtp_port")),
            MAILER_SMTPS_PORT=str(_port(http_door, "smtps_port")),
        )
        self._supervisor.wait_until(self._is_ready, seconds=_READY_SECONDS, what="the HTTP door")

    def _environ(self) -> Mapping[str, str]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("MAILER_")}
        environ |= self._settings.to_environ()
        paths = [str(Path(mailer.__file__).parents[1]), *filter(None, [environ.get("PYTHONPATH")])]
        environ["PYTHONPATH"] = os.pathsep.join(paths)
        if not self._as_json and not self._settings.is_set("log_level"):
            environ["MAILER_LOG_LEVEL"] = "warning"
        return environ

    def _await(self, children: tuple[Child, ...] | list[Child]) -> None:
        names = ", ".join(child.name for child in children)
        self._supervisor.wait_until(
            lambda: all(child.announced() for child in children), seconds=_READY_SECONDS, what=names
        )

    def _is_ready(self) -> bool:
        host = reachable(self._settings.http_host)
        connection = http.client.HTTPConnection(host, _port(self._roles.http), timeout=2.0)
        try:
            connection.request("GET", "/health/ready")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _greet(self) -> None:
        facts = greeting.Facts(
            http_url=greeting.url(self._settings.http_host, _port(self._roles.http)),
            smtp_host=reachable(self._settings.smtp_host),
            smtp_port=_port(self._roles.http, "smtp_port"),
            smtps_port=_port(self._roles.http, "smtps_port"),
            returns_port=_port(self._roles.takes_returns, "returns_port"),
            api_key=self._prepared.api_key,
            key_is_kept=not self._settings.is_set("api_key"),
            domain=self._prepared.domain,
            has_inbox=self._roles.inbox is not None,
            pids=self._supervisor.pids(),
            data_dir=self._settings.data_dir,
            command="mailer" if shutil.which("mailer") else shlex.quote(sys.argv[0]),
        )
        click.echo(greeting.as_json(facts) if self._as_json else greeting.as_text(facts))

    def _mourn(self, death: Death) -> None:
        pause = max(0.0, death.restart_at - self._monotonic())
        _echo("up", f"{death.name} (pid {death.pid}) {death.how}; it starts again in {pause:.1f} s")


def _port(child: Child, name: str = "port") -> int:
    facts = child.announced()
    if facts is None:
        raise CommandFailed(f"the role {child.name} ended as soon as it was ready")
    return int(facts[name])


def _echo(name: str, line: str) -> None:
    # When the terminal is gone the roles' output must still be read, or they would block.
    with contextlib.suppress(OSError):
        click.echo(f"{name:<9} | {line}", err=True)
