"""Every phase of a delivery against a peer that misbehaves there (tests/relay/dialogues/*.smtp).

Each file says what must come of the first message, whether the session may serve the second one, and how
often the peer read the first message to its final dot; where that is not told by these, also what the journal
was told, and in which phase nobody waits.
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


def _timeouts(stated: dict[str, str]) -> Timeouts:
    """Impatient where the dialogue is to break, patient elsewhere."""
    word, _, phase = stated["outcome"].partition(" ")
    return impatient_at(Phase(stated.get("impatient", phase))) if word == "broken" else PATIENT


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
        first, second, peer, journal = runner.run(_play(script, _timeouts(stated)))

    assert _in_words(first) == stated["outcome"]
    assert isinstance(second, Accepted)
    assert len(peer.conversations) == {"kept": 1, "dead": 2}[stated["session"]]
    assert peer.contents.count(FIRST) == int(stated["taken"])
    assert peer.contents.count(SECOND) == 1
    assert peer.faults == []
    assert journal.entries == _expected_journal(
        first, stated.get("journal", _plain_journal(first, taken=bool(peer.contents.count(FIRST))))
    )


def _plain_journal(first: Outcome, *, taken: bool) -> str:
    """The dot is noted before it goes, its reply when heard; nothing is noted for what had no dot."""
    if not taken:
        return ""
    return "dot heard" if isinstance(first, Accepted | Refused) else "dot"


def _expected_journal(first: Outcome, words: str) -> list[tuple[object, ...]]:
    said = (first.reply.code, first.reply.text) if isinstance(first, Accepted | Refused) else ()
    entries = [(word, 1, *(said if word == "heard" else ())) for word in words.split()]
    return [*entries, ("dot", 2), ("heard", 2, 250, "2.0.0 taken")]
