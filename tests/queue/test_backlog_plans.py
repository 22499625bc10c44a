"""With a million recipients waiting a look is bounded, and every statement reads an index."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from sqlalchemy import text

from mailer import clock
from mailer.ids import first_id_at
from mailer.queue import backlog, holds, pieces
from mailer.queue.backlog import By, Wanted
from mailer.queue.obstacles import Knowledge
from mailer.queue.pieces import Means
from mailer.queue.selection import Selection
from mailer.store import Store
from mailer.store.tables import lane
from tests.queue.test_listing_plans import plan_of, statements
from tests.support.mailroom import Mailroom

RECIPIENTS = 1_000_000
LANES = 1_000  # of which the first has half of all
SECONDS = 4.0  # a look takes a tenth of it; this tells a look from a scan on a busy machine
_NUMBERS = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < :last)",
    "postgresql": "WITH n(i) AS (SELECT generate_series(0, CAST(:last AS bigint)))",
}
_RECIPIENTS = """
INSERT INTO recipient (id, message_id, tenant_id, lane_id, address, kind, state, wait_reason, due_at,
    first_due_at, size_bytes, attempts, cancel_wanted, in_doubt, version)
{numbers} SELECT :first + i * 4096, :message + i / 1000, :tenant,
    :lane + CASE WHEN i % 2 = 0 THEN 0 ELSE i % :lanes END, 'u' || i || '@d.example', 'to',
    CASE WHEN i % 10 = 3 THEN 'deferred' ELSE 'queued' END, 'new', 0, 0, 1000, 0, {false}, {false}, 1 FROM n
"""

_ATTEMPTS = """
INSERT INTO attempt (id, recipient_id, message_id, tenant_id, incarnation_id, state, opened_at, closed_at,
    outcome, code, site, reply)
{numbers} SELECT :first + i * 524288, :rcpt + i * 4096, :rcpt + i / 1000, :tenant, :worker, 'settled',
    :opened + i * 125, :opened + i * 125 + 9000, 'accepted', 250, 'mx:mx' || (i % 50) || '.example', '250 ok'
    FROM n
"""
ATTEMPTS = 200_000  # one in an eighth of a millisecond


@pytest.fixture
def crowded(store: Store) -> Mailroom:
    room = Mailroom.furnish(store, now=clock.now())
    name = store_name(store)
    first = first_id_at(clock.wall_ms() - 3_600_000)
    with store.write() as c:
        c.execute(
            lane.insert(),
            [
                {
                    "id": 5_000 + n, "tenant_id": room.tenant_id, "stream_id": room.stream_id,
                    "domain": f"d{n}.example", "site": f"mx:mx{n % 50}.example",
                }
                for n in range(LANES)
            ],
        )  # fmt: skip
        c.execute(
            text(
                _RECIPIENTS.format(numbers=_NUMBERS[name], false="0" if name == "sqlite" else "false")
            ),
            {
                "last": RECIPIENTS - 1, "first": first, "message": first, "tenant": room.tenant_id,
                "lane": 5_000, "lanes": LANES,
            },
        )  # fmt: skip
        began = clock.wall_ms() - ATTEMPTS // 8 - 1000
        c.execute(
            text(_ATTEMPTS.format(numbers=_NUMBERS[name])),
            {
                "last": ATTEMPTS - 1, "first": first_id_at(began), "rcpt": first, "tenant": room.tenant_id,
                "worker": room.worker.id, "opened": began * 1000,
            },
        )  # fmt: skip
    if name == "postgresql":
        with store.write() as c:
            c.execute(text("ANALYZE"))
    return room


def store_name(store: Store) -> str:
    return "sqlite" if store.is_sqlite else "postgresql"


def is_scan(plan: str) -> bool:
    """Of the large tables; a partial index is read whole only where a count asks for it."""
    return bool(re.search(r"(SCAN|Seq Scan on) (recipient|attempt|message)\b(?! USING)", plan))


def looks(room: Mailroom) -> dict[str, Any]:
    known, now = Knowledge(for_operator=True), clock.now()
    means = Means(room.store, room.new_id, 0, clock.now)
    own = Wanted(owner_id=room.tenant_id)
    return {
        "top by site": lambda: backlog.look(room.store, Wanted(), known, now=now),
        "top by domain": lambda: backlog.look(room.store, Wanted(by=By.DOMAIN), known, now=now),
        "a tenant's top": lambda: backlog.look(room.store, own, known, now=now),
        "holds": lambda: holds.look(room.store, now=now),
        "dry run of a domain": lambda: pieces.extent(means, Selection(domain="d7.example")),
        "dry run of a site": lambda: pieces.extent(means, Selection(site="mx:mx7.example")),
    }


def test_looks_are_bounded_and_read_indexes(crowded: Mailroom) -> None:
    scans, slow = [], []
    for name, look in looks(crowded).items():
        with statements() as sent:
            began = time.perf_counter()
            look()
            took = time.perf_counter() - began
        scans += [f"{name}: {s}\n{p}" for s, a in sent if is_scan(p := plan_of(crowded.store, s, a))]
        slow += [f"{name}: {took:.1f} s"] if took > SECONDS else []

    seen = backlog.look(crowded.store, Wanted(), Knowledge(), now=clock.now())
    assert scans == []
    assert slow == []
    assert 0 < seen.totals.ended <= backlog.MOST_ATTEMPTS
    assert seen.totals.is_partial
    assert backlog.MOST_COUNTED / 4 < seen.totals.queued <= backlog.MOST_COUNTED
    assert seen.totals.waiting < RECIPIENTS
    assert pieces.extent(
        Means(crowded.store, crowded.new_id, 0, clock.now), Selection(domain="d7.example")
    ).waiting == (RECIPIENTS // LANES)
