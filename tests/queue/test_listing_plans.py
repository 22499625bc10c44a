"""With 200,000 messages of one tenant every page is read from an index, and no page is a long look."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text

from mailer import clock
from mailer.ids import first_id_at
from mailer.queue import listing
from mailer.queue.finding import Wanted
from mailer.store import Store
from mailer.store.tables import lane
from tests.support.mailroom import Mailroom

MESSAGES = 200_000
SECONDS = 2.0  # a page takes some milliseconds; this tells a page from a scan on a busy machine
HOT = "archive@acme.example"  # copied on every message

# Every message has a recipient of its own and the archive; one in 1,000 is rare; all were delivered but one.
_NUMBERS = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :messages)",
    "postgresql": "WITH n(i) AS (SELECT generate_series(1, CAST(:messages AS bigint)))",
}
_MESSAGES = """
INSERT INTO message (id, tenant_id, stream_id, content_id, domain_id, return_path_domain, header_from,
    subject, rfc_message_id, door, recipient_count, tags, metadata, accepted_at, due_at)
{numbers} SELECT :first + i * :step, :tenant, :stream, 1, :domain, 'bounce.acme.example', 'shop@acme.example',
    'order ' || i, '<' || i || '@acme.example>', 'http', 2,
    CASE WHEN i % 1000 = 0 THEN '["order","rare"]' ELSE '["order"]' END, '{{}}',
    :began + i * 1000, :began + i * 1000 FROM n
"""
_RECIPIENTS = """
INSERT INTO recipient (id, message_id, tenant_id, lane_id, address, kind, state, due_at, first_due_at,
    size_bytes, attempts, cancel_wanted, in_doubt, version)
{numbers} SELECT :first + i * :step + :offset, :first + i * :step, :tenant, :lane, {address}, 'to',
    CASE WHEN i = 17 THEN 'bounced' ELSE 'delivered' END, 0, 0, 1000, 1, {false}, {false}, 2 FROM n
"""
_TAGS = """
INSERT INTO message_tag (tenant_id, tag, message_id)
{numbers} SELECT :tenant, :tag, :first + i * :step FROM n WHERE i % :every = 0
"""


@pytest.fixture
def crowded(store: Store) -> Mailroom:
    room = Mailroom.furnish(store, now=clock.now())
    with store.write() as c:
        seed(c, room)
    if not store.is_sqlite:
        with store.write() as c:
            c.execute(text("ANALYZE"))
    return room


def seed(c: Connection, room: Mailroom) -> None:
    name = c.dialect.name
    words = {"numbers": _NUMBERS[name], "false": "0" if name == "sqlite" else "false"}
    began = clock.now() - timedelta(days=1)
    facts = {
        "messages": MESSAGES, "first": first_id_at(int(began.timestamp() * 1000)), "step": 1 << 22,
        "tenant": room.tenant_id, "stream": room.stream_id, "domain": room.domain_id, "lane": room.new_id(),
        "began": int(began.timestamp() * 1_000_000),
    }  # fmt: skip
    c.execute(
        lane.insert().values(
            id=facts["lane"], tenant_id=room.tenant_id, stream_id=room.stream_id, domain="example.org"
        )
    )
    c.execute(text(_MESSAGES.format(**words)), facts)
    for offset, address in ((1, "'user' || i || '@example.org'"), (2, f"'{HOT}'")):
        c.execute(text(_RECIPIENTS.format(address=address, **words)), facts | {"offset": offset})
    for tag, every in (("order", 1), ("rare", 1000)):
        c.execute(text(_TAGS.format(**words)), facts | {"tag": tag, "every": every})


@contextmanager
def statements() -> Iterator[list[tuple[str, Any]]]:
    """What is sent to the database meanwhile."""
    sent: list[tuple[str, Any]] = []

    def note(_c: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        if statement.lstrip().startswith("SELECT"):
            sent.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def plan_of(store: Store, statement: str, parameters: Any) -> str:
    explain = "EXPLAIN QUERY PLAN " if store.is_sqlite else "EXPLAIN "
    with store.read() as c:
        rows = c.exec_driver_sql(explain + statement, parameters).all()
    return "\n".join(str(row[-1]) for row in rows)


def is_scan(plan: str) -> bool:
    return bool(re.search(r"(SCAN|Seq Scan on) (message|recipient|message_tag)\b(?! USING)", plan))


NOW = clock.now()
FILTERS: Mapping[str, Wanted] = {
    "all": Wanted(),
    "hot address": Wanted(address=HOT),
    "cold address": Wanted(address="user17@example.org"),
    "hot address, rare state": Wanted(address=HOT, states=frozenset({"bounced"})),
    "hot tag": Wanted(tag="order"),
    "rare tag": Wanted(tag="rare"),
    "common state": Wanted(states=frozenset({"delivered"})),
    "rare state": Wanted(states=frozenset({"bounced"})),
    "domain": Wanted(domain="example.org"),
    "stream and sending domain": Wanted(stream="transactional", from_domain="acme.example"),
    "an hour a day ago": Wanted(since=NOW - timedelta(hours=25), before=NOW - timedelta(hours=23)),
    "all at once": Wanted(
        address=HOT, tag="rare", states=frozenset({"delivered"}), domain="example.org",
        stream="transactional", from_domain="acme.example", before=NOW,
    ),
}  # fmt: skip


def test_every_page_is_read_from_an_index_in_a_moment(crowded: Mailroom) -> None:
    scans, slow = [], []
    for name, wanted in FILTERS.items():
        began = time.perf_counter()
        with statements() as sent:
            listing.page(crowded.store, crowded.tenant_id, wanted, limit=50)
        took = time.perf_counter() - began
        scans += [f"{name}: {s}\n{p}" for s, a in sent if is_scan(p := plan_of(crowded.store, s, a))]
        slow += [f"{name}: {took:.1f} s"] if took > SECONDS else []
    found = list(listing.every(crowded.store, crowded.tenant_id, FILTERS["rare state"]))

    assert scans == []
    assert slow == []
    assert [m.subject for m in found] == ["order 17"]
