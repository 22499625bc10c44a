"""With 400,000 recipients here and as many of messages that are gone, whose a mail is that came back is found
by indexes alone, on both engines.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, text

from mailer import clock, ids
from mailer.compose.verp import constant_keys
from mailer.listener import Path
from mailer.policy.classifier import shipped
from mailer.queue import returned, suppressing
from mailer.queue.returned import Claimed
from mailer.queue.suppressing import Asked
from mailer.queue.suppressionfile import Importer
from mailer.report import matching
from mailer.report.desk import DeskParts, Reception
from mailer.report.pacing import PeerPace
from mailer.report.reading import read
from mailer.store import Store
from mailer.store.tables import recipient
from tests.queue.test_listing_plans import HOT, SECONDS, plan_of, seed, statements
from tests.support.mailroom import KEYS, Mailroom
from tests.support.returning import DOMAIN, arf, dsn

LISTED = 20_000  # that are asked for, beside as many as there are recipients
# What grows with the mail, and with the lists.
GROWING = "recipient|message|past_recipient|returned_mail|returned_content|suppression|feedback"
TOKENS = constant_keys(b"s" * 32)
BACK = 1 << 50  # from the id of a recipient that is here to that of one that is gone

_PAST = f"""
INSERT INTO past_recipient (id, message_id, tenant_id, stream_id, address, return_path_domain, version,
    settled_at)
SELECT id - {BACK}, message_id - {BACK}, tenant_id, :stream, address, :domain, version, :settled
FROM recipient
"""

_LISTED = """
INSERT INTO suppression (key_hash, tenant_id, stream_id, id, what, reason, cause, created_at)
SELECT {hash}, tenant_id, 0, id, 'address', 'hard-bounce', 'import', 0 FROM recipient
"""
_HASH = {"sqlite": "hex(randomblob(11))", "postgresql": "substr(md5(CAST(id AS text)), 1, 22)"}


@pytest.fixture
def crowded(store: Store) -> Mailroom:
    room = Mailroom.furnish(store, now=clock.now())
    settled = int((clock.now() - timedelta(days=100)).timestamp() * 1_000_000)
    with store.write() as c:
        seed(c, room)
        c.execute(text(_PAST), {"stream": room.stream_id, "domain": DOMAIN, "settled": settled})
        c.execute(text(_LISTED.format(hash=_HASH[c.dialect.name])))
    importer = Importer(
        store=store, keys=KEYS, tenant_id=room.tenant_id, new_id=room.new_id, now=clock.now, added_by="me"
    )
    importer.run(["address\n", *(f"nobody{n}@listed.example\n" for n in range(LISTED))])
    if not store.is_sqlite:
        with store.write() as c:
            c.execute(text("ANALYZE"))
    return room


def is_scan(plan: str) -> bool:
    """Of a table from end to end, or of an index without a key to begin at."""
    lines = plan.splitlines()
    unkeyed = [
        line
        for line, below in zip(lines, [*lines[1:], ""], strict=True)
        if re.search(rf"Index (Only )?Scan .*\bon ({GROWING})\b|Bitmap Index Scan", line)
        and "Index Cond" not in below
    ]
    return bool(unkeyed) or bool(re.search(rf"(SCAN|Seq Scan on) ({GROWING})\b", plan))


def one_of(room: Mailroom, address: str) -> Any:
    with room.store.read() as c:
        return c.execute(select(recipient).where(recipient.c.address == address)).one()


def reception(room: Mailroom) -> Reception:
    return Reception(
        DeskParts(
            store=room.store, host="mx.acme.example", token_keys=lambda: TOKENS,
            read_unsubscribe=lambda token: None,
            pace=PeerPace(mails=1000, misses=1000, monotonic=clock.monotonic), new_id=room.new_id,
            now=clock.now, on_kept=lambda: None,
        )
    )  # fmt: skip


def matched(room: Mailroom, content: bytes) -> matching.Match | None:
    mail = Claimed(
        id=1, kind="complaints", address=f"complaints@{DOMAIN}", token_of=None, reverse_path="",
        received_at=clock.now(), content=content,
    )  # fmt: skip
    with room.store.read() as connection:
        return matching.match(connection, mail, read(content, classifier=shipped()), TOKENS)


def at_desk(room: Mailroom, local: str) -> bool:
    return reception(room).find(Path(local, DOMAIN)) is not None


def known(room: Mailroom, recipient_id: int) -> returned.Known | None:
    with room.store.read() as connection:
        return returned.known(connection, recipient_id)


def stops(room: Mailroom) -> bool:
    asked = [Asked(n, room.tenant_id, 1, f"nobody{n * 97}@listed.example") for n in range(200)]
    with room.store.read() as connection:
        return len(suppressing.stops(connection, KEYS, asked, now=clock.now())) == len(asked)


def look_ups(room: Mailroom) -> Mapping[str, Callable[[], object]]:
    """Each finds something."""
    one = one_of(room, "user17@example.org")
    ours = f"Message-ID: <{ids.show('msg', one.message_id)}@acme.example>\n"
    theirs = "Message-ID: <17@acme.example>\n"
    newest = "Message-ID: <200000@acme.example>\n"
    return {
        "token": lambda: known(room, one.id),
        "token of one that is gone": lambda: known(room, one.id - BACK),
        "RCPT of a return path": lambda: at_desk(room, TOKENS.make(one.id)),
        "RCPT of reports": lambda: at_desk(room, "tls-reports"),
        "RCPT of people": lambda: at_desk(room, "postmaster"),
        "token inside": lambda: matched(room, arf(original=f"X-Mailer-Ref: {TOKENS.make(one.id)}\n")),
        "Message-ID of ours": lambda: matched(room, dsn(one.address, original=ours)),
        "Message-ID of a submitter": lambda: matched(room, dsn(one.address, original=theirs)),
        "Message-ID of a submitter, to all": lambda: matched(room, dsn(HOT, original=newest)),
        "suppression of 200": lambda: stops(room),
    }


def test_whose_it_is_is_found_by_indexes_alone(crowded: Mailroom) -> None:
    scans, slow, missed = [], [], []
    for name, look_up in look_ups(crowded).items():
        with statements() as sent:
            began = time.perf_counter()
            found = look_up()
            took = time.perf_counter() - began
        missed += [] if found else [name]
        scans += [f"{name}: {s}\n{p}" for s, a in sent if is_scan(p := plan_of(crowded.store, s, a))]
        slow += [f"{name}: {took:.1f} s"] if took > SECONDS else []

    assert missed == []
    assert scans == []
    assert slow == []


def test_what_is_to_be_forgotten_is_found_by_an_index(crowded: Mailroom) -> None:
    """Asked every minute, and most often there is nothing."""
    with statements() as sent:
        forgotten = returned.forget_past(crowded.store, now=clock.now(), after=timedelta(days=180))

    assert forgotten == 0
    assert [s for s, a in sent if is_scan(plan_of(crowded.store, s, a))] == []
