"""A worker in a process of its own: prints one line per fact, with the monotonic clock in nanoseconds."""

from __future__ import annotations

import sys
import time

from mailer.tasks import make_app, run_worker


def say(word: str) -> None:
    sys.stdout.write(f"{word} {time.monotonic_ns()}\n")
    sys.stdout.flush()


def main(broker_url: str) -> int:
    code = run_worker(
        make_app(broker_url),
        lambda: say("heard"),
        on_ready=lambda: say("ready"),
        on_stop=lambda: say("stopping"),
    )
    say("stopped")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
