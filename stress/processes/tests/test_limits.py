import re
import resource

import pytest

from stress.errors import CannotRunHere
from stress.processes import limits
from stress.processes.limits import make_room


@pytest.fixture
def granted(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many processes each limit lets start, for the test to fill; open files as a common shell has them."""
    room: dict[str, int] = {}
    monkeypatch.setattr(limits, "_process_limits", lambda: list(room.items()))
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1024, 4096))
    monkeypatch.setattr(resource, "setrlimit", lambda which, both: None)
    return room


def test_a_limit_with_room_for_all_is_no_obstacle_and_threads_need_no_open_files(granted: dict[str, int]) -> None:
    granted["pid_max"] = 5001

    make_room(3, threads=False)
    make_room(5000, threads=True)


@pytest.mark.parametrize(
    ("room", "workers", "threads", "said"),
    [
        (
            {"the control group's pids.max": 100}, 513, False,
            "513 actors need 513 processes, and the control group's pids.max leaves room for 100;",
        ),
        (
            {"kernel.threads-max": -5}, 3, True,
            "3 actors need 3 threads, and kernel.threads-max leaves room for 0;",
        ),
        ({}, 5000, False, "5000 workers need 10064 open files, and the limit is 4096; raise it"),
    ],
)  # fmt: skip
def test_a_limit_without_room_is_named_with_what_is_left(
    granted: dict[str, int], room: dict[str, int], workers: int, threads: bool, said: str
) -> None:
    granted |= room

    with pytest.raises(CannotRunHere, match=re.escape(said)):
        make_room(workers, threads=threads)


def test_the_soft_limit_of_open_files_is_raised_for_many_workers(
    granted: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    raised = []
    monkeypatch.setattr(resource, "setrlimit", lambda which, both: raised.append(both))

    make_room(513, threads=False)

    assert raised == [(2 * 513 + 64, 4096)]


def test_this_machine_has_room_for_two() -> None:
    make_room(2, threads=False)
