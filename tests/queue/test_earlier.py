"""What idempotency keys stand for, asked for many at once."""

from __future__ import annotations

from mailer.queue import enqueue
from tests.support.mailroom import Mailroom


def test_only_the_tenants_own_used_keys_are_found(room: Mailroom) -> None:
    messages = [room.message(key=f"batch x {n}") for n in range(3)]
    room.accept(*messages)

    found = enqueue.earlier(room.store, room.tenant_id, ["batch x 0", "batch x 2", "batch x 9", "other 'key"])
    assert {key: one.message_id for key, one in found.items()} == {
        "batch x 0": messages[0].id, "batch x 2": messages[2].id,
    }  # fmt: skip
    assert found["batch x 0"].response == messages[0].response
    assert found["batch x 0"].body_sha256 == b"same"
    assert enqueue.earlier(room.store, room.tenant_id + 1, ["batch x 0"]) == {}


def test_a_thousand_keys_are_asked_for_in_one_go(room: Mailroom) -> None:
    room.accept(room.message(key="batch x 999"))

    found = enqueue.earlier(room.store, room.tenant_id, [f"batch x {n}" for n in range(1000)])

    assert list(found) == ["batch x 999"]
