import io
from dataclasses import replace

from kernels.search.breadth_first import Progress
from stress.interrupts import Interrupts
from stress.progress import search_display
from stress.screen import Screen
from stress.tests.moments import Moments


def at(seconds: float) -> Progress:
    """A search that finds 1,000 states a second."""
    states = int(1000 * seconds)
    return Progress(states=states, transitions=3 * states, depth=12, frontier=77, seconds=seconds)


def test_without_a_terminal_there_is_a_line_every_15_s(moments: Moments) -> None:
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
