"""A worker in a process of its own: prints one line per fact, with the monotonic clock in nanoseconds."""

from __future__ import annotations

import logging
import sys
import time

from mailer.tasks import make_app, run_worker


def say(word: str) -> None:
    sys.stdout.write(f"{word} {time.monotonic_ns()}\n")
    sys.stdout.flush()


class Unreachable(logging.Handler):
    """Says that the worker could not reach its broker and will try again."""

    def emit(self, record: logging.LogRecord) -> None:
        if "Cannot connect" in record.getMessage():
            say("unreachable")


def main(broker_url: str, *, fail_first: bool) -> int:
    logging.getLogger("celery").addHandler(Unreachable())
    failing = iter([fail_first])

    def pull() -> None:
        if next(failing, False):
            raise RuntimeError("as told")
        say("heard")

    code = run_worker(
        make_app(broker_url), pull, on_ready=lambda: say("ready"), on_stop=lambda: say("stopping")
    )
    say("stopped")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], fail_first="fail-first" in sys.argv[2:]))
