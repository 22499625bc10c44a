"""Every event that an endpoint wants gets its callback in the transaction that numbers it; no other does."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection

from mailer import clock
from mailer.identity import tenants
from mailer.queue import callbacks, fanout, read
from tests.support.mailroom import DELIVERED
from tests.webhooks.conftest import Switchboard
from webhooks.fanout import FanOut


def told(board: Switchboard) -> list[tuple[int, int]]:
    return sorted((row.endpoint_id, row.event_number) for row in board.callbacks())


def test_every_endpoint_is_told_every_event_by_its_number(board: Switchboard) -> None:
    first, second = board.endpoint(), board.endpoint()
    board.tell(3)

    assert told(board) == [(e, n) for e in (first, second) for n in (1, 2, 3)]
    assert {(row.state, row.attempts, row.tenant_id) for row in board.callbacks()} == {
        ("due", 0, board.room.tenant_id)
    }


def test_an_endpoint_is_told_the_types_it_wants_only(board: Switchboard) -> None:
    endpoint = board.endpoint("https://a.example/", "delivered", "bounced")
    board.tell()
    board.room.settle(board.room.claim(), DELIVERED)
    board.fan_out()

    assert told(board) == [(endpoint, 2)]


def test_an_endpoint_made_later_is_told_nothing_older(board: Switchboard) -> None:
    board.tell(2)
    later = board.endpoint()
    board.tell()

    assert told(board) == [(later, 3)]


def test_a_disabled_endpoint_is_told_nothing_new(board: Switchboard) -> None:
    endpoint = board.endpoint()
    board.tell()
    board.endpoints.change(board.room.tenant_id, endpoint, {"state": "disabled"})
    board.tell()
    board.endpoints.change(board.room.tenant_id, endpoint, {"state": "active"})
    board.tell()

    assert told(board) == [(endpoint, 1), (endpoint, 3)]


def test_another_tenants_endpoint_is_told_nothing(board: Switchboard) -> None:
    globex = tenants.create(
        board.store, "globex", in_doubt="retry", new_id=board.room.new_id, now=clock.now()
    )
    board.endpoint(tenant_id=globex.id)
    board.tell()

    assert told(board) == []


def test_a_number_and_its_callback_stand_or_fall_together(board: Switchboard) -> None:
    board.endpoint()
    board.room.accept(board.room.message())
    fan_out = FanOut(board.room.new_id, clock.now)

    def breaks(connection: Connection, rows: list[dict[str, object]]) -> None:
        fan_out(connection, rows)
        raise RuntimeError("the power went")

    with pytest.raises(RuntimeError):
        fanout.fan_out(board.store, also=breaks)  # type: ignore[arg-type]

    assert board.callbacks() == []
    assert read.events(board.store, board.room.tenant_id, after=0, limit=10).events == []
    board.fan_out()
    assert len(board.callbacks()) == 1


def test_a_tenant_without_endpoints_gets_no_rows(board: Switchboard) -> None:
    board.tell(5)

    assert board.callbacks() == []


def test_a_deleted_endpoint_leaves_nothing_behind(board: Switchboard) -> None:
    gone, stays = board.endpoint(), board.endpoint()
    board.tell(3)
    board.claim(gone, most=1)

    assert board.endpoints.delete(board.room.tenant_id, gone)
    assert {row.endpoint_id for row in board.callbacks()} == {stays}
    assert callbacks.drop_orphaned(board.store) == 0


def test_what_a_deletion_that_was_cut_short_left_goes_with_the_sweep(board: Switchboard) -> None:
    gone, stays = board.endpoint(), board.endpoint()
    board.tell(3)
    with board.store.write() as c:
        c.exec_driver_sql(f"DELETE FROM webhook_endpoint WHERE id = {gone}")

    dropped = [callbacks.drop_orphaned(board.store, most=2) for _ in range(3)]
    assert dropped == [2, 1, 0]
    assert {row.endpoint_id for row in board.callbacks()} == {stays}
