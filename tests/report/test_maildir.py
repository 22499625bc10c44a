"""Keeping, finding and forgetting in the inbox's Maildir."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.report.maildir import Delivery, Maildir, arrived_at, find, keys

NOON_MS = 1_790_000_000_000


def opened(folder: Path, *, keep: int = 3, start_ms: int = NOON_MS) -> Maildir:
    return Maildir(folder, keep=keep, wall_ms=itertools.count(start_ms).__next__)


def kept_after(maildir: Maildir, *contents: bytes) -> list[str]:
    deliveries = [Delivery(maildir.new_key(), content) for content in contents]
    maildir.deliver(deliveries)
    return [delivery.key for delivery in deliveries]


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    made = [kept_after(opened(tmp_path, start_ms=NOON_MS + n), b"x")[0] for n in range(5)]

    assert sorted(keys(tmp_path)) == made[-3:]


def test_a_message_that_a_mail_reader_has_seen_is_found_and_counted(tmp_path: Path) -> None:
    maildir = opened(tmp_path)
    [seen, *_] = kept_after(maildir, b"1", b"2", b"3")
    (tmp_path / "new" / seen).rename(tmp_path / "cur" / f"{seen}:2,S")
    found = find(tmp_path, seen)
    kept_after(maildir, b"4")

    assert found == tmp_path / "cur" / f"{seen}:2,S"
    assert find(tmp_path, seen) is None


def test_a_message_that_somebody_removed_is_no_trouble(tmp_path: Path) -> None:
    maildir = opened(tmp_path, keep=1)
    [gone] = kept_after(maildir, b"1")
    (tmp_path / "new" / gone).unlink()
    [newest] = kept_after(maildir, b"2")

    assert list(keys(tmp_path)) == [newest]


def test_all_copies_are_kept_or_none(tmp_path: Path) -> None:
    maildir = opened(tmp_path)
    good, bad = Delivery(maildir.new_key(), b"1"), Delivery("no/such/folder", b"2")
    with pytest.raises(FileNotFoundError):
        maildir.deliver([good, bad])

    assert [*(tmp_path / "new").iterdir(), *(tmp_path / "tmp").iterdir()] == []


def test_the_leavings_of_a_killed_process_are_removed_after_36_hours(tmp_path: Path) -> None:
    opened(tmp_path)
    old, young = tmp_path / "tmp" / "old", tmp_path / "tmp" / "young"
    for path, age_seconds in ((old, 37 * 3600), (young, 35 * 3600)):
        path.write_bytes(b"half a mess")
        os.utime(path, (NOON_MS / 1000 - age_seconds,) * 2)
    opened(tmp_path)

    assert list((tmp_path / "tmp").iterdir()) == [young]


def test_files_and_folders_are_private(tmp_path: Path) -> None:
    [key] = kept_after(opened(tmp_path / "inbox"), b"x")

    assert [p.stat().st_mode & 0o077 for p in (tmp_path / "inbox/new", tmp_path / "inbox/new" / key)] == [
        0,
        0,
    ]


def test_a_key_tells_when_its_message_came(tmp_path: Path) -> None:
    [key] = kept_after(opened(tmp_path, start_ms=NOON_MS + 41), b"x")

    # The first two readings of the clock went to opening and to the key.
    assert arrived_at(key).timestamp() * 1000 == NOON_MS + 42


@given(key=st.text() | st.sampled_from(["../new/x", "..", "", "1790000000.M000000P1Q0000000.x/../../y", "*"]))
def test_no_key_from_outside_leads_out_of_the_folder(key: str) -> None:
    assert find(Path("/"), key) is None
