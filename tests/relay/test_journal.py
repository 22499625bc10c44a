"""What a journal tells its successor, down to the torn line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mailer.relay import journal
from mailer.relay.journal import DotRecord, Journal, read_journal


def open_journal(folder: Path, incarnation_id: int = 7, *, may_send: bool = True) -> Journal:
    return Journal(folder, incarnation_id, lambda: may_send)


def test_a_dot_is_on_record_before_its_reply_and_with_it_after(tmp_path: Path) -> None:
    j = open_journal(tmp_path)
    j.about_to_send_dot(1)
    j.about_to_send_dot(2)
    j.heard(2, 250, "2.0.0 queued\r\nas x")

    records = read_journal(tmp_path, 7)

    j.close(settled=False)
    assert records == {1: DotRecord(), 2: DotRecord(250, "2.0.0 queued  as x")}


def test_a_stale_lease_forbids_the_dot_but_leaves_its_line(tmp_path: Path) -> None:
    """Stopped between line and dot, a worker must be read as "in doubt", never as "not sent"."""
    j = open_journal(tmp_path, may_send=False)

    allowed = j.about_to_send_dot(1)

    j.close(settled=False)
    assert not allowed
    assert read_journal(tmp_path, 7) == {1: DotRecord()}


def test_what_was_withdrawn_was_never_sent_until_another_dot(tmp_path: Path) -> None:
    """A refused recipient takes the content back that went along with it (RFC 3030 §2)."""
    j = open_journal(tmp_path)
    for attempt_id in (1, 2, 3):
        j.about_to_send_dot(attempt_id, passed_on=True)
        j.withdrawn(attempt_id)
    j.about_to_send_dot(2)
    j.about_to_send_dot(3)
    j.heard(3, 250, "ok")
    known = [j.knows(attempt_id) for attempt_id in (1, 2, 3)]

    j.close(settled=False)
    assert known == [False, True, True]
    assert read_journal(tmp_path, 7) == {2: DotRecord(), 3: DotRecord(250, "ok")}


def test_the_last_word_on_an_attempt_outlives_the_segments_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_SEGMENT_BYTES", 40)
    j = open_journal(tmp_path)
    j.about_to_send_dot(1)
    j.about_to_send_dot(2)
    for attempt_id in range(100, 120):
        j.about_to_send_dot(attempt_id)
    j.withdrawn(1)
    j.withdrawn(2)
    for attempt_id in range(200, 220):
        j.about_to_send_dot(attempt_id)
    j.about_to_send_dot(2)
    j.forget([*range(100, 120), *range(200, 220)])

    left = read_journal(tmp_path, 7) or {}
    j.forget([1, 2])
    segments = len(list(tmp_path.glob("7.*.log")))
    j.close(settled=False)
    assert (left.get(1), left.get(2)) == (None, DotRecord())
    assert segments == 1


def test_a_missing_journal_is_told_from_an_empty_one(tmp_path: Path) -> None:
    open_journal(tmp_path).close(settled=False)

    assert read_journal(tmp_path, 7) == {}
    assert read_journal(tmp_path, 8) is None


# In a process of its own: the limit holds for every file, so for what pytest captures, too.
CUT_SHORT = """
import resource, sys
from pathlib import Path
from mailer.relay import journal

journal._SEGMENT_BYTES = 4096
mine = journal.Journal(Path(sys.argv[1]), 7, lambda: True)
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
allowed = 0
while mine.about_to_send_dot(allowed + 1):
    allowed += 1
mine.heard(1, 250, "it does not fit any more" * 100)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
mine.heard(2, 250, "ok")
again = mine.about_to_send_dot(allowed + 2)
mine.close(settled=False)
print(allowed, again)
"""


def test_a_full_disk_stops_dots_and_hides_none(tmp_path: Path) -> None:
    """No dot without its line; those that have theirs keep it, and with room again it goes on."""
    done = subprocess.run(
        [sys.executable, "-c", CUT_SHORT, str(tmp_path)], check=True, stdout=subprocess.PIPE, text=True
    )

    allowed, again = done.stdout.splitlines()[-1].split()  # behind what it logged
    records = read_journal(tmp_path, 7)
    assert records is not None
    assert (int(allowed) > 100, again) == (True, "True")
    assert set(records) == {*range(1, int(allowed) + 1), int(allowed) + 2}
    assert (records[1], records[2]) == (DotRecord(), DotRecord(250, "ok"))


@pytest.mark.parametrize(
    ("tail", "expected"),
    [
        (b"R 1 25", DotRecord()),
        (b"R 1", DotRecord()),
        (b"R 1 250 ok", DotRecord()),
        (b"R 1 250 ok\n", DotRecord(250, "ok")),
        (b"R 1 250 o\0\0\n", DotRecord()),  # its middle was not stored yet
        (b"\0\0\0\0250 ok\n", DotRecord()),
        (b"D 12", DotRecord()),
        (b"\xff\x00garbage", DotRecord()),
    ],
)
def test_a_torn_line_is_none(tmp_path: Path, tail: bytes, expected: DotRecord) -> None:
    j = open_journal(tmp_path)
    j.about_to_send_dot(1)
    j.close(settled=False)
    [segment] = tmp_path.glob("7.*.log")
    kept = segment.read_bytes()
    segment.write_bytes(kept.rstrip(b"\0") + tail + bytes(100))

    assert read_journal(tmp_path, 7) == {1: expected}


def test_a_reply_of_any_length_and_octets_is_kept_on_a_line(tmp_path: Path) -> None:
    j = open_journal(tmp_path)
    for attempt_id, words in enumerate(["a\0b", "x" * 100_000, "ü" * 5000], 1):
        j.about_to_send_dot(attempt_id)
        j.heard(attempt_id, 250, words)
    j.close(settled=False)

    records = read_journal(tmp_path, 7) or {}
    assert [records[n].code for n in (1, 2, 3)] == [250, 250, 250]
    assert (records[1].text, records[2].text) == ("a b", "x" * 4096)
    assert records[3].text.rstrip("\ufffd") == "ü" * 2048


def test_settled_segments_are_deleted_and_open_ones_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_SEGMENT_BYTES", 40)
    j = open_journal(tmp_path)
    for attempt_id in range(100, 120):
        j.about_to_send_dot(attempt_id)

    j.forget(range(100, 119))

    left = read_journal(tmp_path, 7)
    segments = len(list(tmp_path.glob("7.*.log")))
    j.close(settled=False)
    assert left is not None
    assert 119 in left
    assert segments <= 2


def test_a_journal_with_all_settled_leaves_no_file(tmp_path: Path) -> None:
    j = open_journal(tmp_path)
    j.about_to_send_dot(1)
    j.heard(1, 250, "ok")
    j.forget([1])

    j.close(settled=True)

    assert list(tmp_path.iterdir()) == []


DIES = """
import os, signal, sys
from pathlib import Path
from mailer.relay.journal import Journal
j = Journal(Path(sys.argv[1]), 9, lambda: True)
j.about_to_send_dot(5)
print("ready", flush=True)
signal.pause()
"""


def test_a_killed_owner_is_an_orphan_at_once_and_a_living_one_is_not(tmp_path: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", DIES, str(tmp_path)], stdout=subprocess.PIPE)
    assert owner.stdout is not None
    owner.stdout.readline()
    alive = journal.orphans(tmp_path)

    owner.send_signal(signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    [(dead, fd)] = journal.orphans(tmp_path)

    os.close(fd)
    assert alive == []
    assert dead == 9
    assert read_journal(tmp_path, 9) == {5: DotRecord()}


def test_the_host_keeps_its_name(tmp_path: Path) -> None:
    assert journal.host_identity(tmp_path, "first") == journal.host_identity(tmp_path, "second") == "first"
