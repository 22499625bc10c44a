"""Runs as pictures: what each provider accepted and refused by the hour, and the rate that was learnt; what
each IP sent by the day, and its cap.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mailer.simulate.run import Outcome
from mailer.simulate.warmed import Growth

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INCHES_WIDE, _INCHES_EACH = 11.0, 2.6


class NoPlots(Exception):
    """matplotlib is not installed; the text says what installs it."""


def draw(outcome: Outcome, file: Path) -> None:
    """Writes a PNG, one panel a provider. Raises NoPlots, OSError."""
    count = len(outcome.hours)
    figure = _figure(count)
    panels = figure.subplots(count, 1, sharex=True, squeeze=False)
    for panel, (name, hours) in zip(panels[:, 0], outcome.hours.items(), strict=True):
        at = [hour.number for hour in hours]
        accepted = [hour.accepted for hour in hours]
        panel.bar(at, accepted, color="#4a7", label="accepted", width=0.9)
        panel.bar(
            at, [hour.limited for hour in hours], bottom=accepted, color="#c43", label="refused for rate"
        )
        rates = [float("nan") if hour.rate is None else hour.rate for hour in hours]
        panel.step(at, rates, where="mid", color="#223", linewidth=1, label="rate in force")
        panel.set_title(name, loc="left", fontsize=10)
        panel.set_ylabel("messages an hour")
    panels[0, 0].legend(loc="upper right", fontsize=8)
    panels[-1, 0].set_xlabel("hours")
    figure.suptitle(f"{outcome.script}, seed {outcome.seed}")
    figure.savefig(file, format="png", dpi=110)


def draw_growth(growth: Growth, file: Path) -> None:
    """Writes a PNG, one panel an IP. Raises NoPlots, OSError."""
    figure = _figure(len(growth.days))
    panels = figure.subplots(len(growth.days), 1, sharex=True, squeeze=False)
    for panel, (ip, days) in zip(panels[:, 0], growth.days.items(), strict=True):
        at = [day.number for day in days]
        taken = [day.accepted for day in days]
        panel.bar(at, taken, color="#4a7", label="accepted", width=0.9)
        blocked = [day.blocked for day in days]
        panel.bar(at, blocked, bottom=taken, color="#c43", label="refused for our IP")
        caps = [float("nan") if day.cap is None else day.cap for day in days]
        panel.step(at, caps, where="mid", color="#223", linewidth=1, label="cap")
        panel.set_title(ip, loc="left", fontsize=10)
        panel.set_ylabel("messages a day")
    panels[0, 0].legend(loc="upper left", fontsize=8)
    panels[-1, 0].set_xlabel("days")
    figure.suptitle(f"{growth.script}, seed {growth.seed}")
    figure.savefig(file, format="png", dpi=110)


def _figure(panels: int) -> Figure:
    """Raises NoPlots."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise NoPlots("plots need matplotlib: pip install 'ecm-mailer[plots]'") from None
    return Figure(figsize=(_INCHES_WIDE, _INCHES_EACH * panels + 0.6), layout="constrained")
