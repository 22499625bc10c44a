"""Every phase of a delivery against a peer that misbehaves there (tests/relay/dialogues/*.smtp).

Each file says what must come of the first message, whether the session may serve the second one, and how
often the peer read the first message to its final dot.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import uvloop

from mailer.policy.outcome import Accepted, Broken, Outcome, Refused
from mailer.protocol.phase import Phase
from mailer.relay.smtp.settings import Timeouts
from tests.support.scripted_smtp import ScriptedPeer, parse_dialogue
from tests.support.smtp_client import PATIENT, NotedJournal, carrier_to, impatient_at, mail

FIRST = b"Subject: first\r\n\r\n.dotted\r\n"
SECOND = b"Subject: second\r\n\r\nplain\r\n"
DIALOGUES = sorted((Path(__file__).parent / "dialogues").glob("*.smtp"))


def _in_words(outcome: Outcome) -> str:
    match outcome:
        case Accepted(reply):
            return f"accepted {reply.code}"
        case Refused(reply, phase):
            return f"refused {phase} {reply.code}"
        case Broken(phase, _):
            return f"broken {phase}"
        case _:
            return repr(outcome)


def _timeouts(expected: str) -> Timeouts:
    """Impatient where the dialogue is to break, patient elsewhere."""
    word, _, phase = expected.partition(" ")
    return impatient_at(Phase(phase)) if word == "broken" else PATIENT


async def _play(script: str, timeouts: Timeouts) -> tuple[Outcome, Outcome, ScriptedPeer, NotedJournal]:
    journal = NotedJournal()
    async with ScriptedPeer(script) as peer, carrier_to(peer.port, journal, timeouts=timeouts) as carrier:
        first = await carrier.deliver(mail(FIRST, attempt_id=1))
        second = await carrier.deliver(mail(SECOND, attempt_id=2))
    return first.outcome, second.outcome, peer, journal


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("path", DIALOGUES, ids=lambda p: p.stem)
def test_a_peers_misbehaviour_has_the_right_outcome_and_spoils_no_other_mail(path: Path, loop) -> None:  # type: ignore[no-untyped-def]
    stated, script = parse_dialogue(path.read_text())
    with asyncio.Runner(loop_factory=loop) as runner:
        first, second, peer, journal = runner.run(_play(script, _timeouts(stated["outcome"])))

    assert _in_words(first) == stated["outcome"]
    assert isinstance(second, Accepted)
    assert len(peer.conversations) == {"kept": 1, "dead": 2}[stated["session"]]
    assert peer.contents.count(FIRST) == int(stated["taken"])
    assert peer.contents.count(SECOND) == 1
    assert peer.faults == []
    assert journal.entries == _expected_journal(first, taken=bool(peer.contents.count(FIRST)))


def _expected_journal(first: Outcome, *, taken: bool) -> list[tuple[object, ...]]:
    """The dot is noted before it goes, its reply when heard; nothing is noted for what had no dot."""
    entries: list[tuple[object, ...]] = [("dot", 1)] if taken else []
    if taken and isinstance(first, Accepted | Refused):
        entries.append(("heard", 1, first.reply.code, first.reply.text))
    return [*entries, ("dot", 2), ("heard", 2, 250, "2.0.0 taken")]
