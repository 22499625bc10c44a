"""A long suppression list on PostgreSQL: its import beside a bare COPY of the same rows, and one look-up.

python -m tests.bench.suppression_list [-n 1000000]
"""

from __future__ import annotations

import argparse
import secrets
import time
from contextlib import closing

from sqlalchemy import text

from mailer import clock
from mailer.ids import IdMaker
from mailer.policy.suppressionkey import Keys
from mailer.queue import suppressing
from mailer.queue.suppressing import Asked
from mailer.queue.suppressionfile import Importer
from mailer.store import Store, schema
from tests.support.servers import Postgres

_TENANT = 1
_GROUP = 200  # recipients that are looked up at once
_LOOKS = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=1_000_000)
    rows = parser.parse_args().n
    with closing(Postgres()) as server:
        server.start()
        with closing(Store(server.new_database())) as store:
            schema.upgrade(store, epoch=secrets.token_hex(8))
            keys = Keys(secrets.token_bytes(32))
            imported = _import(store, keys, rows)
            copied = {name: _copy(store, name) for name in ("with its indexes", "without any")}
            look = _look_up(store, keys)
    print(f"{rows} rows: imported in {imported:.1f} s")
    for name, seconds in copied.items():
        print(f"  bare COPY of the same rows {name}: {seconds:.1f} s, {imported / seconds:.1f} times less")
    print(f"  {_GROUP} recipients looked up in {look * 1000:.2f} ms")


def _import(store: Store, keys: Keys, rows: int) -> float:
    importer = Importer(
        store=store, keys=keys, tenant_id=_TENANT, new_id=IdMaker(1, clock.wall_ms), now=clock.now,
        added_by="bench",
    )  # fmt: skip
    lines = ["address,reason\n", *(f"user{n}@domain{n % 997}.example,hard-bounce\n" for n in range(rows))]
    began = time.perf_counter()
    outcome = importer.run(lines)
    took = time.perf_counter() - began
    assert outcome.added == rows, outcome
    return took


def _copy(store: Store, name: str) -> float:
    """The rows as they stand, from a file of the server's format back into a table like theirs."""
    like = "INCLUDING ALL" if name == "with its indexes" else "INCLUDING DEFAULTS"
    with store.write() as connection:
        driver = connection.connection.driver_connection
        with driver.cursor() as cursor:
            with cursor.copy("COPY suppression TO STDOUT (FORMAT BINARY)") as out:
                content = b"".join(bytes(piece) for piece in out)
            cursor.execute(f"CREATE TABLE bare (LIKE suppression {like})")
            driver.commit()
            began = time.perf_counter()
            with cursor.copy("COPY bare FROM STDIN (FORMAT BINARY)") as copy:
                for at in range(0, len(content), 1 << 18):
                    copy.write(content[at : at + (1 << 18)])
            driver.commit()
            took = time.perf_counter() - began
            cursor.execute("DROP TABLE bare")
    return took


def _look_up(store: Store, keys: Keys) -> float:
    with store.write() as connection:
        connection.execute(text("ANALYZE suppression"))
    began = time.perf_counter()
    for look in range(_LOOKS):
        asked = [
            Asked(n, _TENANT, 2, f"user{look * _GROUP + n}@domain{n % 997}.example") for n in range(_GROUP)
        ]
        with store.read() as connection:
            suppressing.stops(connection, keys, asked, now=clock.now())
    return (time.perf_counter() - began) / _LOOKS


if __name__ == "__main__":
    main()
