"""Work in a process of its own: done once, done here where it came to nothing, and its errors told."""

import os
import signal
from pathlib import Path

import pytest

from stress.processes.meanwhile import meanwhile

pytestmark = pytest.mark.processes


def test_work_is_done_in_another_process_while_the_body_runs(tmp_path: Path) -> None:
    begun, body = tmp_path / "begun", tmp_path / "body"

    def work() -> None:
        begun.write_text(str(os.getpid()))
        while not body.exists():  # so that nobody has done the body's part first
            pass

    with meanwhile(work):
        while not begun.exists():
            pass
        body.touch()

    assert int(begun.read_text()) != os.getpid()


@pytest.mark.parametrize("how", ["raises", "is killed", "cannot be forked"])
def test_what_came_to_nothing_is_done_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    here, done = os.getpid(), tmp_path / "done"

    def work() -> None:
        if os.getpid() != here:
            if how == "is killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise ValueError
        done.touch()

    def refused() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    if how == "cannot be forked":
        monkeypatch.setattr(os, "fork", refused)
    with meanwhile(work):
        assert not done.exists()

    assert done.exists()


def test_what_is_wrong_with_it_is_told_here() -> None:
    def work() -> None:
        raise ValueError("no room")

    with pytest.raises(ValueError, match="no room"), meanwhile(work):
        pass


def test_an_error_of_the_body_waits_for_the_process_all_the_same(tmp_path: Path) -> None:
    body, done = tmp_path / "body", tmp_path / "done"

    def work() -> None:
        while not body.exists():
            pass
        done.touch()

    def fail() -> None:
        body.touch()
        raise KeyError

    with pytest.raises(KeyError), meanwhile(work):
        fail()

    assert done.exists()
