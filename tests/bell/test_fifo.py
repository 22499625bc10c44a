"""The mechanism under the embedded bell: named pipes in a folder."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailer.bell import fifo
from mailer.bell.fifo import Ear


@pytest.fixture
def ear(folder: Path) -> Iterator[Ear]:
    with closing(Ear(folder, "work")) as ear:
        yield ear


def test_a_ring_reaches_every_ear(folder: Path) -> None:
    with closing(Ear(folder, "work")) as left, closing(Ear(folder, "work")) as right:
        ears = fifo.ring(folder, "work", b"look")

        assert (ears, left.hear(), right.hear()) == (2, b"look", b"look")


def test_an_ear_with_a_bell_unread_is_not_rung_again(folder: Path, ear: Ear) -> None:
    fifo.ring(folder, "work", b"first")
    ears = fifo.ring(folder, "work", b"second")

    assert (ears, ear.hear(), ear.hear()) == (1, b"first", None)


def test_a_stopped_worker_neither_blocks_ringers_nor_gathers_bells(folder: Path, ear: Ear) -> None:
    rings = [fifo.ring(folder, "work", b"x" * 4000) for _ in range(200)]

    assert rings == [1] * 200
    assert ear.hear() == b"x" * 4000
    assert ear.hear() is None


def test_bells_that_arrived_together_are_one(ear: Ear) -> None:
    os.write(ear.fileno(), b"first\nsecond\n")  # two ringers at once, each before it saw the other's

    assert (ear.hear(), ear.hear()) == (b"second", None)


def test_a_waking_is_no_bell(folder: Path, ear: Ear) -> None:
    ear.wake()

    assert select.select([ear], [], [], 0)[0] == [ear]
    assert ear.hear() is None
    assert select.select([ear], [], [], 0)[0] == []


def test_an_ear_waits_without_spinning_after_the_last_ringer_left(folder: Path, ear: Ear) -> None:
    fifo.ring(folder, "work", b"look")
    ear.hear()

    assert select.select([ear], [], [], 0)[0] == []


def test_a_ring_with_nobody_listening_goes_nowhere(folder: Path) -> None:
    before = fifo.ring(folder, "work", b"look")
    with closing(Ear(folder, "work")) as late:
        heard = late.hear()

    assert (before, heard, fifo.ring(folder, "work", b"look")) == (0, None, 0)


def test_the_pipe_of_a_killed_worker_is_removed_by_the_next_ring(folder: Path, ear: Ear) -> None:
    script = "import os, sys; from pathlib import Path; from mailer.bell.fifo import Ear\n"
    script += "Ear(Path(sys.argv[1]), 'work'); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", script, str(folder)], cwd=Path(__file__).parents[2], check=False)
    left_behind = len(list(folder.iterdir()))

    assert left_behind == 2
    assert fifo.ring(folder, "work", b"look") == 1
    assert len(list(folder.iterdir())) == 1


def test_an_ear_that_leaves_takes_its_pipe_along(folder: Path) -> None:
    Ear(folder, "work").close()

    assert list(folder.iterdir()) == []


def test_an_ear_whose_file_was_removed_stands_again(folder: Path, ear: Ear) -> None:
    next(folder.iterdir()).unlink()
    folder.rmdir()
    deaf = fifo.ring(folder, "work", b"look")
    ear.renew()

    assert deaf == 0
    assert fifo.ring(folder, "work", b"look") == 1
    assert ear.hear() == b"look"


def test_an_ear_that_stands_is_left_as_it_is(folder: Path, ear: Ear) -> None:
    fifo.ring(folder, "work", b"look")
    ear.renew()

    assert ear.hear() == b"look"


def test_a_folder_deeper_than_a_socket_address_will_do(tmp_path: Path) -> None:
    """sun_path of a unix socket ends at 108 bytes (unix(7)); a pipe's path does not."""
    deep = tmp_path.joinpath(*["a-folder-with-a-long-name"] * 12)
    with closing(Ear(deep, "work")) as ear:
        fifo.ring(deep, "work", b"look")

        assert ear.hear() == b"look"


@pytest.mark.parametrize("record", [b"two\nlines", b"x" * select.PIPE_BUF])
def test_what_could_not_be_written_whole_is_refused(folder: Path, ear: Ear, record: bytes) -> None:
    with pytest.raises(ValueError, match="one line"):
        fifo.ring(folder, "work", record)

    assert ear.hear() is None


def test_all_are_rung_only_when_each_ear_holds_a_bell(folder: Path, ear: Ear) -> None:
    fifo.ring(folder, "work", b"look")
    alone = fifo.all_rung(folder, "work")
    with closing(Ear(folder, "work")):
        joined = fifo.all_rung(folder, "work")

    assert (alone, joined) == (True, False)


def test_nobody_is_rung_where_nobody_listens(folder: Path) -> None:
    assert not fifo.all_rung(folder, "work")


def test_a_purge_silences_every_ear(folder: Path, ear: Ear) -> None:
    with closing(Ear(folder, "work")) as other:
        fifo.ring(folder, "work", b"look")

        assert fifo.purge(folder, "work") == 2
        assert (ear.hear(), other.hear()) == (None, None)


def test_an_ear_is_for_its_owner_only(folder: Path, ear: Ear) -> None:
    [pipe] = folder.iterdir()

    assert (folder.stat().st_mode & 0o777, pipe.stat().st_mode & 0o777) == (0o700, 0o600)


def test_a_folder_that_cannot_be_one_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "bell").write_text("a file")

    with pytest.raises(NotADirectoryError):
        fifo.ring(tmp_path / "bell", "work", b"look")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.sets(st.text(min_size=1, max_size=12), min_size=2, max_size=4))
def test_no_queue_hears_another_whatever_their_names(folder: Path, names: set[str]) -> None:
    rung, *others = sorted(names, key=len)
    with ExitStack() as stack:
        heard, *unheard = [stack.enter_context(closing(Ear(folder, name))) for name in (rung, *others)]
        fifo.ring(folder, rung, b"look")

        assert heard.hear() == b"look"
        assert [ear.hear() for ear in unheard] == [None] * len(others)


def test_ringers_at_once_never_mix_their_records(folder: Path, ear: Ear) -> None:
    records = [str(digit).encode() * 3000 for digit in range(4)]
    threads = [threading.Thread(target=_ring_often, args=(folder, record)) for record in records]
    for thread in threads:
        thread.start()
    heard = {ear.hear() for _ in range(2000)}
    for thread in threads:
        thread.join()

    assert heard | {ear.hear()} <= {*records, None}


def _ring_often(folder: Path, record: bytes) -> None:
    for _ in range(300):
        fifo.ring(folder, "work", record)
