"""All providers of a script in virtual time.

The seam for whatever else is tried out here (a warm-up plan, another sender): tell it how many messages go
from which IP to which provider now, and hear what they are answered.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

from mailer.simulate.provider import Heard, Provider
from mailer.simulate.script import Part, Script


class World:
    """Deterministic: the same script, seed and calls bring the same answers."""

    def __init__(self, script: Script, seed: int) -> None:
        self.script = script
        self._providers = {
            part.name: Provider(part, random.Random(f"{seed}/{part.name}").random)  # noqa: S311 - a game
            for part in script.parts
        }

    @property
    def parts(self) -> Mapping[str, Part]:
        """Providers by name."""
        return {name: provider.part for name, provider in self._providers.items()}

    def provider(self, name: str) -> Provider:
        """Raises KeyError."""
        return self._providers[name]

    def send(
        self,
        ip: str,
        provider: str,
        count: int,
        now: float,
        *,
        first_seen: float | None = None,
        connections: int = 1,
    ) -> list[Heard]:
        """What `count` messages from `ip` hear at a provider `now` seconds after the script began.

        first_seen   when they were first tried there, for greylists; None: they are new
        connections  over which they are sent at once

        Of one IP and provider `now` must not go back. Raises KeyError: no such provider.
        """
        return self._providers[provider].send(ip, now, count, first_seen=first_seen, connections=connections)
