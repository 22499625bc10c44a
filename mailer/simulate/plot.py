"""A run as a picture: what each provider accepted and refused by the hour, and the rate that was learnt."""

from __future__ import annotations

from pathlib import Path

from mailer.simulate.run import Outcome

_INCHES_WIDE, _INCHES_EACH = 11.0, 2.6


class NoPlots(Exception):
    """matplotlib is not installed; the text says what installs it."""


def draw(outcome: Outcome, file: Path) -> None:
    """Writes a PNG, one panel a provider. Raises NoPlots, OSError."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise NoPlots("plots need matplotlib: pip install 'ecm-mailer[plots]'") from None
    count = len(outcome.hours)
    figure = Figure(figsize=(_INCHES_WIDE, _INCHES_EACH * count + 0.6), layout="constrained")
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
