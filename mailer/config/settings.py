"""All settings together. `http_port` is MAILER_HTTP_PORT in the environment."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Self

from pydantic import ConfigDict

from mailer.config import load
from mailer.config.load import ConfigError
from mailer.config.table.delivery import Delivery
from mailer.config.table.doors import Doors
from mailer.config.table.keeping import Keeping
from mailer.config.table.places import Places
from mailer.config.table.returning import Returning
from mailer.config.table.sending import SANDBOX_DOMAIN, Mode, Sending
from mailer.config.table.workers import Workers
from mailer.config.values import reachable
from mailer.policy.routing import Route, RouteTable

__all__ = ["SANDBOX_DOMAIN", "Mode", "Settings", "role_name"]


def role_name(role: str, index: int = 1) -> str:
    """What a role process is called in files and answers: `worker`, `worker-2`, ..."""
    return role if index == 1 else f"{role}-{index}"


class Settings(Keeping, Returning, Delivery, Workers, Doors, Sending, Places):
    """Every value is resolved: what was not set has its default, some of them computed from the others.

    The parts stand in reverse: the last one is read first, and defaults may be computed from what is above.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

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
        return RouteTable([*table.routes, self._to_inbox])

    @property
    def _to_inbox(self) -> Route:
        return Route(pattern="*", host=reachable(self.inbox_host), port=self.inbox_port)

    @property
    def own_sites(self) -> frozenset[str]:
        """The inbox of a sandbox, which is this installation's own: nobody has to be polite to it."""
        return frozenset() if self.is_live or not self.inbox_port else frozenset({self._to_inbox.site})

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
