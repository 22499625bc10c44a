"""The table of settings for people: `mailer check-config`, the README, and the words of errors."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, get_args

from annotated_types import Ge, Le
from pydantic.fields import FieldInfo

from mailer.config.values import show_duration, without_password

if TYPE_CHECKING:
    from mailer.config.settings import Settings

_COMPUTED_DEFAULTS = {
    "database_url": "SQLite in the data folder",
    "broker_url": "the embedded bell",
    "domain": "sandbox.mailer.test in sandbox mode",
    "hostname": "this host's name",
    "operator_domain": "operator.mailer.test in sandbox mode, else MAILER_HOSTNAME if it is a full name",
    "brake": "true in live mode",
}
_NUMBERS = {int: "a whole number", float: "a number"}


@dataclass(frozen=True, slots=True)
class SettingLine:
    """One setting. kind: what its value must be, to follow "must be". default: empty if there is none."""

    name: str
    variable: str
    kind: str
    default: str
    unit: str
    example: str
    meaning: str
    secret: bool


def lines(model: type[Settings]) -> list[SettingLine]:
    return [line(model, name) for name in model.model_fields]


def line(model: type[Settings], name: str) -> SettingLine:
    field = model.model_fields[name]
    facts: dict[str, Any] = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    return SettingLine(
        name=name,
        variable=f"MAILER_{name.upper()}",
        kind=_kind(field, str(facts["unit"])),
        default=_COMPUTED_DEFAULTS.get(name) or as_text(field.default),
        unit=str(facts["unit"]),
        example=str((field.examples or [""])[0]),
        meaning=field.description or "",
        secret=bool(facts["secret"]),
    )


def _kind(field: FieldInfo, unit: str) -> str:
    kind: Any = field.annotation
    if kind is bool:
        return "true or false"
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return f"one of {', '.join(kind)}"
    if kind in _NUMBERS:
        of = f" of {unit}" if unit else ""
        return f"{_NUMBERS[kind]}{of}{_range(field)}"
    words = [word for word in get_args(kind) if isinstance(word, str)]
    return f"one of {', '.join(words)}" if words else unit or "a text"


def _range(field: FieldInfo) -> str:
    least = next((m.ge for m in field.metadata if isinstance(m, Ge)), None)
    most = next((m.le for m in field.metadata if isinstance(m, Le)), None)
    return f" from {least} to {most}" if least is not None and most is not None else ""


def as_text(value: object) -> str:
    """A value as the environment would say it; empty for none."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case timedelta():
            return show_duration(value)
        case bytes():
            return value.hex()
        case tuple():
            return ",".join(as_text(item) for item in value)
        case float() if value.is_integer():
            return str(int(value))
        case _:
            return str(value)


def shown_value(settings: Settings, name: str) -> str:
    """The value as it may be seen: URLs without their password, other secrets not at all."""
    text = as_text(getattr(settings, name))
    if not line(type(settings), name).secret or not text:
        return text
    return without_password(text) if name.endswith("_url") else "(set)"


def markdown(model: type[Settings]) -> str:
    """The table of the README."""
    rows = [
        f"| `{s.variable}` | {f'`{s.default}`' if s.default else ''} | {s.kind} | {s.meaning} |"
        for s in lines(model)
    ]
    return "\n".join(["| setting | default | value | meaning |", "|---|---|---|---|", *rows])
