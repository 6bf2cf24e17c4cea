"""What is drawn while something goes on: a race, a search."""

import fcntl
import io
import os
import pty
import re
import struct
import termios
from dataclasses import replace
from pathlib import Path

import pytest

from conftest import SmallMachine
from kernels.search.breadth_first import Progress
from kernels.tdx.counters import READS, SHOOTDOWNS
from results.collect.tally import Snapshot, snapshot
from stress import progress
from stress.interrupts import Interrupts
from stress.progress import race_display, search_display
from stress.screen import Screen
from stress.tests.lengthened import lengthened
from stress.tests.warm import Warm


class Moments:
    """A clock that stands still until it is told to go on."""

    now_s = 1000.0

    def monotonic(self) -> float:
        """As of `time`."""
        return self.now_s


@pytest.fixture
def moments(monkeypatch: pytest.MonkeyPatch) -> Moments:
    """The clock by which progress is drawn."""
    clock = Moments()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_without_a_terminal_there_is_a_line_every_15_s(small_machine: SmallMachine, moments: Moments) -> None:
    words, lay = small_machine
    said = io.StringIO()

    def tally() -> Snapshot:
        words[lay.zapper_tally + SHOOTDOWNS] += 100
        words[lay.vcpu_tally + READS] += 1000
        return snapshot(words, lay)

    with race_display(
        Screen(said, color=False), "v18", safe=True, place="review, ordering 1 of 3", after_s=60.0
    ) as show:
        watch = show(tally)
        for second in range(32):
            moments.now_s = 1000.0 + second
            watch("measuring", 60.0 - second)

    lines = said.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("v18: ")
    assert lines[0].endswith("45 s left")


def test_the_time_left_in_the_warm_up_holds_the_time_after_it(small_machine: SmallMachine, moments: Moments) -> None:
    words, lay = small_machine
    said = io.StringIO()

    with race_display(Screen(said, color=False), "no_kick", safe=False, place="wrong", after_s=100.0) as show:
        watch = show(lambda: snapshot(words, lay))
        moments.now_s += 20.0
        watch("warm-up", 10.0)

    assert said.getvalue().startswith("no_kick (unsafe): ")
    assert said.getvalue().endswith("110 s left\n")


def test_without_a_screen_nothing_is_looked_at(small_machine: SmallMachine, moments: Moments) -> None:
    words, lay = small_machine
    looks = []

    def tally() -> Snapshot:
        looks.append(moments.now_s)
        return snapshot(words, lay)

    with race_display(None, "v18", safe=True, place="", after_s=1.0) as show:
        watch = show(tally)
        moments.now_s += 100.0
        watch("measuring", 1.0)

    assert len(looks) <= 1


ON_A_TERMINAL = """
import os
os.environ["TERM"] = "xterm-256color"
from stress.__main__ import main
main()
"""


def test_on_a_terminal_alone_a_line_says_that_pictures_are_drawn_and_is_gone_at_the_end() -> None:
    shown = []
    for terminal in (True, False):
        stream = io.StringIO()
        screen = Screen(stream, color=False)
        screen.console._force_terminal = terminal
        with screen.during("drawing"):
            shown.append(stream.getvalue())
        shown.append(stream.getvalue())

    assert shown == ["drawing", "drawing\r\x1b[2K", "", ""]


@pytest.mark.processes
@pytest.mark.parametrize("verb", ["run", "explore"])
def test_who_waits_for_pictures_is_told(tmp_path: Path, warm: Warm, verb: str) -> None:
    short = ["--duration", "100ms", "--warmup", "0s"] if verb == "run" else ["--vcpus", "1"]
    code, shown = on_a_terminal(tmp_path, warm, [verb, "--ordering", "no_kick", *short])

    assert code in (0, 6)
    assert "drawing the pictures\r\x1b[2K" in shown


@pytest.mark.processes
def test_on_a_terminal_a_table_is_drawn_and_gone_at_the_end(tmp_path: Path, warm: Warm) -> None:
    def raced(duration: str) -> tuple[int, str]:
        typed = ["run", "--ordering", "no_kick", "--duration", duration, "--warmup", "0s", "--no-report"]
        return on_a_terminal(tmp_path, warm, typed)

    code, shown = lengthened(raced, lambda seen: seen[0] == 0 and "SHOOTDOWNS/s" in seen[1])

    assert code == 0
    assert "SHOOTDOWNS/s" in shown
    assert "review, ordering 1 of 1, measuring" in shown
    assert "\x1b[2K" in shown.partition("measuring")[2]
    assert re.search(r"\x1b\[2Kno_kick: passed: caught: tracking_not_done [\d,]+ times$", shown.rstrip())


def at(seconds: float) -> Progress:
    """A search that finds 1,000 states a second."""
    states = int(1000 * seconds)
    return Progress(states=states, transitions=3 * states, depth=12, frontier=77, seconds=seconds)


def test_without_a_terminal_a_search_has_a_line_every_15_s(moments: Moments) -> None:
    said = io.StringIO()

    with search_display(Screen(said, color=False), Interrupts(), "no_kick", safe=False, place="small") as show:
        for second in range(32):
            moments.now_s = 1000.0 + second
            assert show(at(float(second)))

    lines = said.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[1].startswith(
        "no_kick (unsafe): 30,000 states in 30.0 s, 1.00 k states/s, 77 still to expand, depth 12"
    )


def test_what_fails_is_told_as_soon_as_it_is_found_with_what_would_stop_there(moments: Moments) -> None:
    said = io.StringIO()

    with search_display(
        Screen(said, color=False), Interrupts(), "no_kick", safe=False, place="small", advice="; stop there?"
    ) as show:
        for second, found in ((16, (0, 2)), (32, (0, 2, 8))):
            moments.now_s = 1000.0 + second
            show(replace(at(float(second)), found=found))

    before, after = said.getvalue().splitlines()
    assert "found" not in before
    assert after.endswith("; found tracking_not_done; stop there?")


def test_an_interrupt_ends_the_search() -> None:
    interrupts = Interrupts()

    with search_display(None, interrupts, "v18", safe=True, place="small") as show:
        before = show(at(1.0))
        interrupts.received = 1
        after = show(at(2.0))

    assert (before, after) == (True, False)


def on_a_terminal(directory: Path, warm: Warm, arguments: list[str]) -> tuple[int, str]:
    """The exit code of a command, and what it writes to a terminal on stderr."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    pid = warm.forked(
        directory=str(directory),
        code=ON_A_TERMINAL,
        arguments=arguments,
        stdout=os.devnull,
        stderr=os.ttyname(theirs),
    )
    os.close(theirs)
    shown = _everything_on(ours)
    os.close(ours)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown


def _everything_on(terminal: int) -> str:
    """What is written to the terminal until its other end is closed."""
    content = b""
    while True:
        try:
            content += os.read(terminal, 65536)
        except OSError:  # the other end is closed
            return content.decode()
