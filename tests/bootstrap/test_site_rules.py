"""The operator's file changes while a process runs: when it is taken, and when the last good rules stay."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from mailer import clock
from mailer.bootstrap.kept_rules import find
from mailer.bootstrap.site_rules import RulesKeeper, rules_in_force
from mailer.policy.sites import SiteRuleError, SiteRules
from mailer.queue import ownrules
from mailer.queue.ownrules import Values
from mailer.store import Store, StoreUnavailable

SITE = "provider:big"


def ruled(connections: object) -> str:
    return f'[provider.big]\nmx = ["big.example"]\nconnections = {connections}\nsource = "assumed"\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    own = tmp_path / "sites.toml"
    own.write_text(ruled(7))
    return own


def changed(file: Path, text: str) -> None:
    """As an editor does it: another file takes its place."""
    half = file.with_suffix(".new")
    half.write_text(text)
    half.rename(file)


def look(keeper: RulesKeeper, times: int = 2) -> list[str]:
    """What it said."""
    with capture_logs() as said:
        for _ in range(times):
            keeper.look()
    return [str(entry["event"]) for entry in said]


def most(keeper: RulesKeeper) -> int:
    return keeper.rules.connections(SITE, 20)


def started(file: Path | None, store: Store, data: Path) -> tuple[RulesKeeper, list[str]]:
    """A process that starts, and what it said as an error."""
    with capture_logs() as said:
        keeper = RulesKeeper(file, store, data_dir=data)
    return keeper, [str(entry["event"]) for entry in said if entry["log_level"] == "error"]


LOUD = ["sites.rules_refused", "sites.started_without_file"]
BAD = [ruled(0), "[provider.big\n", "x = " + "[" * 100_000, None]


@pytest.mark.parametrize("text", BAD, ids=["a fault", "no TOML", "too deep", "gone"])
def test_a_process_that_starts_with_a_bad_file_has_the_last_good_rules(
    file: Path, store: Store, tmp_path: Path, text: str | None
) -> None:
    RulesKeeper(file, store, data_dir=tmp_path)
    changed(file, ruled(5))
    first = RulesKeeper(file, store, data_dir=tmp_path)
    changed(file, ruled(4))
    taken = look(first)
    file.unlink() if text is None else changed(file, text)

    keeper, said = started(file, store, tmp_path)
    kept = most(keeper)
    still = look(keeper, 5)
    changed(file, ruled(3))

    assert taken == ["sites.rules_taken"]
    assert (said, kept, still) == (LOUD, 4, [])
    rule = keeper.rules.rule_of(SITE)
    assert rule is not None
    assert rule.place == f"{tmp_path}/sites.last-good.toml:1"
    assert look(keeper) == ["sites.rules_taken"]
    assert most(keeper) == 3
    assert rule.place != f"{file}:1" == getattr(keeper.rules.rule_of(SITE), "place", None)


def test_without_last_good_rules_it_has_the_shipped_ones_and_those_of_the_api(
    file: Path, store: Store, tmp_path: Path
) -> None:
    file.write_text(ruled(0))
    put(store, own(2), name="mine")

    keeper, said = started(file, store, tmp_path)

    assert said == LOUD
    assert keeper.rules.connections("provider:mine", 20) == 2
    assert "google" in {provider.name for provider in keeper.rules.providers}
    assert look(keeper, 3) == []


def test_the_copy_is_whole_and_ends_with_the_setting(file: Path, store: Store, tmp_path: Path) -> None:
    copy = tmp_path / "sites.last-good.toml"
    RulesKeeper(file, store, data_dir=tmp_path)
    kept, beside = copy.read_text(), {path.name for path in tmp_path.glob("*.part")}
    RulesKeeper(None, store, data_dir=tmp_path)
    gone = not copy.exists()
    file.write_text(ruled(0))
    keeper, _ = started(file, store, tmp_path)

    assert (kept, beside, gone) == (ruled(7), set(), True)
    assert most(keeper) == 20


def test_a_copy_that_cannot_be_kept_or_used_ends_no_process(file: Path, store: Store, tmp_path: Path) -> None:
    (tmp_path / "sites.last-good.toml").write_text("[")
    file.write_text(ruled(0))
    _, bad = started(file, store, tmp_path)
    (tmp_path / "sites.last-good.toml").unlink()
    (tmp_path / "sites.last-good.toml").mkdir()
    file.write_text(ruled(6))
    keeper, good = started(file, store, tmp_path)

    assert (bad, good) == (LOUD, [])
    assert most(keeper) == 6


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (ruled(0), "sites.toml:1: connections must be a number from 1 to 10000"),
        (f"\n\n{ruled('true')}", "sites.toml:3: connections must be a number from 1 to 10000"),
        ("[provider.big\n", "sites.toml: Expected ']' at the end of a table declaration (at line 1"),
        ('[provider.mine]\nmx = ["google.com"]\nsource = "assumed"\n', "sites.toml:1: google.com belongs to"),
    ],
)
def test_a_bad_change_is_told_once_and_the_last_good_rules_stay(
    file: Path, store: Store, text: str, fault: str
) -> None:
    keeper = RulesKeeper(file, store)
    changed(file, text)

    with capture_logs() as said:
        for _ in range(5):
            keeper.look()

    [entry] = said
    assert (entry["event"], entry["log_level"]) == ("sites.rules_refused", "error")
    [told] = entry["faults"]
    assert fault in told
    assert most(keeper) == 7


def test_what_breaks_the_reader_ends_no_process(file: Path, store: Store) -> None:
    keeper = RulesKeeper(file, store)
    changed(file, "x = " + "[" * 100_000)

    assert look(keeper, 5) == ["sites.rules_refused"]
    assert most(keeper) == 7


def test_a_file_that_is_gone_is_told_once_and_taken_when_it_is_back(file: Path, store: Store) -> None:
    keeper = RulesKeeper(file, store)
    file.unlink()
    gone = look(keeper, 5)
    kept = most(keeper)
    file.write_text(ruled(3))

    assert gone == ["sites.rules_refused"]
    assert kept == 7
    assert look(keeper) == ["sites.rules_taken"]
    assert most(keeper) == 3


def test_a_good_change_is_taken_with_its_new_line_and_told_once(file: Path, store: Store) -> None:
    keeper = RulesKeeper(file, store)
    held = keeper.rules
    changed(file, f"# less, since Monday\n{ruled(2)}")

    assert look(keeper, 5) == ["sites.rules_taken"]
    assert most(keeper) == 2
    rule = held.rule_of(SITE)
    assert rule is not None
    assert rule.place == f"{file}:2"


def test_a_good_change_after_a_bad_one_is_taken(file: Path, store: Store) -> None:
    keeper = RulesKeeper(file, store)
    changed(file, ruled(0))
    look(keeper)
    changed(file, ruled(2))

    assert look(keeper) == ["sites.rules_taken"]
    assert most(keeper) == 2


def test_a_file_that_is_being_written_is_left_alone(file: Path, store: Store) -> None:
    """Half of it may be in order, and lack the rules that come later."""
    keeper = RulesKeeper(file, store)
    whole = ruled(5)
    said = []
    for end in (0, 1, 2):
        file.write_text("\n" * end)
        said += look(keeper, 1)
    file.write_text(whole)
    said += look(keeper, 1)

    assert said == []
    assert most(keeper) == 7
    assert look(keeper, 1) == ["sites.rules_taken"]
    assert most(keeper) == 5


def test_a_change_that_keeps_time_and_size_is_known_by_its_inode(file: Path, store: Store) -> None:
    keeper = RulesKeeper(file, store)
    before = file.stat()
    changed(file, ruled(6))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert look(keeper) == ["sites.rules_taken"]
    assert most(keeper) == 6


def test_nothing_is_read_anew_without_a_change_or_without_a_file(file: Path, store: Store) -> None:
    with_file, without = RulesKeeper(file, store), RulesKeeper(None, store)
    editions = (with_file.rules.edition, without.rules.edition)

    assert look(with_file, 3) + look(without, 3) == []
    assert (with_file.rules.edition, without.rules.edition) == editions


# ---- rules in the database


def own(connections: int, *, mx: str = "big.example") -> Values:
    return {"mx": [mx], "connections": connections, "source": "assumed"}


def put(store: Store, values: Values, name: str = "big") -> None:
    ownrules.put(store, name, values, check=lambda rules: None, now=clock.now())


def test_a_rule_in_the_database_lies_over_the_file_and_gives_way_when_it_is_gone(
    file: Path, store: Store
) -> None:
    keeper = RulesKeeper(file, store)
    put(store, own(2))
    taken = look(keeper, 3)
    rule = keeper.rules.rule_of(SITE)
    set_to = most(keeper)
    ownrules.remove(store, "big", check=keeper.merged)

    assert taken == ["sites.own_rules_taken"]
    assert set_to == 2
    assert rule is not None
    assert rule.place == "api"
    assert look(keeper, 1) == ["sites.own_rules_taken"]
    assert most(keeper) == 7


def test_a_process_that_starts_has_the_rules_of_the_database(file: Path, store: Store) -> None:
    put(store, own(2))

    assert most(RulesKeeper(file, store)) == 2
    assert rules_in_force(find(file, None), ownrules.all_of(store)).connections(SITE, 20) == 2


def test_a_change_of_the_file_leaves_the_rules_of_the_database_above_it(file: Path, store: Store) -> None:
    put(store, own(2))
    keeper = RulesKeeper(file, store)
    changed(file, ruled(5))

    assert look(keeper) == ["sites.rules_taken"]
    assert most(keeper) == 2


def test_a_rule_in_the_database_holds_although_the_file_cannot_be_used(file: Path, store: Store) -> None:
    keeper = RulesKeeper(file, store)
    changed(file, ruled(0))
    refused = look(keeper, 3)
    put(store, own(2))

    assert refused == ["sites.rules_refused"]
    assert look(keeper, 3) == ["sites.own_rules_taken"]
    assert most(keeper) == 2


def test_a_file_that_contradicts_the_database_is_taken_once_it_does_not(file: Path, store: Store) -> None:
    keeper = RulesKeeper(file, store)
    put(store, own(1, mx="new.example"), name="mine")
    look(keeper)
    changed(file, ruled(5).replace("big.example", "new.example"))
    with capture_logs() as said:
        for _ in range(4):
            keeper.look()
    kept = most(keeper)
    ownrules.remove(store, "mine", check=keeper.merged)

    [entry] = said
    assert entry["faults"] == [f"api: new.example belongs to provider.big ({file}:1)"]
    assert kept == 7
    assert look(keeper, 2) == ["sites.own_rules_taken", "sites.rules_taken"]
    assert most(keeper) == 5


def test_a_process_starts_with_the_files_where_the_database_contradicts_them(
    file: Path, store: Store
) -> None:
    put(store, own(1), name="mine")
    with capture_logs() as said:
        keeper = RulesKeeper(file, store)

    assert [entry["event"] for entry in said] == ["sites.rules_refused"]
    assert most(keeper) == 7
    assert rules_in_force(find(file, None), ownrules.all_of(store)).connections(SITE, 20) == 7


def test_what_is_refused_is_not_kept(file: Path, store: Store) -> None:
    keeper = RulesKeeper(file, store)

    with pytest.raises(SiteRuleError, match="belongs to"):
        ownrules.put(store, "mine", own(1), check=keeper.merged, now=clock.now())

    assert ownrules.all_of(store) == {}


def test_what_a_rule_needs_is_not_taken_away_from_under_it(store: Store) -> None:
    """Its end of names would be two providers'."""

    def merged(rules: ownrules.OwnRules) -> SiteRules:
        return SiteRules.parse({"f": ruled(7)}, rules)

    put(store, {"mx": [], "source": "assumed"})
    ownrules.put(store, "mine", own(1), check=merged, now=clock.now())

    with pytest.raises(SiteRuleError, match="belongs to"):
        ownrules.remove(store, "big", check=merged)

    assert set(ownrules.all_of(store)) == {"big", "mine"}


def test_a_database_that_is_away_leaves_all_as_it_is(
    file: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, own(2))
    keeper = RulesKeeper(file, store)

    def away(_: Store) -> ownrules.OwnRules:
        raise StoreUnavailable("away")

    monkeypatch.setattr(ownrules, "all_of", away)

    assert look(keeper, 1) == ["sites.own_rules_not_read"]
    assert most(keeper) == 2
