"""Which errors are expected, and the sentence they end a command with."""

from __future__ import annotations

import errno
from dataclasses import dataclass

BAD_SETTINGS = 2
FAILED = 1


class CommandFailed(Exception):
    """The command cannot do what was asked; the message is one clear sentence."""


@dataclass(frozen=True, slots=True)
class Fault:
    text: str
    exit_code: int


def known(error: Exception) -> Fault | None:
    """How an expected error ends the command; None for a defect. Imports late: errors are rare."""
    from dns_templates import TemplateError
    from mailer.config import ConfigError
    from mailer.identity.names import IdentityError
    from mailer.identity.vault import SealBroken
    from mailer.policy.bouncerules import BounceRuleError
    from mailer.policy.brakeplan import BrakePlanError
    from mailer.policy.sites import SiteRuleError
    from mailer.queue.holds import TooManyHolds
    from mailer.simulate.script import ScriptError
    from mailer.store import StoreUnavailable
    from mailer.store.schema import SchemaMismatch

    match error:
        case ConfigError():
            return Fault("\nmailer: ".join(error.problems), BAD_SETTINGS)
        case SiteRuleError() | BounceRuleError() | ScriptError():
            return Fault("\nmailer: ".join(error.faults), BAD_SETTINGS)
        case StoreUnavailable():
            return Fault(f"the database does not answer: {_first_line(error)}", FAILED)
        case (
            CommandFailed()
            | BrakePlanError()
            | IdentityError()
            | SealBroken()
            | SchemaMismatch()
            | TemplateError()
            | TooManyHolds()
        ):
            return Fault(str(error), FAILED)
        case PermissionError() | FileExistsError() | NotADirectoryError() | FileNotFoundError():
            return Fault(f"{error.filename or 'a file'}: {error.strerror}", FAILED)
        case OSError(errno=errno.EADDRINUSE | errno.EADDRNOTAVAIL):
            return Fault(f"cannot listen: {error.strerror}", FAILED)
        case _:
            return None


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
