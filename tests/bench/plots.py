"""Pictures of measurements, drawn by the environment's own Python: it has matplotlib, the kit's need not."""

import json
import subprocess
import sys
from pathlib import Path

ENVIRONMENT = Path(__file__).resolve().parent / "../../.venv/bin/python"


def draw(kind: str, rows: list[dict], path: Path) -> None:
    """kind: a function of this file. Says where the picture is, or why there is none."""
    done = subprocess.run(
        [str(ENVIRONMENT), str(Path(__file__).resolve()), kind, str(path)],
        input=json.dumps(rows),
        text=True,
        capture_output=True,
        check=False,
    )
    print(f"plotted in {path}" if done.returncode == 0 else f"not plotted: {done.stderr.splitlines()[-1]}")


def backlog(axes, rows: list[dict]) -> None:
    sizes = [max(r["backlog"], 1) for r in rows]
    axes.plot(sizes, [r["end_to_end_per_s"] for r in rows], "o-", label="end to end")
    axes.plot(sizes, [r["accept_per_s"] for r in rows], "s--", label="accepted")
    axes.set(xscale="log", xlabel="messages waiting for another site", ylabel="messages/s", ylim=0)


def latency(axes, rows: list[dict]) -> None:
    for number, row in enumerate(rows):
        what = f"{row['name']}, {row['rate']:g}/s"
        axes.plot(row["latency_percentiles_ms"], range(1, 100), color=f"C{number}", label=what)
    axes.set(xscale="log", xlabel="ms from submission to arrival", ylabel="% of the messages", ylim=(0, 100))
    axes.grid(which="both", alpha=0.3)


def main() -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    kind, path = sys.argv[1:]
    figure, axes = pyplot.subplots(figsize=(7, 4))
    {"backlog": backlog, "latency": latency}[kind](axes, json.load(sys.stdin))
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
