"""Threads and processes: one thread inside, what was set before outside; calls that leave files."""

import os
from pathlib import Path

import pytest
import torch

from facenb import threads
from facenb.threads import WORTHWHILE, one_thread, side_by_side


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


def _leave(path: Path) -> None:
    """What a process knows of itself."""
    path.write_text(f"{os.getpid()} {torch.get_num_threads()}")


def test_calls_run_in_other_processes_of_one_thread_and_leave_their_files(tmp_path, monkeypatch):
    monkeypatch.setattr(threads, "cpu_count", lambda: 2)
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
    monkeypatch.setattr(threads, "cpu_count", lambda: 1)
    side_by_side(_leave, two, "test", WORTHWHILE)
    assert not list(tmp_path.iterdir())
