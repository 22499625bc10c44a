"""Whose a mail is that came back: one look-up among ten thousand recipients, and among ten million.

python -m tests.bench.returned_lookup [-n 10000000] [--engine sqlite]

As many recipients are here, ten to a message, as there are of messages that are gone. Needs 10 GB of disk.
"""

from __future__ import annotations

import argparse
import random
import secrets
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import Connection, Table, text

from mailer import clock, ids
from mailer.compose.verp import constant_keys
from mailer.ids import first_id_at
from mailer.policy.classifier import shipped
from mailer.queue import returned
from mailer.queue.returned import Claimed
from mailer.report import matching
from mailer.report.reading import read
from mailer.store import Store, schema
from mailer.store.tables import lane, message, past_recipient, recipient
from tests.support.mailroom import Mailroom
from tests.support.returning import DOMAIN, arf, dsn
from tests.support.servers import Postgres

FEW = 10_000
_LOOKS = 2_000
_STEP = 1 << 18  # between ids
_TO_A_MESSAGE = 10
_TOKENS = constant_keys(b"s" * 32)
_NUMBERS = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < :last)",
    "postgresql": "WITH n(i) AS (SELECT generate_series(0, CAST(:last AS bigint)))",
}
_MESSAGES = """
INSERT INTO message (id, tenant_id, stream_id, content_id, domain_id, return_path_domain, header_from,
    subject, rfc_message_id, door, recipient_count, tags, metadata, accepted_at, due_at)
{numbers} SELECT :first + i * :step, :tenant, :stream, 1, :domain, :path, 'shop@acme.example',
    'order ' || i, '<' || i || '@acme.example>', 'http', 10, '[]', '{{}}', 0, 0 FROM n
"""
_RECIPIENTS = """
INSERT INTO recipient (id, message_id, tenant_id, lane_id, address, kind, state, due_at, first_due_at,
    size_bytes, attempts, cancel_wanted, in_doubt, version, settled_at)
{numbers} SELECT :first + i * :step + 1, :first + i / 10 * 10 * :step, :tenant, :lane,
    'user' || i || '@d' || (i % 997) || '.example', 'to', 'delivered', 0, 0, 1000, 1, {false}, {false}, 2,
    :now FROM n
"""
_PAST = """
INSERT INTO past_recipient (id, message_id, tenant_id, stream_id, address, return_path_domain, version,
    settled_at)
{numbers} SELECT i + 1, i / 10 + 1, :tenant, :stream, 'user' || i || '@d' || (i % 997) || '.example', :path,
    2, :now FROM n
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("-n", type=int, default=10_000_000)
    parser.add_argument("--engine", choices=["postgres", "sqlite"], default="postgres")
    options = parser.parse_args()
    few, many = (measured(options.engine, n) for n in (FEW, options.n))
    print(f"{options.engine}: microseconds for one look-up, of {_LOOKS}; median (and 99th percentile)")
    for name, before in few.items():
        after = many[name]
        print(
            f"  {name:28} {before[0]:7.0f} ({before[1]:.0f}) among {FEW:,}   "
            f"{after[0]:7.0f} ({after[1]:.0f}) among {options.n:,}   {after[0] / before[0]:.2f} times"
        )


def measured(engine: str, recipients: int) -> dict[str, tuple[float, float]]:
    with opened(engine) as store:
        room = Mailroom.furnish(store, now=clock.now())
        first = first_id_at(clock.wall_ms() - 86_400_000)
        began = time.perf_counter()
        seed(store, room, first, recipients)
        print(f"  {recipients:,} seeded in {time.perf_counter() - began:.0f} s", flush=True)
        return {name: timed(look, recipients) for name, look in looks(room, first).items()}


@contextmanager
def opened(engine: str) -> Iterator[Store]:
    with tempfile.TemporaryDirectory() as folder, closing(Postgres()) as server:
        url = f"sqlite:///{Path(folder) / 'mailer.sqlite3'}"
        if engine == "postgres":
            server.start()
            url = server.new_database()
        with closing(Store(url)) as store:
            schema.upgrade(store, epoch=secrets.token_hex(8))
            yield store


def seed(store: Store, room: Mailroom, first: int, recipients: int) -> None:
    facts = {
        "last": recipients - 1, "first": first, "step": _STEP, "tenant": room.tenant_id,
        "stream": room.stream_id, "domain": room.domain_id, "path": DOMAIN, "lane": room.new_id(),
        "now": clock.wall_ms() * 1000,
    }  # fmt: skip
    with store.write() as c:
        name = c.dialect.name
        words = {"numbers": _NUMBERS[name], "false": "0" if name == "sqlite" else "false"}
        c.execute(
            lane.insert().values(
                id=facts["lane"], tenant_id=room.tenant_id, stream_id=room.stream_id, domain="d.example"
            )
        )
        for table in (message, recipient, past_recipient):
            without_indexes(c, table)
        messages = facts | {"last": recipients // _TO_A_MESSAGE - 1, "step": _STEP * _TO_A_MESSAGE}
        c.execute(text(_MESSAGES.format(**words)), messages)
        c.execute(text(_RECIPIENTS.format(**words)), facts)
        c.execute(text(_PAST.format(**words)), facts)
        for table in (message, recipient, past_recipient):
            for index in table.indexes:
                index.create(c)
    with store.write() as c:
        c.execute(text("ANALYZE"))


def without_indexes(connection: Connection, table: Table) -> None:
    """But for that of the primary key; the others are quicker made of all rows at once."""
    for index in table.indexes:
        index.drop(connection)


def looks(room: Mailroom, first: int) -> dict[str, Callable[[int], object]]:
    """Each finds the recipient of that number, from 0."""

    def known(recipient_id: int) -> object:
        with room.store.read() as connection:
            return returned.known(connection, recipient_id)

    def matched(content: bytes) -> object:
        mail = Claimed(
            id=1, kind="complaints", address=f"complaints@{DOMAIN}", token_of=None, reverse_path="",
            received_at=clock.now(), content=content,
        )  # fmt: skip
        reading = read(mail.content, classifier=shipped())
        with room.store.read() as connection:
            return matching.match(connection, mail, reading, _TOKENS)

    def own(n: int) -> str:
        return ids.show("msg", first + n // _TO_A_MESSAGE * _TO_A_MESSAGE * _STEP)

    return {
        "by its token": lambda n: known(first + n * _STEP + 1),
        "by its token, message gone": lambda n: known(n + 1),
        "by a token in a complaint": lambda n: matched(
            arf(original=f"X-Mailer-Ref: {_TOKENS.make(first + n * _STEP + 1)}\n")
        ),
        "by a Message-ID of ours": lambda n: matched(
            dsn(f"user{n}@d{n % 997}.example", original=f"Message-ID: <{own(n)}@acme.example>\n")
        ),
        "by a Message-ID of theirs": lambda n: matched(
            dsn(
                f"user{n}@d{n % 997}.example",
                original=f"Message-ID: <{n // _TO_A_MESSAGE}@acme.example>\n",
            )
        ),
    }


def timed(look: Callable[[int], object], recipients: int) -> tuple[float, float]:
    """Median and 99th percentile in microseconds, of recipients drawn at random."""
    dice = random.Random(7)
    took = []
    for _ in range(_LOOKS):
        n = dice.randrange(recipients)
        began = time.perf_counter()
        found = look(n)
        took.append((time.perf_counter() - began) * 1_000_000)
        assert found is not None
    return statistics.median(took), statistics.quantiles(took, n=100)[98]


if __name__ == "__main__":
    main()
