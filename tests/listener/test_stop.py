"""The graceful stop: nobody loses a message to it, and nobody delays it for ever (RFC 5321 §3.8)."""

from __future__ import annotations

import pytest

from tests.listener.serving import ENVELOPE, Served

SHUTTING_DOWN = "421 4.3.2 The server is shutting down; try again later"


def test_the_idle_are_told_at_once(served: Served) -> None:
    with served.client() as client:
        client.open()

        served.close(5).result(10)

        assert client.rest() == [SHUTTING_DOWN]


def test_nobody_new_is_let_in(served: Served) -> None:
    served.close(5).result(10)

    with pytest.raises(ConnectionRefusedError):
        served.client()


def test_a_transaction_is_finished_first(served: Served) -> None:
    with served.client() as client:
        client.open()
        client.send(ENVELOPE + b"DATA\r\n")
        assert [client.reply().code for _ in range(3)] == [250, 250, 354]
        closed = served.close(5)
        client.send(b"x\r\n.\r\n")

        assert client.rest() == ["250 2.6.0 Taken 1", SHUTTING_DOWN]
        closed.result(10)


def test_a_message_being_taken_is_waited_for(served: Served) -> None:
    with served.client() as client:
        client.open()
        client.send(b"MAIL FROM:<slow@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\nx\r\n.\r\n")
        assert served.desk.is_waiting.wait(5)
        closed = served.close(5)
        served.desk.release.set()

        assert client.rest()[3:] == ["250 2.6.0 Taken 1", SHUTTING_DOWN]
        closed.result(10)


@pytest.mark.parametrize(
    "sent", [b"MAIL FROM:<a@b.example>\r\n", ENVELOPE + b"DATA\r\nx\r\n"], ids=["envelope", "content"]
)
def test_who_does_not_finish_is_told_when_time_is_up(served: Served, sent: bytes) -> None:
    with served.client() as client:
        client.open()
        client.send(sent)
        assert client.reply().code == 250
        served.close(0.2).result(10)

        assert client.rest()[-1] == SHUTTING_DOWN
    assert served.desk.taken == []
