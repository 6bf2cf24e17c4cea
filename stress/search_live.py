"""What a user sees before a search and while it goes on, and the way to end it."""

import psutil

from kernels.search.breadth_first import Progress
from results.collect.live import SearchView, search_line, search_table
from scenarios.models import Ordering, Scenario
from stress.canvas import Canvas
from stress.compiling import compiling
from stress.interrupts import Interrupts
from stress.screen import Screen
from stress.search import Sample, Whole, compiled_as, make_ready


def get_ready(
    ordering: Ordering, scenario: Scenario, method: Whole | Sample, progress: Screen | None, *, verbose: bool
) -> None:
    """Compile what the search takes, or take it from the cache, and say so."""
    with compiling(progress, compiled_as(method), "the search, once: about 5 s", verbose=verbose):
        make_ready(ordering, scenario, method)


class SearchShow:
    """The view of one ordering's search, called at every look; answers whether to go on: not after an interrupt."""

    def __init__(
        self, canvas: Canvas, interrupts: Interrupts, ordering: str, *, safe: bool, place: str, sampled: bool
    ) -> None:
        self._canvas, self._interrupts = canvas, interrupts
        self._ordering, self._safe, self._place, self._sampled = ordering, safe, place, sampled
        self._states, self._seconds = 0, 0.0
        self._process = psutil.Process()

    def __call__(self, progress: Progress) -> bool:
        if self._canvas.is_due():
            view = self._view(progress)
            self._canvas.draw(search_table(view), search_line(view))
        return not self._interrupts

    def _view(self, progress: Progress) -> SearchView:
        seconds = progress.seconds - self._seconds
        rate = (progress.states - self._states) / seconds if seconds > 0 else 0.0
        self._states, self._seconds = progress.states, progress.seconds
        return SearchView(
            ordering=self._ordering,
            safe=self._safe,
            place=self._place,
            sampled=self._sampled,
            states=progress.states,
            states_per_s=max(rate, 0.0),
            frontier=progress.frontier,
            depth=progress.depth,
            seconds=progress.seconds,
            memory_bytes=self._process.memory_info().rss,
        )
