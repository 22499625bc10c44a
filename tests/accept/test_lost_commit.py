"""A COMMIT whose answer is lost: the door finds out before it answers."""

from __future__ import annotations

import pytest
from sqlalchemy import make_url

from mailer import clock
from mailer.accept.committer import Committer
from mailer.accept.rates import KeyRates, RateLimits
from mailer.accept.submission import Fault, SubmissionError
from mailer.queue import read
from mailer.store import Store, schema
from tests.accept.conftest import Desk
from tests.support.mailroom import KEYS
from tests.support.tcp_proxy import Cut, commit_thief


@pytest.fixture
def database_url(postgres_url: str) -> str:
    """Only PostgreSQL has an answer to lose."""
    return postgres_url


async def commit_through_a_thief(desk: Desk, cut: Cut) -> tuple[int, object]:
    """(message id, what the door answered) when the thief takes its COMMIT's answer, or the COMMIT."""
    url = make_url(desk.room.store.url)
    with commit_thief(url.host or "", url.port or 0) as thief:
        store = Store(url.set(port=thief.port).render_as_string(hide_password=False))
        schema.check(store)
        committer = Committer(
            store, new_id=desk.room.new_id, process_number=1, now=clock.now, ring=lambda: None,
            rates=KeyRates(RateLimits(), clock.monotonic), keys=KEYS,
        )  # fmt: skip
        committer.start()
        thief.steal(cut, touching="INSERT INTO message")
        prepared = desk.prepared()
        try:
            return prepared.message_id, await committer.commit(prepared)
        except SubmissionError as error:
            return prepared.message_id, error.fault
        finally:
            committer.stop()
            store.close()


async def test_a_commit_that_stands_is_accepted_though_its_answer_was_lost(desk: Desk) -> None:
    message_id, answer = await commit_through_a_thief(desk, Cut.ANSWER)

    assert getattr(answer, "message_id", answer) == message_id
    assert read.message_of(desk.room.store, desk.room.tenant_id, message_id) is not None


async def test_a_commit_that_was_lost_itself_is_not_accepted(desk: Desk) -> None:
    message_id, answer = await commit_through_a_thief(desk, Cut.COMMIT)

    assert answer is Fault.UNAVAILABLE
    assert read.message_of(desk.room.store, desk.room.tenant_id, message_id) is None
