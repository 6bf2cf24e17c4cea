"""What tests stand on: a small machine, the command as a user types it, one race at a time, and nothing left behind."""

import ctypes
import fcntl
import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil
import pytest

from kernels.layout import Layout
from kernels.tdx.words import plan
from stress.errors import STOPPING_SIGNALS
from stress.tests.command import Command, Script, Start
from stress.tests.warm import Warm

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

pytest.register_assert_rewrite("kernels.tests")  # helpers that assert

ROOT = Path(__file__).resolve().parent
GRACE_S, MOST_S = 2.0, 240.0
PR_SET_CHILD_SUBREAPER = 36
NOT_OURS = {"__pycache__", "build", "dist", "tdx_stress.egg-info"}
ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


class SmallMachine(NamedTuple):
    """Two vCPUs, one zapper, four pages, TLBs of four entries: zeroed words and their layout."""

    words: "NDArray[np.int64]"
    lay: Layout


@pytest.fixture
def small_machine() -> SmallMachine:
    """The words are as before `prepare`: all zero."""
    import numpy as np

    lay = plan(vcpus=2, zappers=1, pages=4, tlb_entries=4)
    return SmallMachine(np.zeros(lay.total_words, np.int64), lay)


@pytest.fixture(autouse=True)
def _handlers_as_before() -> Iterator[None]:
    """Signals that a test has ignored would stay so in whatever is started behind it."""
    before = [(number, signal.getsignal(number)) for number in STOPPING_SIGNALS]
    yield
    for number, handler in before:
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)


@pytest.fixture(scope="session")
def command_environment() -> dict[str, str]:
    """The environment in which the command finds this checkout, whether it is installed or not, and has no colours."""
    ours = ("COLUMNS", "FORCE_COLOR", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")  # the last: a second for each command
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    return {**kept, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}


@pytest.fixture(scope="session")
def warm(command_environment: dict[str, str]) -> Iterator[Warm]:
    """One for all tests of a worker."""
    its = Warm(command_environment)
    yield its
    its.close()


@pytest.fixture
def new(tmp_path: Path, command_environment: dict[str, str]) -> Command:
    """A program with these arguments, run to its end in a directory of its own; the environment may be `changed`."""

    def run(*command: str, **changed: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=tmp_path, env={**command_environment, **changed}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=MOST_S,
        )  # fmt: skip

    return run


@pytest.fixture
def python(new: Command) -> Command:
    """The same of a new interpreter, every warning an error."""
    return lambda *arguments, **changed: new(sys.executable, "-W", "error", *arguments, **changed)


@pytest.fixture
def tdx_stress(tmp_path: Path, python: Command, warm: Warm) -> Command:
    """`tdx-stress` with these arguments, run to its end in a directory of its own, every warning an error; in a new
    interpreter where the environment is `changed`.
    """

    def run(*arguments: str, **changed: str) -> subprocess.CompletedProcess[str]:
        return python("-m", "stress", *arguments, **changed) if changed else warm.run(tmp_path, arguments, MOST_S)

    return run


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The same in this process, for what forks nobody and asks for no end."""
    from stress.__main__ import _run

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    for name in ("COLUMNS", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["tdx-stress", *arguments])
        return subprocess.CompletedProcess(arguments, _run([*arguments]), *capsys.readouterr())

    return run


@pytest.fixture
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is run here draws none, which takes most of the time of a short search."""
    monkeypatch.setattr("results.draw.sheet.drawn", lambda *_: {})


@pytest.fixture
def script(tmp_path: Path, warm: Warm) -> Script:
    """What a script says, run to its end in a process of its own, as one that measures or forks has to be."""

    def run(code: str) -> str:
        done = warm.run(tmp_path, [], MOST_S, code)
        return done.stdout + done.stderr

    return run


@pytest.fixture
def behind(tmp_path: Path, warm: Warm) -> Command:
    """`tdx-stress` with these arguments, run to its end in a process that has run this code."""

    def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return warm.run(tmp_path, arguments, MOST_S, f"{code}\nfrom stress.__main__ import main\nmain()")

    return run


@pytest.fixture
def start_tdx_stress(tmp_path: Path, warm: Warm) -> Iterator[Start]:
    """`tdx-stress` started and left to run; whatever still runs at the end of the test is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        started.append(warm.start(tmp_path, arguments))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def pytest_configure() -> None:
    """Before numpy is imported and starts threads, say that it shall not: a test may fork.

    A process whose parent dies becomes our child instead of init's, so that the guard below sees it. A shell has its
    background jobs ignore SIGINT, and nohup SIGHUP; commands under test are not to inherit that.

    Nothing is collected until all tests are: what is imported stays, and looking through it takes a tenth of the time.
    """
    gc.disable()
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    for number, default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, default)
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    """Under `--dist loadgroup` all races go to one worker: they would starve one another.

    They come first, so that the others are spread over the rest meanwhile. Marked before xdist looks for the mark.
    """
    if config.pluginmanager.hasplugin("xdist"):
        items.sort(key=lambda item: item.get_closest_marker("processes") is None)
        for item in items:
            if item.get_closest_marker("processes"):
                item.add_marker(pytest.mark.xdist_group("races"))
    return (yield)


def pytest_collection_finish() -> None:
    """Tests and libraries are left out of what is looked through from here on."""
    gc.freeze()
    gc.enable()


def pytest_sessionfinish() -> None:
    """pytest looks five times for what an error was lost in: the whole heap once, then what is left."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _one_race_at_a_time(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """However tests are spread over workers, a race waits for the one before it."""
    if request.node.get_closest_marker("processes") is None or "PYTEST_XDIST_WORKER" not in os.environ:
        yield
        return
    with (tmp_path_factory.getbasetemp().parent / "races.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(autouse=True)
def _nothing_left_behind() -> Iterator[None]:
    """Fails a test that leaves a process, an entry in /dev/shm or a file in the checkout.

    Processes are those of this worker alone. Entries and files may be another worker's: what is gone after a moment is
    no trace, and no test may leave one for longer.
    """
    processes, shared, files = _children(), _shared_memory(), CHECKOUT.files()
    yield
    until = time.monotonic() + GRACE_S
    while left := _left_behind(processes, shared, files):
        if time.monotonic() > until:
            for pid in _children() - processes:
                os.kill(pid, signal.SIGKILL)
            pytest.fail(f"left behind by this test, or by one beside it: {', '.join(left)}", pytrace=False)
        time.sleep(0.05)


def _left_behind(processes: set[int], shared: set[str], files: set[Path]) -> list[str]:
    return [
        *(f"process {pid}" for pid in sorted(_children() - processes)),
        *(f"/dev/shm/{name}" for name in sorted(_shared_memory() - shared)),
        *(str(path.relative_to(ROOT)) for path in sorted(CHECKOUT.files() - files)),
    ]


def _children() -> set[int]:
    """Our children that run; those that have ended are reaped."""
    running = set()
    for pid in _forked():
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                os.waitpid(pid, os.WNOHANG)
            else:
                running.add(pid)
        except (psutil.NoSuchProcess, ChildProcessError):
            continue
    return running


def _forked() -> list[int]:
    """Children of every thread. Where Linux does not list them, psutil looks through all processes, in milliseconds."""
    try:
        return [int(pid) for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()]
    except FileNotFoundError:
        return [child.pid for child in psutil.Process().children()]


def _shared_memory() -> set[str]:
    try:
        return {
            entry.name for entry in os.scandir("/dev/shm") if entry.stat(follow_symlinks=False).st_uid == os.getuid()
        }
    except OSError:
        return set()


class Checkout:
    """The checkout's files, without what tools hide in it. It is looked through again where a folder has changed."""

    def __init__(self) -> None:
        self._files: set[Path] = set()
        self._changed: dict[Path, int] = {}

    def files(self) -> set[Path]:
        """Those that are there now."""
        if not self._changed or any(_changed_ns(folder) != then for folder, then in self._changed.items()):
            self._files, self._changed = set(), {}
            for name, folders, names in os.walk(ROOT):
                folder = Path(name)
                folders[:] = [
                    name
                    for name in folders
                    if name not in NOT_OURS and not name.startswith(".") and not name.endswith(".egg-info")
                ]
                self._changed[folder] = _changed_ns(folder)
                self._files |= {folder / name for name in names if not name.startswith(".")}
        return self._files


def _changed_ns(folder: Path) -> int:
    try:
        return os.stat(folder).st_mtime_ns
    except OSError:
        return 0


CHECKOUT = Checkout()
