"""From the environment to settings, or to one error that names every fault."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from urllib.parse import quote

from pydantic import BeforeValidator, ValidationError
from pydantic_core import ErrorDetails

from mailer.compose.address import AddressError, parse_addr_spec
from mailer.config import describe
from mailer.config.values import is_loopback, parse_path
from mailer.identity.keys import MalformedKey, parse_key
from mailer.identity.names import BadName, parse_domain
from mailer.policy import brakeplan, warmplan
from mailer.policy.bouncerules import BounceRuleError
from mailer.policy.brakeplan import BrakePlanError, BrakeRules
from mailer.policy.classifier import Classifier, shipped, shipped_files
from mailer.policy.routing import RouteError, RouteTable
from mailer.policy.sites import SiteRuleError, SiteRules
from mailer.policy.warmplan import WarmupRules

if TYPE_CHECKING:
    from mailer.config.settings import Settings

_S = TypeVar("_S", bound="Settings")

PREFIX = "MAILER_"
SANDBOX_OPERATOR = "operator.mailer.test"  # .test is nobody's (RFC 6761 §6.2)
NO_PUBLIC_URL = (
    "MAILER_PUBLIC_URL is not set: mail of broadcast streams has no link to unsubscribe by, which Gmail and "
    "Yahoo demand of whoever sends many (docs/unsubscribe.md)"
)
_OWN_WORDS = "value_error"  # pydantic's type of what our parsers raise
_COMPUTED = "default_factory_not_called"  # only follows from another fault


class ConfigError(Exception):
    """The settings cannot be used. `problems`: one clear sentence each, naming the variable."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


def validate(model: type[_S], environ: Mapping[str, str], overrides: Mapping[str, object]) -> _S:
    """Raises ConfigError with the unknown variables and all faults of the known ones."""
    given: dict[str, object] = {}
    problems = []
    for variable, text in environ.items():
        if not variable.startswith(PREFIX):
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name in model.model_fields and variable == variable_of(name):
            given[name] = text.strip()
        else:
            problems.append(_unknown(variable, list(model.model_fields)))
    given |= {name: value for name, value in overrides.items() if value is not None}
    try:
        settings = model.model_validate(given)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=True)
        problems += [_sentence(model, fault, given) for fault in found if fault["type"] != _COMPUTED]
    if problems:
        raise ConfigError(problems)
    return settings


def variable_of(name: str) -> str:
    return PREFIX + name.upper()


def _unknown(variable: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(variable.removeprefix(PREFIX).lower(), known, n=1)
    hint = f"; did you mean {variable_of(near[0])}?" if near else "; `mailer check-config` lists them"
    return f"{variable} is not a setting{hint}"


def _sentence(model: type[Settings], fault: ErrorDetails, given: Mapping[str, object]) -> str:
    name = str(fault["loc"][0])
    line = describe.line(model, name)
    if fault["type"] == _OWN_WORDS:
        # Our parsers never repeat the value of a secret setting.
        return f"{line.variable} {fault['ctx']['error']}"
    shown = "" if line.secret else f", not {str(given.get(name))!r}"
    return f"{line.variable} must be {line.kind}{shown} (example: {line.example})"


def _of_public_url(settings: Settings) -> list[str]:
    url = settings.public_url
    if not settings.is_live or url is None or url.startswith("https://"):
        return []
    return [
        "MAILER_PUBLIC_URL must begin with https:// in live mode: no mail reader posts to anything else"
        " (RFC 8058 §3.1)"
    ]


def check_together(settings: Settings) -> None:
    """What no single setting can tell. Raises ConfigError."""
    problems = []
    if (settings.dkim_key_file is None) != (settings.dkim_selector is None):
        problems.append("MAILER_DKIM_KEY_FILE and MAILER_DKIM_SELECTOR must be set together")
    if settings.dkim_key_file is not None and settings.domain is None:
        problems.append("MAILER_DKIM_KEY_FILE needs MAILER_DOMAIN, the domain whose key it is")
    if settings.smtp_key_file is not None and settings.smtp_cert_file is None:
        problems.append("MAILER_SMTP_KEY_FILE needs MAILER_SMTP_CERT_FILE, the certificate whose key it is")
    if settings.smtp_auth_in_clear and (settings.is_live or not is_loopback(settings.smtp_host)):
        problems.append(
            "MAILER_SMTP_AUTH_IN_CLEAR needs MAILER_MODE=sandbox and a MAILER_SMTP_HOST such as 127.0.0.1:"
            " over a network, an API key sent without TLS is everybody's"
        )
    problems += _of_public_url(settings)
    if settings.max_request_mb < settings.max_message_mb:
        problems.append("MAILER_MAX_REQUEST_MB must not be smaller than MAILER_MAX_MESSAGE_MB")
    if settings.byte_budget_mb < settings.max_request_mb:
        problems.append("MAILER_BYTE_BUDGET_MB must not be smaller than MAILER_MAX_REQUEST_MB")
    if settings.sweep_seconds > settings.lease_seconds / 2:
        problems.append("MAILER_SWEEP_SECONDS must not be longer than half of MAILER_LEASE_SECONDS")
    if settings.report_token is not None and len(settings.report_token) < _TOKEN_CHARS:
        problems.append(f"MAILER_REPORT_TOKEN must have {_TOKEN_CHARS} characters at least")
    if problems:
        raise ConfigError(problems)


_TOKEN_CHARS = 20


def to_environ(settings: Settings) -> dict[str, str]:
    shown = {name: describe.as_text(getattr(settings, name)) for name in type(settings).model_fields}
    return {variable_of(name): text for name, text in shown.items() if text}


def warnings(settings: Settings) -> tuple[str, ...]:
    found = []
    if settings.operator_domain is None:
        found.append(
            "neither MAILER_OPERATOR_DOMAIN nor a full MAILER_HOSTNAME is set: submitters by SMTP get no "
            "notices of failure"
        )
        if settings.operator_mailbox is not None:
            found.append("mail to postmaster@ and abuse@ is kept, and not passed on: nobody can send it")
    if settings.public_url is None:
        found.append(NO_PUBLIC_URL)
    return tuple(found)


def operator_domain(is_sandbox: bool, hostname: str) -> str | None:
    """The default: in live mode this host's name, if it has one that others can know."""
    if is_sandbox:
        return SANDBOX_OPERATOR
    return None if hostname.partition(".")[2] in ("", "localdomain") else hostname


def quoted(path: Path) -> str:
    """The path as a URL carries it."""
    return quote(str(path))


_SHIPPED_RULES = ("sites.toml", "automation.toml")


def site_rules(overlay: Path | None, own: Mapping[str, Mapping[str, Any]] | None = None) -> SiteRules:
    """What mailbox providers take and what follows from their replies: the shipped rules under the
    operator's own, those of the file under those of the API.

    Raises SiteRuleError, naming the file and line of every fault.
    """
    return SiteRules.parse(site_files(overlay), own)


def site_files(overlay: Path | None) -> dict[str, str]:
    """Texts of the files of rules by name, the upper ones last. Raises SiteRuleError: one cannot be read."""
    data = resources.files("mailer.policy").joinpath("data")
    files = {name: data.joinpath(name).read_text(encoding="utf-8") for name in _SHIPPED_RULES}
    if overlay is not None:
        try:
            files[str(overlay)] = overlay.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SiteRuleError([f"{overlay} cannot be read: {error}"]) from None
    return files


def refusal_rules(overlay: Path | None) -> Classifier:
    """What refusals mean: the shipped rules under the operator's own.

    Raises BounceRuleError, naming the file and line of every fault.
    """
    if overlay is None:
        return shipped()
    return Classifier.parse(shipped_files(), bounce_texts(overlay))


def bounce_texts(*files: Path) -> dict[str, str]:
    """Texts of an operator's files by name. Raises BounceRuleError: one cannot be read."""
    texts = {}
    for file in files:
        try:
            texts[str(file)] = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BounceRuleError([f"{file} cannot be read: {error}"]) from None
    return texts


def site_by_route(settings: Settings) -> Callable[[str], str | None]:
    """The site of a domain by its route; None: it has none.

    Not the inbox of a sandbox whose port was not given: `mailer up` takes any free one, which only the
    processes that it starts know.
    """
    if settings.is_live or (settings.inbox_port and settings.is_set("inbox_port")):
        return settings.route_table.site
    return RouteTable.parse(settings.routes).site


def warmup_rules() -> WarmupRules:
    """The shipped plans of warm-up."""
    shipped = resources.files("mailer.policy").joinpath("data/warmup.toml")
    return warmplan.parse(shipped.read_text(encoding="utf-8"))


def brake_rules(own: Path | None) -> BrakeRules:
    """The shipped thresholds of the brake under the operator's own. Raises BrakePlanError."""
    shipped = resources.files("mailer.policy").joinpath("data/brake.toml").read_text(encoding="utf-8")
    if own is None:
        return brakeplan.parse(shipped)
    try:
        return brakeplan.parse(shipped, own.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, BrakePlanError) as error:
        raise BrakePlanError(f"{own}: {error}") from None


def _parse_brake_file(value: object) -> Path | None:
    """Like the file of sites: its faults are known before anything starts."""
    path = parse_path(value)
    if path is None or not path.exists():
        return path
    try:
        brake_rules(path)
    except BrakePlanError as error:
        raise ValueError(f"is not a file of thresholds that can be used: {error}") from None
    return path


def _parse_routes(value: object) -> str:
    try:
        RouteTable.parse(str(value))
    except RouteError as error:
        raise ValueError(f"is not a list of routes: {error}") from None
    return str(value).strip()


def _parse_domain(value: object) -> str | None:
    """The A-label form, lower case."""
    if value is None or value == "":
        return None
    try:
        return parse_domain(str(value))
    except BadName as error:
        raise ValueError(f"must be a domain name such as example.org: {error}") from None


def _parse_domains(value: object) -> tuple[str, ...]:
    """A-labels in lower case, each once."""
    items = value.split(",") if isinstance(value, str) else list(value) if isinstance(value, Iterable) else []
    found = [_parse_domain(item.strip()) for item in map(str, items) if item.strip()]
    return tuple(dict.fromkeys(domain for domain in found if domain is not None))


def _parse_mailbox(value: object) -> str | None:
    """An addr-spec."""
    if value is None or value == "":
        return None
    try:
        return parse_addr_spec(str(value)).addr_spec
    except AddressError as error:
        raise ValueError(f"must be an address such as hostmaster@example.org: {error}") from None


def _parse_api_key(value: object) -> str | None:
    if value is None or value == "":
        return None
    try:
        parse_key(str(value))
    except MalformedKey as error:
        raise ValueError(f"must be an API key as `mailer key new` prints it: {error}") from None
    return str(value)


Routes = Annotated[str, BeforeValidator(_parse_routes)]
BrakeFile = Annotated[Path | None, BeforeValidator(_parse_brake_file)]
DomainName = Annotated[str | None, BeforeValidator(_parse_domain)]
DomainNames = Annotated[tuple[str, ...], BeforeValidator(_parse_domains)]
OptionalMailbox = Annotated[str | None, BeforeValidator(_parse_mailbox)]
BootstrapKey = Annotated[str | None, BeforeValidator(_parse_api_key)]
