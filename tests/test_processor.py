"""Threads of a busy role keep to one processor, others off the door's; some go free, and some step back."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from mailer.bootstrap import office, processor

ALL = os.sched_getaffinity(0)

pytestmark = pytest.mark.skipif(len(ALL) < 2, reason="there is one processor to choose from")


def in_a_thread(body: Callable[[], object]) -> object:
    """What `body` returns; a thread's processors end with it."""
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(body()))
    thread.start()
    thread.join()
    return found[0]


def test_neighbours_get_different_processors_and_their_threads_inherit_them(tmp_path: Path) -> None:
    def look(number: int) -> tuple[frozenset[int], object]:
        processor.stay_on_one(number, tmp_path)
        mine = frozenset(os.sched_getaffinity(0))
        return mine, in_a_thread(lambda: frozenset(os.sched_getaffinity(0)))

    first, first_child = in_a_thread(lambda: look(0))  # type: ignore[misc]
    second, second_child = in_a_thread(lambda: look(1))  # type: ignore[misc]

    assert len(first) == len(second) == 1
    assert first != second
    assert (first_child, second_child) == (first, second)
    assert first | second <= ALL


def test_a_thread_that_works_outside_the_interpreter_may_go_anywhere(tmp_path: Path) -> None:
    def look() -> set[int]:
        processor.stay_on_one(0, tmp_path)
        processor.run_anywhere()
        return os.sched_getaffinity(0)

    assert in_a_thread(look) == ALL


def test_others_leave_the_door_its_processor_and_have_all_else(tmp_path: Path) -> None:
    def door() -> set[int]:
        processor.stay_on_one(0, tmp_path)
        return os.sched_getaffinity(0)

    def other() -> tuple[set[int], object]:
        processor.leave_the_door(tmp_path)
        return os.sched_getaffinity(0), in_a_thread(lambda: os.sched_getaffinity(0))

    mine = in_a_thread(door)
    others, child = in_a_thread(other)  # type: ignore[misc]

    assert others == child == ALL - mine  # type: ignore[operator]


def test_one_that_stays_on_its_own_has_nothing_to_leave(tmp_path: Path) -> None:
    def look() -> tuple[set[int], set[int]]:
        processor.stay_on_one(0, tmp_path)
        before = os.sched_getaffinity(0)
        processor.leave_the_door(tmp_path)
        return before, os.sched_getaffinity(0)

    before, after = in_a_thread(look)  # type: ignore[misc]

    assert before == after


def test_work_in_pieces_does_not_take_the_processor_from_who_has_it() -> None:
    def look() -> tuple[int, object]:
        processor.work_in_pieces()
        return os.sched_getscheduler(0), in_a_thread(lambda: os.sched_getscheduler(0))

    assert in_a_thread(look) == (os.SCHED_BATCH, os.SCHED_BATCH)


def test_a_role_that_may_use_one_processor_only_changes_nothing(tmp_path: Path) -> None:
    one = {min(ALL)}

    def look() -> set[int]:
        os.sched_setaffinity(0, one)
        processor.stay_on_one(5, tmp_path)
        return os.sched_getaffinity(0)

    assert in_a_thread(look) == one


@pytest.mark.parametrize(
    ("call", "use"),
    [
        ("setpriority", office.step_back),
        ("sched_setaffinity", processor.run_anywhere),
        ("sched_setaffinity", lambda: processor.leave_the_door(Path("/"))),
        ("sched_setscheduler", processor.work_in_pieces),
    ],
)
def test_where_a_sandbox_forbids_it_the_thread_goes_on(
    monkeypatch: pytest.MonkeyPatch, call: str, use: Callable[[], None]
) -> None:
    refused = []

    def refuse(*_: object) -> None:
        refused.append(call)
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, call, refuse)

    use()

    assert refused == [call]


def test_a_thread_that_steps_back_is_behind_others_and_not_the_last() -> None:
    def look() -> int:
        office.step_back()
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    assert in_a_thread(look) == 10
