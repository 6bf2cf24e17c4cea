"""What a user sees while an ordering races: its throughput, its latency and the outcomes that matter."""

from types import TracebackType
from typing import Self

from results.collect.live import live_line, live_table, live_view
from results.collect.tally import Snapshot
from stress.canvas import Canvas
from stress.course import Watch
from stress.race import Tally
from stress.screen import Screen


class Show:
    """The view of one ordering's race; `place` says which of how many it is. Shows nothing where there is no screen."""

    def __init__(self, screen: Screen | None, ordering: str, *, safe: bool, place: str, after_s: float) -> None:
        self._canvas = Canvas(screen)
        self._ordering, self._safe, self._place = ordering, safe, place
        self._after_s = after_s

    def __enter__(self) -> Self:
        self._canvas.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._canvas.__exit__(kind, error, trace)

    def __call__(self, tally: Tally) -> Watch:
        """What a race calls at every look."""
        before = tally()

        def watch(phase: str, left_s: float | None) -> None:
            nonlocal before
            if not self._canvas.is_due():
                return
            now = tally()
            self._draw(before, now, phase, left_s)
            before = now

        return watch

    def _draw(self, before: Snapshot, now: Snapshot, phase: str, left_s: float | None) -> None:
        if left_s is not None and phase == "warm-up":
            left_s += self._after_s
        view = live_view(self._ordering, before, now, safe=self._safe, place=f"{self._place}, {phase}", left_s=left_s)
        self._canvas.draw(live_table(view), live_line(view))
