"""Pictures that commands draw where matplotlib is installed (the extra `plots`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mailer.cli.faults import CommandFailed

if TYPE_CHECKING:
    from mailer.policy.warmcurve import Curve


def _pyplot() -> Any:
    """Without a display. Raises CommandFailed."""
    try:
        import matplotlib
    except ImportError:
        raise CommandFailed("drawing needs matplotlib: pip install 'ecm-mailer[plots]'") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def plot_warmup(curve: Curve, volume: int, title: str, file: Path) -> None:
    """Sent and over by day, with the cap. Raises CommandFailed."""
    pyplot = _pyplot()
    days = [d.day for d in curve.days]
    figure, axes = pyplot.subplots(figsize=(9, 5))
    sent = [d.sent for d in curve.days]
    axes.bar(days, sent, label="sent by the new IP", color="#2a7f62")
    axes.bar(days, [d.over for d in curve.days], bottom=sent, label="over its caps", color="#d9d9d9")
    axes.axhline(volume, color="#444444", linewidth=0.8, linestyle="--", label="volume")
    if curve.warm_on is not None:
        axes.axvline(curve.warm_on, color="#b5522b", linewidth=0.8, label=f"warm on day {curve.warm_on}")
    axes.set_ylim(0, volume * 1.1)
    axes.set_xlabel("day")
    axes.set_ylabel("messages")
    axes.set_title(title)
    axes.legend(loc="upper left")
    try:
        figure.savefig(file, format="png", dpi=120)
    except OSError as error:
        raise CommandFailed(f"{file} cannot be written: {error.strerror}") from None
    finally:
        pyplot.close(figure)
