"""What is due is posted, signed so that the official library verifies it, and again until it is taken."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import make_url
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from mailer import clock
from mailer.accept.http.shapes import EventPage
from mailer.outward import Guard
from mailer.queue import incarnations, read, verify
from mailer.store import Store, schema
from mailer.store.tables import webhook_endpoint
from tests.support.certificates import server_context, trusting_context
from tests.support.instance import wait_for
from tests.support.mailroom import BOUNCED, HEARD_451, HOUR, Mailroom
from tests.support.receiver import OK, Answer, Call, Receiver, receiving
from tests.support.servers import Postgres
from tests.support.tcp_proxy import Cut, commit_thief
from tests.webhooks.calling import (
    AT_ONCE,
    PATIENCE_SECONDS,
    await_states,
    calling,
    causes,
    states,
)
from tests.webhooks.conftest import Switchboard, switchboard

FAILED = Answer(status=500)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


def in_turn(*answers: Answer) -> Script:
    return Script(list(answers))


class Script:
    """Answers in turn, the last one for ever."""

    def __init__(self, answers: list[Answer]) -> None:
        self._answers = answers

    def __call__(self, call: Call) -> Answer:
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def events_shown(board: Switchboard) -> list[object]:
    """As GET /v1/events shows them."""
    page = read.events(board.store, board.room.tenant_id, after=0, limit=100)
    shown: list[object] = EventPage.model_validate(page).model_dump(mode="json", by_alias=True)["events"]
    return shown


# ---- what is posted


def test_every_event_is_posted_as_the_log_shows_it(board: Switchboard, receiver: Receiver) -> None:
    board.endpoint(receiver.url)
    board.tell(2)
    claimed = board.room.claim()
    board.room.settle(claimed[:1], BOUNCED, HEARD_451)
    board.fan_out()
    with calling(board):
        await_states(board, ["delivered"] * 3)

    told = sorted((call.payload["data"] for call in receiver.calls), key=lambda data: data["number"])
    assert told == events_shown(board)
    assert {(c.payload["type"], c.payload["timestamp"]) for c in receiver.calls} == {
        (e["type"], e["at"]) for e in told
    }
    assert {c.id for c in receiver.calls} == {e["id"] for e in told}
    assert [set(c.payload) for c in receiver.calls] == [{"type", "timestamp", "data"}] * 3


def test_the_official_library_verifies_what_is_posted(board: Switchboard, receiver: Receiver) -> None:
    endpoint = board.endpoint(receiver.url)
    board.tell()
    secret = board.endpoints.secret(board.room.tenant_id, endpoint)
    with calling(board):
        await_states(board, ["delivered"])

    [call] = receiver.calls
    assert secret is not None
    assert Webhook(secret).verify(call.body.decode(), dict(call.headers)) == call.payload
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(call.body.decode().replace("accepted", "bounced"), dict(call.headers))
    assert call.headers["content-type"] == "application/json"
    assert call.headers["user-agent"] == "ECM-Mailer/test"
    assert call.path == "/hook"


def test_both_secrets_sign_until_the_overlap_ends(board: Switchboard, receiver: Receiver) -> None:
    endpoint, tenant_id = board.endpoint(receiver.url), board.room.tenant_id
    old = board.endpoints.secret(tenant_id, endpoint)
    rotated = board.endpoints.rotate(tenant_id, endpoint, overlap=HOUR)
    board.tell()
    with calling(board):
        await_states(board, ["delivered"])
        newest = board.endpoints.rotate(tenant_id, endpoint, overlap=timedelta(0))
        board.tell()
        await_states(board, ["delivered", "delivered"])

    during, after = receiver.calls
    assert old is not None and rotated is not None and newest is not None
    for secret in (old, rotated[0]):
        Webhook(secret).verify(during.body.decode(), dict(during.headers))
    Webhook(newest[0]).verify(after.body.decode(), dict(after.headers))
    assert len(after.headers["webhook-signature"].split()) == 1


def test_a_test_goes_the_same_way(board: Switchboard, receiver: Receiver) -> None:
    endpoint = board.endpoint(receiver.url, "bounced")
    secret = board.endpoints.secret(board.room.tenant_id, endpoint)
    board.endpoints.test(board.room.tenant_id, endpoint)
    with calling(board):
        await_states(board, ["delivered"])

    [call] = receiver.calls
    assert secret is not None
    assert Webhook(secret).verify(call.body.decode(), dict(call.headers))["type"] == "test"
    assert (call.payload["data"]["number"], call.payload["data"]["data"]) == (None, {})


def test_tls_is_checked_against_the_hosts_name(board: Switchboard, tmp_path: Path) -> None:
    with receiving(tls=server_context(tmp_path)) as receiver:
        board.endpoint(receiver.url)
        board.endpoint(f"https://localhost:{receiver.port}/hook")
        board.tell()
        with calling(board, tls=trusting_context(tmp_path)):
            await_states(board, ["delivered", "given_up"])

    assert len(receiver.calls) == 1
    assert sorted(causes(board), key=str)[1] == (
        None, "TLS failed: the certificate, its name, or the protocol",
    )  # fmt: skip


# ---- what follows an answer


def test_what_failed_is_posted_again_under_the_same_id(board: Switchboard, receiver: Receiver) -> None:
    receiver.answer = in_turn(FAILED, FAILED, OK)
    board.endpoint(receiver.url)
    board.tell()
    with calling(board, AT_ONCE, AT_ONCE):
        await_states(board, ["delivered"])

    assert causes(board) == [(500, "answered 500"), (500, "answered 500"), (204, None)]
    assert len({call.id for call in receiver.calls}) == 1
    assert len({call.body for call in receiver.calls}) == 1
    assert verify.verify(board.store).holds


def test_it_is_given_up_when_the_schedule_ends_and_tried_once_more_when_asked(
    board: Switchboard, receiver: Receiver
) -> None:
    receiver.answer = in_turn(FAILED, FAILED, OK)
    endpoint = board.endpoint(receiver.url)
    board.tell()
    with calling(board, AT_ONCE):
        await_states(board, ["given_up"])
        [row] = board.callbacks()
        board.endpoints.retry(board.room.tenant_id, endpoint, row.id)
        await_states(board, ["delivered"])

    assert [status for status, _ in causes(board)] == [500, 500, 204]


def test_the_wait_between_attempts_is_that_of_the_schedule(board: Switchboard, receiver: Receiver) -> None:
    receiver.answer = in_turn(FAILED)
    board.endpoint(receiver.url)
    board.tell()
    began = clock.now()
    with calling(board, HOUR):
        wait_for("an attempt", board.attempts, within_seconds=PATIENCE_SECONDS)

    [row] = board.callbacks()
    assert HOUR <= row.due_at - began < HOUR + timedelta(minutes=1)


def test_who_asks_to_wait_is_waited_for(board: Switchboard, receiver: Receiver) -> None:
    receiver.answer = in_turn(Answer(status=429, headers={"Retry-After": "1800"}))
    board.endpoint(receiver.url)
    board.tell()
    began = clock.now()
    with calling(board, AT_ONCE, HOUR):
        wait_for("an attempt", board.attempts, within_seconds=PATIENCE_SECONDS)

    [row] = board.callbacks()
    assert timedelta(minutes=30) <= row.due_at - began < timedelta(minutes=31)


def test_an_endpoint_that_is_gone_is_disabled(board: Switchboard, receiver: Receiver) -> None:
    receiver.answer = in_turn(Answer(status=410))
    endpoint = board.endpoint(receiver.url)
    board.tell()
    with calling(board, AT_ONCE, AT_ONCE):
        wait_for(
            "it to be disabled", lambda: board.row(endpoint).state == "disabled",
            within_seconds=PATIENCE_SECONDS,
        )  # fmt: skip

    assert (states(board), len(receiver.calls)) == (["due"], 1)


def test_a_redirect_is_not_followed(board: Switchboard, receiver: Receiver) -> None:
    with receiving() as elsewhere:
        receiver.answer = in_turn(Answer(status=307, headers={"Location": elsewhere.url}))
        board.endpoint(receiver.url)
        board.tell()
        with calling(board):
            await_states(board, ["given_up"])

    assert elsewhere.dials == 0
    assert causes(board) == [(307, "redirects are not followed")]


def test_no_cookie_is_sent_back(board: Switchboard, receiver: Receiver) -> None:
    receiver.answer = in_turn(Answer(headers={"Set-Cookie": "a=b; Path=/"}))
    board.endpoint(receiver.url)
    board.tell(3)
    with calling(board):
        await_states(board, ["delivered"] * 3)

    assert [call for call in receiver.calls if "cookie" in call.headers] == []


def test_a_long_answer_counts_and_is_not_read_to_its_end(board: Switchboard, receiver: Receiver) -> None:
    receiver.answer = in_turn(Answer(status=200, body=b"x" * 30_000_000))
    board.endpoint(receiver.url)
    board.tell()
    with calling(board):
        await_states(board, ["delivered"])

    assert causes(board) == [(200, None)]


def test_once_the_head_is_there_a_body_that_does_not_come_changes_nothing(
    board: Switchboard, receiver: Receiver
) -> None:
    receiver.answer = in_turn(Answer(status=200, headers={"Content-Length": "10"}))
    board.endpoint(receiver.url)
    board.tell()
    with calling(board, seconds=0.5):
        await_states(board, ["delivered"])


def test_a_connection_that_breaks_is_told_from_one_that_nobody_took(
    board: Switchboard, receiver: Receiver
) -> None:
    receiver.answer = in_turn(Answer(drops=True), OK)
    board.endpoint(receiver.url)
    board.tell()
    with calling(board, AT_ONCE):
        await_states(board, ["delivered"])
        receiver.stop()
        board.tell()
        await_states(board, ["delivered", "due"])
        wait_for("the attempt", lambda: len(board.attempts()) > 2, within_seconds=PATIENCE_SECONDS)
        receiver.start()
        await_states(board, ["delivered", "delivered"])

    told = [cause for _, cause in causes(board)]
    assert told[:2] == ["the connection broke before the answer", None]
    assert told[2] == "nobody took the connection"


def test_live_a_name_that_leads_inside_is_not_called_and_its_owner_learns_nothing(
    board: Switchboard, receiver: Receiver
) -> None:
    board.endpoint(f"https://localhost:{receiver.port}/")
    board.tell()
    with calling(board, guard=Guard()):
        await_states(board, ["given_up"])

    assert receiver.dials == 0
    assert causes(board) == [(None, "the host's address may not be called")]


# ---- nobody waits for another


def test_an_endpoint_that_hangs_holds_nobody(board: Switchboard, receiver: Receiver) -> None:
    released = threading.Event()
    with receiving(lambda call: Answer(after=released)) as stuck:
        board.endpoint(stuck.url)
        board.endpoint(receiver.url)
        board.tell(40)
        with calling(board, HOUR, seconds=8.0):
            wait_for(
                "the other's callbacks", lambda: states(board).count("delivered") == 40,
                within_seconds=7.0,
            )  # fmt: skip
            released.set()

    assert len({call.id for call in receiver.calls}) == 40


def test_no_answer_in_time_is_a_failed_attempt(board: Switchboard, receiver: Receiver) -> None:
    released = threading.Event()
    receiver.answer = in_turn(Answer(after=released), OK)
    board.endpoint(receiver.url)
    board.tell()
    with calling(board, AT_ONCE, seconds=0.3):
        await_states(board, ["delivered"])
        released.set()

    assert causes(board) == [(None, "no answer in time"), (204, None)]


def test_a_defect_with_one_callback_stops_no_other(board: Switchboard, receiver: Receiver) -> None:
    broken, _ = board.endpoint(receiver.url), board.endpoint(receiver.url)
    with board.store.write() as c:
        of_another = webhook_endpoint.update().where(webhook_endpoint.c.id == broken)
        c.execute(of_another.values(secret=b"sealed under another secret"))
    board.tell()
    with calling(board):
        await_states(board, ["given_up", "delivered"])

    assert sorted(causes(board), key=str) == [(204, None), (None, "internal error")]


# ---- ends


def test_a_stop_awaits_what_is_on_the_wire(board: Switchboard, receiver: Receiver) -> None:
    released = threading.Event()
    receiver.answer = lambda call: Answer(after=released)
    board.endpoint(receiver.url)
    board.tell(5)
    with calling(board):
        wait_for("a call", lambda: receiver.calls, within_seconds=PATIENCE_SECONDS)
        threading.Timer(0.3, released.set).start()

    assert "held" not in states(board)
    assert states(board).count("delivered") == len(receiver.calls)


def test_a_caller_that_was_declared_dead_says_so_and_settles_nothing(
    board: Switchboard, receiver: Receiver
) -> None:
    released, fenced = threading.Event(), threading.Event()
    receiver.answer = lambda call: Answer(after=released)
    board.endpoint(receiver.url)
    board.tell()
    with calling(board, fenced=fenced):
        wait_for("a call", lambda: receiver.calls, within_seconds=PATIENCE_SECONDS)
        incarnations.fence(board.store, board.caller.id, now=clock.now())
        released.set()
        assert fenced.wait(PATIENCE_SECONDS)

    assert (states(board), board.attempts()) == (["held"], [])


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """To be killed; the others' server must live."""
    server = Postgres(durable=True)
    server.start()
    yield server
    server.close()


@pytest.mark.servers
def test_what_was_heard_while_the_database_was_away_is_settled_when_it_is_back(
    own_postgres: Postgres, receiver: Receiver
) -> None:
    store = Store(own_postgres.new_database())
    schema.upgrade(store, epoch="e")
    board = switchboard(Mailroom.furnish(store, now=clock.now()))
    released = threading.Event()
    receiver.answer = lambda call: Answer(after=released)
    board.endpoint(receiver.url)
    board.tell(2)
    with calling(board, HOUR):
        wait_for("both calls", lambda: len(receiver.calls) == 2, within_seconds=PATIENCE_SECONDS)
        own_postgres.kill()
        released.set()
        own_postgres.start()
        await_states(board, ["delivered", "delivered"])
        board.tell(3)
        await_states(board, ["delivered"] * 5)

    assert len(receiver.calls) == 5
    assert verify.verify(store).holds
    store.close()


CLAIM, SETTLE = "FOR UPDATE OF webhook_callback", "INSERT INTO webhook_attempt"


@pytest.mark.servers
@pytest.mark.parametrize("cut", list(Cut))
@pytest.mark.parametrize("touching", [CLAIM, SETTLE])
def test_a_commit_whose_answer_was_lost_leaves_nothing_held_and_nothing_out(
    postgres_url: str, receiver: Receiver, cut: Cut, touching: str
) -> None:
    url = make_url(postgres_url)
    assert url.host is not None and url.port is not None
    with commit_thief(url.host, url.port) as thief:
        store = Store(url.set(port=thief.port).render_as_string(hide_password=False))
        schema.upgrade(store, epoch="e")
        board = switchboard(Mailroom.furnish(store, now=clock.now()))
        board.endpoint(receiver.url)
        board.tell(6)
        thief.steal(cut, touching=touching)
        with calling(board):
            await_states(board, ["delivered"] * 6)

        assert thief.stolen == 1
        assert len({call.id for call in receiver.calls}) == 6
        assert verify.verify(store).holds
        store.close()
