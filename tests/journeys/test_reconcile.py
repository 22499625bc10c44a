"""The judge of the crash journeys is judged first: each broken promise is found, a kept one is not."""

from __future__ import annotations

import pytest

from tests.support.load import Accepted
from tests.support.reconcile import Notices, Told, reconcile
from tests.support.sink import DotRead

OK = "ok.b1@d.example.net"
REFUSE = "refuse.b1@d.example.net"


def accepted(address: str = OK, *, bid: str = "b1", message_id: str = "msg_1") -> Accepted:
    return Accepted(0, bid, message_id, {address: "rcpt_1"}, 0)


def dot(did: str = "accepted", address: str = OK) -> DotRead:
    return DotRead(0, 0, "b1", address, did)


def test_a_message_delivered_once_breaks_nothing() -> None:
    found = reconcile([accepted()], [dot()], {"rcpt_1": Told(state="delivered")})

    assert found.broken == []
    assert (found.messages, found.recipients, found.duplicates, found.doubts) == (1, 1, 0, 0)


def test_a_duplicate_with_an_attempt_in_doubt_is_marked() -> None:
    found = reconcile(
        [accepted()], [dot("dropped-kept"), dot()], {"rcpt_1": Told(state="delivered", doubts=1)}
    )

    assert found.broken == []
    assert (found.duplicates, found.doubts, found.unscripted_doubts) == (1, 1, 0)


def test_a_refused_recipient_bounces_without_a_dot() -> None:
    found = reconcile([accepted(REFUSE)], [], {"rcpt_1": Told(state="bounced")})

    assert found.broken == []


@pytest.mark.parametrize(
    ("dots", "told", "sentence"),
    [
        ([], {}, "was accepted and is gone"),
        ([], {"rcpt_1": Told(state="leased")}, "is stuck in state leased"),
        ([], {"rcpt_1": Told(state="delivered")}, "is called delivered, and the sink does not have it"),
        ([dot()], {"rcpt_1": Told(state="bounced")}, "ended bounced, not delivered"),
        ([dot(), dot()], {"rcpt_1": Told(state="delivered")}, "arrived 2 times with 0 attempts in doubt"),
        ([dot(), dot(), dot()], {"rcpt_1": Told(state="delivered", doubts=1)}, "arrived 3 times with 1"),
        ([dot("hung"), dot()], {"rcpt_1": Told(state="delivered")}, "1 dots got no answer, 0 attempts"),
    ],
)
def test_a_broken_promise_is_found(dots: list[DotRead], told: dict[str, Told], sentence: str) -> None:
    found = reconcile([accepted()], dots, told)

    assert any(sentence in line for line in found.broken)


def test_what_the_sink_saw_without_a_202_is_found() -> None:
    found = reconcile([], [dot()], {})

    assert found.broken == [f"the sink saw {OK}, which no client has a 202 for"]


def test_two_submissions_behind_one_message_are_found() -> None:
    other = accepted("ok.b2@d.example.net", bid="b2")
    found = reconcile(
        [accepted(), other], [dot(), dot(address="ok.b2@d.example.net")], {"rcpt_1": Told(state="delivered")}
    )

    assert "msg_1 answers 2 submissions" in found.broken


def notices(**facts: int) -> Notices:
    """Two recipients that bounced, told of in one notice, but for `facts`."""
    return Notices(**{"owed": 2, "sent": 2, "others": 0, "carriers": 1, "doubts": 0, "kept": 1, **facts})


def test_notices_that_were_kept_once_break_nothing() -> None:
    shop = "shop@d.example.net"
    found = reconcile(
        [accepted()], [dot(), dot(address=shop)], {"rcpt_1": Told(state="delivered")}, submitter=shop
    )

    assert found.broken == []
    assert notices().broken() == []
    assert notices(kept=2, doubts=1).broken() == []


@pytest.mark.parametrize(
    "facts",
    [{"sent": 1}, {"others": 1}, {"sent": 3}, {"kept": 0}, {"kept": 2}, {"kept": 3, "doubts": 1}],
    ids=["one not told of", "a stranger told of", "told twice", "lost", "doubled", "doubled beyond doubt"],
)
def test_a_broken_promise_about_notices_is_found(facts: dict[str, int]) -> None:
    assert len(notices(**facts).broken()) == 1
