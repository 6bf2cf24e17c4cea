"""Where progress is drawn: one view over and over on a terminal, every second; elsewhere a line every 15 s.

All on stderr. Nothing here starts a thread: who works draws when it looks. A terminal that is gone does not end it.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import psutil
from rich.console import RenderableType
from rich.live import Live

from kernels.tdx.outcomes import Outcome
from results.collect.live import SearchView, live_line, live_table, live_view, search_line, search_table
from results.verdict import FAILING
from stress.interrupts import Interrupts
from stress.processes.race import Tally
from stress.processes.supervisor import Watch
from stress.screen import Printable, Screen

if TYPE_CHECKING:
    from kernels.search.breadth_first import Progress

TABLE_S, LINE_S = 1.0, 15.0


class Display:
    """Draws nothing where there is no screen."""

    def __init__(self, screen: Screen | None, live: Live | None) -> None:
        self._screen, self._live = screen, live
        self._every_s = LINE_S if live is None else TABLE_S
        self._drawn_at = time.monotonic()

    def is_due(self) -> bool:
        """Whether somebody looks on and it is time to draw again; if so, the next time is counted from now."""
        if self._screen is None or time.monotonic() < self._drawn_at + self._every_s:
            return False
        self._drawn_at = time.monotonic()
        return True

    def draw(self, table: RenderableType, line: str) -> None:
        """The table in the place of the one before, or the line."""
        if self._live is not None:
            with contextlib.suppress(OSError):
                self._live.update(Printable(table), refresh=True)
        elif self._screen is not None:
            self._screen.line(line)

    def tell(self, text: str) -> None:
        """This line, where one is due."""
        if self.is_due():
            self.draw(text, text)


@contextlib.contextmanager
def display(screen: Screen | None) -> Iterator[Display]:
    """A display while something goes on."""
    live = None
    if screen is not None and screen.is_terminal:
        live = Live(
            console=screen.console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
        )
        with contextlib.suppress(OSError):
            live.start()
    try:
        yield Display(screen, live)
    finally:
        if live is not None:
            with contextlib.suppress(OSError):
                live.stop()


@contextlib.contextmanager
def race_display(
    screen: Screen | None, ordering: str, *, safe: bool, place: str, after_s: float
) -> Iterator[Callable[[Tally], Watch]]:
    """What a user sees while an ordering races: its throughput, its latency and the outcomes that matter. `place` says
    which of how many it is, `after_s` how long it races after the warm-up; what comes of it the race takes as `show`.
    """
    with display(screen) as drawn:

        def show(tally: Tally) -> Watch:
            before = tally()

            def watch(phase: str, left_s: float | None) -> None:
                nonlocal before
                if not drawn.is_due():
                    return
                now = tally()
                if left_s is not None and phase == "warm-up":
                    left_s += after_s
                view = live_view(ordering, before, now, safe=safe, place=f"{place}, {phase}", left_s=left_s)
                drawn.draw(live_table(view), live_line(view))
                before = now

            return watch

        yield show


@contextlib.contextmanager
def search_display(
    screen: Screen | None,
    interrupts: Interrupts,
    ordering: str,
    *,
    safe: bool,
    place: str,
    sampled: bool = False,
    advice: str = "",
) -> Iterator[Callable[["Progress"], bool]]:
    """The view of one ordering's search, called at every look; answers whether to go on: not after an interrupt.
    `advice` is for who has seen enough once something forbidden was found.
    """
    states, at_s, process = 0, 0.0, psutil.Process()
    with display(screen) as drawn:

        def watch(progress: "Progress") -> bool:
            nonlocal states, at_s
            if drawn.is_due():
                seconds = progress.seconds - at_s
                rate = (progress.states - states) / seconds if seconds > 0 else 0.0
                states, at_s = progress.states, progress.seconds
                failing = [o.name for o in Outcome if o.grade in FAILING and int(o) in progress.found]
                view = SearchView(
                    ordering=ordering,
                    safe=safe,
                    place=place,
                    sampled=sampled,
                    states=states,
                    states_per_s=max(rate, 0.0),
                    frontier=progress.frontier,
                    depth=progress.depth,
                    seconds=at_s,
                    memory_bytes=process.memory_info().rss,
                    found=f"found {', '.join(failing)}{advice}" if failing else "",
                )
                drawn.draw(search_table(view), search_line(view))
            return not interrupts

        yield watch
