"""What a user sees while a search goes on, and the way to end it."""

import psutil

from kernels.breadth import Progress
from results.exploration_live import SearchView, search_line, search_table
from stress.canvas import Canvas
from stress.interrupts import Interrupts


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
