"""The product on PostgreSQL and a broker, as one command for the bench kit.

    python -m tests.bench.on_postgres --broker rabbitmq|redis --data-dir D --http-port N

Starts the servers with folders of their own (PostgreSQL with fsync on), then `mailer up` on them, and
ends all on SIGTERM. Their CPU time counts as the product's.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from contextlib import ExitStack, closing
from types import FrameType

from tests.support.servers import Postgres, RabbitMQ, Redis


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--broker", choices=["rabbitmq", "redis"], default="rabbitmq")
    options.add_argument("--data-dir", required=True)
    options.add_argument("--http-port", required=True)
    given = options.parse_args()
    signal.signal(signal.SIGTERM, _leave)
    with ExitStack() as stack:
        database = stack.enter_context(closing(Postgres(durable=True)))
        broker = stack.enter_context(closing(RabbitMQ() if given.broker == "rabbitmq" else Redis()))
        database.start()
        broker.start()
        environ = os.environ | {
            "MAILER_DATABASE_URL": database.new_database(),
            "MAILER_BROKER_URL": broker.url,
        }
        command = [sys.executable, "-m", "mailer", "up", "--json"]
        command += ["--data-dir", given.data_dir, "--http-port", given.http_port]
        product = subprocess.Popen(command, env=environ)
        try:
            return product.wait()
        finally:
            product.terminate()
            product.wait(60)


def _leave(_number: int, _frame: FrameType | None) -> None:
    sys.exit(143)


if __name__ == "__main__":
    sys.exit(main())
