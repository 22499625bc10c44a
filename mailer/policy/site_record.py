"""A provider's rule as it is shown, and as the section that would make it."""

from __future__ import annotations

from typing import Any

from mailer.policy.limits import as_values
from mailer.policy.site_file import Provider


def record_of(provider: Provider) -> dict[str, Any]:
    """For answers: what is not limited is None, or is not there where it is a limit on messages over time."""
    return {
        "name": provider.name,
        "mx": list(provider.mx),
        "connections": provider.connections,
        "messages_per_session": provider.messages_per_session,
        **as_values(provider.rates),
        "connections_per_minute": None if provider.connects is None else provider.connects.count,
        "together": as_values(provider.together),
        "one_site": provider.one_site,
        "tls": provider.tls,
        "pool": provider.pool,
        "source": provider.source,
        "place": provider.place,
    }


def section_of(provider: Provider) -> dict[str, Any]:
    """The values of [provider.NAME], or [default], that say the same."""
    record = record_of(provider)
    for key in ("name", "place"):
        del record[key]
    if record["one_site"]:
        del record["one_site"]  # as where nothing is said
    return {key: value for key, value in record.items() if value is not None and value != {}}
