"""A transaction is whole or nothing, one error leaves the package, and the schema knows its version."""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, make_url, select, text
from sqlalchemy.exc import DBAPIError

from mailer.store import Store, StoreUnavailable, dialect, schema
from mailer.store.schema import SchemaMismatch
from mailer.store.tables import lane, message_tag, meta, metadata, tenant
from mailer.store.types import Instant
from tests.support.instance import wait_for


@pytest.fixture
def empty(database_url: str) -> Iterator[Store]:
    store = Store(database_url)
    yield store
    store.close()


def test_what_went_wrong_is_told_without_the_values(store: Store) -> None:
    """The text of an error is logged, and values are mail, addresses and keys."""
    with pytest.raises((StoreUnavailable, DBAPIError)) as failed, store.read() as connection:
        connection.execute(text("SELECT :word FROM nowhere"), {"word": "ada@example.org"})

    assert "nowhere" in str(failed.value)
    assert "ada@example.org" not in str(failed.value)


def test_a_conflict_is_told_without_the_key_that_is_there_already(store: Store) -> None:
    """PostgreSQL quotes it in a DETAIL, by SQLAlchemy and by the driver's own exception behind it."""
    new_tenant(store, 7)
    values = {"id": 8, "name": f"t{7}", "state": "active", "created_at": datetime(2026, 1, 1, tzinfo=UTC)}

    with pytest.raises(DBAPIError) as failed, store.write() as connection:
        connection.execute(tenant.insert().values(values))

    told = "".join(traceback.format_exception(failed.value))
    assert "unique" in told.lower()
    assert "t7" not in told


def new_tenant(store: Store, number: int) -> None:
    with store.write() as c:
        c.execute(
            tenant.insert().values(
                id=number, name=f"t{number}", state="active", created_at=datetime(2026, 1, 1, tzinfo=UTC)
            )
        )


def tenants(store: Store) -> int:
    with store.read() as c:
        return c.execute(select(func.count()).select_from(tenant)).scalar_one()


def test_an_empty_database_is_not_this_releases(empty: Store) -> None:
    with pytest.raises(SchemaMismatch, match="mailer db upgrade"):
        schema.check(empty)


def test_an_upgrade_files_the_tags_of_what_was_accepted_before(empty: Store) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    old = [("[]", 1), ('["order","eu"]', 2), ('["\\"quoted\\""]', 3)]
    with empty.write() as c:
        config.attributes["connection"] = c
        command.upgrade(config, "0002_pre_send_api")
        for tags, number in old:
            c.execute(_OLD_MESSAGE, {"tags": tags, "id": number})

    schema.upgrade(empty, epoch="e")

    with empty.read() as c:
        filed = c.execute(select(message_tag.c.message_id, message_tag.c.tag)).all()
    assert sorted(map(tuple, filed)) == [(2, "eu"), (2, "order"), (3, '"quoted"')]


def test_an_upgrade_keeps_lanes_without_a_pool_and_the_release_before_makes_more(empty: Store) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    with empty.write() as c:
        config.attributes["connection"] = c
        command.upgrade(config, "0014_pre_departures")
        c.execute(_OLD_LANE, {"id": 1, "domain": "a.example"})

    schema.upgrade(empty, epoch="e")
    with empty.write() as c:
        c.execute(_OLD_LANE, {"id": 2, "domain": "b.example"})
        moved = {"tenant_id": 1, "stream_id": 1, "domain": "a.example", "pool_id": 7}
        c.execute(lane.insert().values(id=3, **moved))

    with empty.read() as c:
        found = c.execute(select(lane.c.id, lane.c.site, lane.c.pool_id).order_by(lane.c.id)).all()
    assert [tuple(row) for row in found] == [(1, "mx:a", 0), (2, "mx:a", 0), (3, None, 7)]
    with pytest.raises(DBAPIError), empty.write() as c:
        c.execute(_OLD_LANE, {"id": 4, "domain": "a.example"})


_OLD_LANE = text(
    "INSERT INTO lane (id, tenant_id, stream_id, domain, site) VALUES (:id, 1, 1, :domain, 'mx:a')"
)
_OLD_MESSAGE = text(
    "INSERT INTO message (id, tenant_id, stream_id, content_id, domain_id, return_path_domain, header_from,"
    " subject, rfc_message_id, door, recipient_count, tags, metadata, accepted_at, due_at)"
    " VALUES (:id, 1, 1, 1, 1, 'b.example', 'a@b.example', '', '<1@b.example>', 'http', 1, :tags, '{}', 0, 0)"
)


def test_an_upgrade_may_be_repeated_and_keeps_the_logs_epoch(empty: Store) -> None:
    schema.upgrade(empty, epoch="first")
    schema.upgrade(empty, epoch="second")

    with empty.read() as c:
        epoch = c.execute(select(meta.c.value).where(meta.c.key == "log_epoch")).scalar_one()
    assert epoch == "first"
    assert schema.check(empty)


def test_a_newer_schema_is_refused_and_left_alone(store: Store) -> None:
    with store.write() as c:
        c.execute(text("UPDATE alembic_version SET version_num = '9999_pre_future'"))

    with pytest.raises(SchemaMismatch, match="newer than this release"):
        schema.upgrade(store, epoch="x")
    with pytest.raises(SchemaMismatch, match="newer than this release"):
        schema.check(store)


def test_the_migrations_make_the_tables_that_the_code_knows(store: Store) -> None:
    with store.read() as c:
        differences = compare_metadata(MigrationContext.configure(c, opts={"compare_type": False}), metadata)

    assert differences == []


def test_what_raises_is_rolled_back(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.write() as c:
        c.execute(meta.insert().values(key="k", value="v"))
        raise ZeroDivisionError

    with store.read() as c:
        assert c.execute(select(meta).where(meta.c.key == "k")).first() is None


def test_a_read_changes_nothing(store: Store) -> None:
    new_tenant(store, 1)

    with store.read() as c:
        c.execute(select(tenant)).all()

    assert tenants(store) == 1


def write_many(url: str, first: int, count: int) -> None:
    store = Store(url)
    for number in range(first, first + count):
        new_tenant(store, number)
    store.close()


def test_a_read_sees_nothing_of_what_is_committed_meanwhile(store: Store) -> None:
    """An event that moves from one table to another is seen in exactly one of them."""
    new_tenant(store, 1)
    with store.read() as c:
        before = c.execute(select(func.count()).select_from(tenant)).scalar_one()
        new_tenant(store, 2)
        after = c.execute(select(func.count()).select_from(tenant)).scalar_one()

    assert (before, after, tenants(store)) == (1, 1, 2)


def test_writers_in_several_processes_all_get_through(store: Store, database_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_many, args=(database_url, 1000 * i, 50)) for i in range(1, 5)]
    [w.start() for w in writers]
    [w.join() for w in writers]

    assert [w.exitcode for w in writers] == [0, 0, 0, 0]
    assert tenants(store) == 200


def test_a_database_that_cannot_be_reached_is_unavailable(tmp_path: Path) -> None:
    unreachable = Store("postgresql+psycopg://nobody@127.0.0.1:1/none")

    with pytest.raises(StoreUnavailable), unreachable.read():
        pass
    with pytest.raises(StoreUnavailable), unreachable.write():
        pass
    unreachable.close()


def test_a_checkpoint_folds_the_log_back(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/m.sqlite3")
    schema.upgrade(store, epoch="e")
    new_tenant(store, 1)
    main = tmp_path / "m.sqlite3"
    before = main.stat().st_size

    store.checkpoint()

    after = main.stat().st_size
    store.close()
    assert after > before


@given(st.datetimes(timezones=st.just(UTC)))
def test_an_instant_comes_back_as_it_was(at: datetime) -> None:
    column = Instant()

    kept = column.process_bind_param(at, None)  # type: ignore[arg-type]

    assert column.process_result_value(kept, None) == at  # type: ignore[arg-type]


def test_a_transaction_whose_process_stopped_is_ended_and_its_locks_are_freed(postgres_url: str) -> None:
    store, stopped = Store(postgres_url), Store(postgres_url)
    schema.upgrade(store, epoch="e")
    new_tenant(store, 1)
    held = stopped.write()
    held.__enter__().execute(select(tenant).with_for_update())

    with store.read() as c:
        young = dialect.end_stalled(c, 60.0)
        ended = dialect.end_stalled(c, 0.0)

    with store.write() as c:
        changed = c.execute(tenant.update().values(name="free")).rowcount
    with pytest.raises(StoreUnavailable):
        held.__exit__(None, None, None)
    store.close()
    stopped.close()
    assert (young, ended, changed) == (0, 1, 1)


def test_a_process_that_stopped_inside_a_pipeline_is_ended_too(postgres_url: str) -> None:
    """PostgreSQL calls it active, not idle: it waits for the end of what the client began to send."""
    store = Store(postgres_url)
    schema.upgrade(store, epoch="e")
    new_tenant(store, 1)
    where = make_url(postgres_url).set(drivername="postgresql").render_as_string(hide_password=False)
    stopped = psycopg.connect(where, application_name="ecm-mailer")
    stopped.execute("SELECT id FROM tenant FOR UPDATE")
    stopped.pgconn.enter_pipeline_mode()
    stopped.pgconn.send_query_params(b"UPDATE tenant SET name = 'stopped'", None)
    stopped.pgconn.send_flush_request()
    stopped.pgconn.flush()

    ended = wait_for("the pipeline to be ended", lambda: _end_stalled(store), within_seconds=5)

    with store.write() as c:
        changed = c.execute(tenant.update().values(name="free")).rowcount
    stopped.close()
    store.close()
    assert (ended, changed) == (1, 1)


def _end_stalled(store: Store) -> int:
    with store.read() as c:
        return dialect.end_stalled(c, 0.0)


def test_an_error_that_comes_with_a_later_row_is_the_stores_own(tmp_path: Path) -> None:
    """The driver steps from row to row after the statement has begun."""
    store = Store(f"sqlite:///{tmp_path / 'mailer.sqlite3'}")
    second_overflows = "SELECT abs(column1) FROM (VALUES (1), (-9223372036854775808))"

    with pytest.raises(StoreUnavailable, match="overflow"), store.read() as connection:
        dialect.fetch(connection, second_overflows, ())

    store.close()
