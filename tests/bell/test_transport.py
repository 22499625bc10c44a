"""The embedded bell keeps kombu's contract of a transport."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection, Consumer
from kombu.entity import Exchange, Queue
from structlog.testing import capture_logs

from mailer.bell import fifo, transport
from mailer.bell.transport import url

WORK = Queue("work", Exchange(""), routing_key="work")
OTHER = Queue("other", Exchange(""), routing_key="other")


@pytest.fixture
def connection(folder: Path) -> Iterator[Connection]:
    transport.register()
    with Connection(url(folder)) as connection:
        yield connection


@pytest.fixture
def heard() -> list[Any]:
    return []


@pytest.fixture
def consumer(connection: Connection, heard: list[Any]) -> Iterator[Consumer]:
    with Consumer(connection, [WORK], callbacks=[lambda body, message: heard.append((body, message))]) as c:
        yield c


def publish(connection: Connection, body: Any, queue: str = "work") -> None:
    connection.Producer().publish(body, routing_key=queue, serializer="json")


def test_a_message_comes_as_it_was_sent(connection: Connection, consumer: Consumer, heard: list[Any]) -> None:
    publish(connection, {"look": "here"})
    connection.drain_events(timeout=1)
    [(body, message)] = heard

    assert body == {"look": "here"}
    assert message.content_type == "application/json"
    assert message.delivery_info["routing_key"] == "work"


def test_a_wait_for_nothing_times_out(connection: Connection, consumer: Consumer) -> None:
    with pytest.raises(TimeoutError):
        connection.drain_events(timeout=0.01)


def test_a_queue_has_one_message_while_its_bell_is_unread(connection: Connection, consumer: Consumer) -> None:
    channel = connection.default_channel
    publish(connection, 1)
    publish(connection, 2)
    rung = WORK.queue_declare(channel=channel, passive=True)[1]
    connection.drain_events(timeout=1)

    assert (rung, WORK.queue_declare(channel=channel, passive=True)[1]) == (1, 0)


def test_a_purged_queue_has_nothing_to_say(connection: Connection, consumer: Consumer) -> None:
    publish(connection, 1)

    assert consumer.purge() == 1
    with pytest.raises(TimeoutError):
        connection.drain_events(timeout=0.01)


def test_queues_of_one_connection_are_heard_apart(connection: Connection, heard: list[Any]) -> None:
    with Consumer(connection, [WORK, OTHER], callbacks=[lambda body, _message: heard.append(body)]):
        publish(connection, "other", queue="other")
        connection.drain_events(timeout=1)

    assert heard == ["other"]


def test_a_cancelled_consumer_leaves_nothing_behind(
    connection: Connection, consumer: Consumer, folder: Path
) -> None:
    listening = len(list(folder.iterdir()))
    consumer.cancel()

    assert (listening, list(folder.iterdir())) == (1, [])


def test_a_closed_connection_leaves_nothing_behind(folder: Path) -> None:
    transport.register()
    connection = Connection(url(folder))
    Consumer(connection, [WORK]).consume()
    connection.release()

    assert list(folder.iterdir()) == []


def test_no_more_is_delivered_than_prefetch_allows(
    connection: Connection, consumer: Consumer, heard: list[Any]
) -> None:
    consumer.qos(prefetch_count=1)
    publish(connection, 1)
    connection.drain_events(timeout=1)
    publish(connection, 2)
    with pytest.raises(TimeoutError):
        connection.drain_events(timeout=0.01)
    heard[0][1].ack()
    connection.drain_events(timeout=1)

    assert [body for body, _message in heard] == [1, 2]


def test_a_wait_can_be_ended_from_another_thread_and_no_later_one_lasts(
    connection: Connection, consumer: Consumer
) -> None:
    began = time.monotonic()
    threading.Timer(0.05, connection.transport.stop_waiting).start()
    with pytest.raises(TimeoutError):
        connection.drain_events()
    with pytest.raises(TimeoutError):
        connection.drain_events(timeout=60)

    assert time.monotonic() - began < 10


def test_an_idle_worker_whose_folder_was_cleaned_is_heard_again(
    connection: Connection, consumer: Consumer, folder: Path, heard: list[Any]
) -> None:
    next(folder.iterdir()).unlink()
    with pytest.raises(TimeoutError):
        connection.drain_events(timeout=0.01)
    publish(connection, "again")
    connection.drain_events(timeout=1)

    assert [body for body, _message in heard] == ["again"]


def test_what_a_stranger_wrote_into_the_pipe_is_no_bell(
    connection: Connection, consumer: Consumer, folder: Path, heard: list[Any]
) -> None:
    fifo.ring(folder, "work", b"not ours")
    with capture_logs() as logs, pytest.raises(TimeoutError):
        connection.drain_events(timeout=0.01)
    publish(connection, "ours")
    connection.drain_events(timeout=1)

    assert [entry["event"] for entry in logs] == ["bell.garbled"]
    assert [body for body, _message in heard] == ["ours"]


@pytest.mark.parametrize("name", ["plain", "with space", "q?a#b", "50%", "a;b", "a+b@c:d", "Größe", "a&b=c"])
def test_a_url_leads_to_the_folder_it_was_made_of(tmp_path: Path, name: str) -> None:
    transport.register()
    with Connection(url(tmp_path / name)) as connection:
        assert connection.transport.folder == tmp_path / name


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def direct(folder: Path, told: list[str]) -> Iterator[Connection]:
    transport.register()
    options = {transport.ON_RING: lambda: told.append("rung")}
    with Connection(url(folder), transport_options=options) as connection:
        yield connection


def test_who_is_told_hears_without_a_task(direct: Connection, told: list[str], heard: list[Any]) -> None:
    with Consumer(direct, [WORK], callbacks=[lambda body, _message: heard.append(body)]):
        publish(direct, "look")
        direct.drain_events(timeout=1)
        with pytest.raises(TimeoutError):
            direct.drain_events(timeout=0.01)

    assert (told, heard) == (["rung"], [])


def test_what_is_no_bell_is_not_told(direct: Connection, folder: Path, told: list[str]) -> None:
    with Consumer(direct, [WORK], callbacks=[]), capture_logs():
        fifo.ring(folder, "work", b"not json")
        with pytest.raises(TimeoutError):
            direct.drain_events(timeout=0.1)

    assert told == []


def test_a_ring_may_be_rung_again(connection: Connection, consumer: Consumer, heard: list[Any]) -> None:
    ringer = connection.channel()
    first = ringer.ring_again("work")
    connection.Producer(ringer).publish({"look": "here"}, routing_key="work", serializer="json")
    connection.drain_events(timeout=1)

    again = ringer.ring_again("work")
    connection.drain_events(timeout=1)

    assert (first, again) == (False, True)
    assert [body for body, _ in heard] == [{"look": "here"}] * 2


def test_a_ring_that_nobody_heard_is_no_ring_again(folder: Path) -> None:
    transport.register()
    with Connection(url(folder)) as connection:
        ringer = connection.channel()
        connection.Producer(ringer).publish("look", routing_key="work", serializer="json")

        assert not ringer.ring_again("work")
