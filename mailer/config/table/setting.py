"""One line of the table of settings."""

from __future__ import annotations

from typing import Any

from pydantic import Field


def setting(
    default: Any,
    meaning: str,
    *,
    example: str,
    unit: str = "",
    least: float | None = None,
    most: float | None = None,
    secret: bool = False,
) -> Any:
    """A line of the table. A callable default is computed from the settings above it.

    unit: of a number, or what kind of text it is. secret: shown nowhere, not in an error either.
    """
    facts = {"unit": unit, "secret": secret}
    common: dict[str, Any] = {
        "description": meaning, "examples": [example], "ge": least, "le": most, "json_schema_extra": facts,
    }  # fmt: skip
    common |= {"validate_default": True, "repr": not secret}
    return Field(default_factory=default, **common) if callable(default) else Field(default, **common)
