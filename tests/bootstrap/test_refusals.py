"""The operator's rules on refusals change while a process runs: when they are taken, and what stands in."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from mailer.bootstrap.refusals import RefusalKeeper
from mailer.bootstrap.site_rules import RulesKeeper
from mailer.policy.classifier import Said
from mailer.policy.outcome import Refused
from mailer.protocol.phase import Phase
from mailer.protocol.reply import Reply
from mailer.store import Store

SAID = Said("550 our example")


def ruled(bounce_class: str) -> str:
    return f'[rule.mine]\ntext = ["our example"]\nclass = "{bounce_class}"\nsource = "assumed"\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    own = tmp_path / "bounces.toml"
    own.write_text(ruled("moved"))
    return own


def meant(keeper: RefusalKeeper) -> str:
    return keeper.classifier.classify(SAID).bounce_class


def look(keeper: RefusalKeeper, times: int = 2) -> tuple[list[bool], list[str]]:
    """Whether there were others, and what it said."""
    with capture_logs() as said:
        found = [keeper.look() for _ in range(times)]
    return found, [str(entry["event"]) for entry in said]


def test_without_a_file_the_shipped_rules_hold() -> None:
    keeper = RefusalKeeper(None)

    assert meant(keeper) == "undetermined"
    assert look(keeper) == ([False, False], [])


def test_a_changed_file_is_taken_once_it_stands_still(file: Path) -> None:
    keeper = RefusalKeeper(file)
    before = meant(keeper)
    file.write_text(ruled("mailbox-full"))

    assert before == "moved"
    assert look(keeper, 3) == ([False, True, False], ["refusals.rules_taken"])
    assert meant(keeper) == "mailbox-full"


@pytest.mark.parametrize("text", [ruled("nice"), "[rule.mine\n", None], ids=["a fault", "no TOML", "gone"])
def test_a_file_that_cannot_be_used_is_told_once_and_the_last_good_rules_stay(
    file: Path, text: str | None
) -> None:
    keeper = RefusalKeeper(file)
    file.unlink() if text is None else file.write_text(text)

    assert look(keeper, 4) == ([False] * 4, ["refusals.rules_refused"])
    assert meant(keeper) == "moved"


@pytest.mark.parametrize(("has_started_before", "expected"), [(True, "moved"), (False, "undetermined")])
def test_a_process_that_starts_with_a_bad_file_has_its_last_good_rules(
    file: Path, tmp_path: Path, has_started_before: bool, expected: str
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    RefusalKeeper(file if has_started_before else None, data)
    file.write_text(ruled("nice"))

    with capture_logs() as said:
        keeper = RefusalKeeper(file, data)

    assert [entry["event"] for entry in said] == ["refusals.rules_refused", "refusals.started_without_file"]
    assert meant(keeper) == expected


def test_they_hold_for_what_sites_say_as_soon_as_they_are_taken(file: Path, store: Store) -> None:
    keeper = RulesKeeper(None, store, refusals=file)
    outcome = Refused(Reply(550, ("our example",)), Phase.RCPT)
    before = keeper.rules.judge(outcome, None)
    file.write_text(ruled("mailbox-full"))
    with capture_logs():
        keeper.look()
        keeper.look()
    after = keeper.rules.judge(outcome, None)

    assert before is not None
    assert after is not None
    assert (before.bounce_class, after.bounce_class) == ("moved", "mailbox-full")
