"""Threads and processes: one thread inside, what was set before outside; calls that leave files."""

import os
import threading
from pathlib import Path

import pytest
import torch

from facenb import parallel
from facenb.parallel import WORTHWHILE, on_all_cores, one_thread, side_by_side


def test_one_thread_inside_and_what_was_set_outside():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
        with pytest.raises(KeyError), one_thread():
            raise KeyError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.fixture
def three_cores():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_parts_are_computed_at_the_same_time_each_on_one_core(three_cores):
    all_here = threading.Barrier(3, timeout=30)  # passed only when three parts are in work at once

    def square(part: int) -> tuple[int, int]:
        all_here.wait()
        return part * part, torch.get_num_threads()

    assert list(on_all_cores(square, range(6))) == [(i * i, 1) for i in range(6)]
    here, later = torch.get_num_threads(), []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert [here, *later] == [3, 3]  # neither this thread nor one that starts later lost its cores


def test_on_one_core_and_for_one_part_no_thread_is_started(three_cores):
    def name(part: int) -> str:
        return threading.current_thread().name

    assert list(on_all_cores(name, [0])) == [threading.current_thread().name]
    with one_thread():
        assert set(on_all_cores(name, [0, 1])) == {threading.current_thread().name}


def test_an_error_in_a_part_arrives_and_the_parts_that_wait_are_dropped(three_cores):
    done = []

    def fail_first(part: int) -> None:
        if part == 0:
            raise KeyError(part)
        done.append(part)
        threading.Event().wait(0.02)

    with pytest.raises(KeyError):
        list(on_all_cores(fail_first, range(1000)))
    assert len(done) < 999


def _leave(path: Path) -> None:
    """What a process knows of itself."""
    path.write_text(f"{os.getpid()} {torch.get_num_threads()}")


def test_calls_run_in_other_processes_of_one_thread_and_leave_their_files(tmp_path, monkeypatch):
    monkeypatch.setattr(parallel, "cpu_count", lambda: 2)
    paths = [tmp_path / str(i) for i in range(3)]
    side_by_side(_leave, [{"path": path} for path in paths], "test", WORTHWHILE)
    for path in paths:
        process, count = path.read_text().split()
        assert int(process) != os.getpid() and count == "1"
    with pytest.raises(FileNotFoundError):
        side_by_side(
            _leave, [{"path": tmp_path / "no" / str(i)} for i in range(2)], "test", WORTHWHILE
        )


def test_what_gains_nothing_is_left_to_the_caller(tmp_path, monkeypatch):
    side_by_side(_leave, [{"path": tmp_path / "alone"}], "test", WORTHWHILE)
    two = [{"path": tmp_path / str(i)} for i in range(2)]
    side_by_side(_leave, two, "test", WORTHWHILE - 1)
    monkeypatch.setattr(parallel, "cpu_count", lambda: 1)
    side_by_side(_leave, two, "test", WORTHWHILE)
    assert not list(tmp_path.iterdir())
