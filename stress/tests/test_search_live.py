import io

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
        "no_kick (unsafe): 30,000 states in 30.0 s, 1,000 states/s, 77 still to expand, depth 12"
    )


def test_an_interrupt_ends_the_search() -> None:
    interrupts = Interrupts()

    with search_display(None, interrupts, "v18", safe=True, place="small") as show:
        before = show(at(1.0))
        interrupts.received = 1
        after = show(at(2.0))

    assert (before, after) == (True, False)
