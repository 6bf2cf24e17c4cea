"""What a user sees while an ordering races: a table that is drawn again every second, or a line every 15 s.

All on stderr. Nothing here starts a thread: the race draws when it looks. A terminal that is gone does not end it.
"""

import contextlib
import time
from types import TracebackType
from typing import Self

from rich.live import Live

from results.collector import Snapshot
from results.live import live_line, live_view
from results.tables import live_table
from stress.course import Watch
from stress.race import Tally
from stress.screen import Screen

TABLE_S, LINE_S = 1.0, 15.0


class Show:
    """The view of one ordering's race; `place` says which of how many it is. Shows nothing where there is no screen."""

    def __init__(self, screen: Screen | None, ordering: str, *, safe: bool, place: str, after_s: float) -> None:
        self._screen = screen
        self._ordering, self._safe, self._place = ordering, safe, place
        self._after_s = after_s
        self._live: Live | None = None
        self._every_s = TABLE_S if screen is not None and screen.is_terminal else LINE_S
        self._shown_at = time.monotonic()

    def __enter__(self) -> Self:
        if self._screen is not None and self._screen.is_terminal:
            self._live = Live(
                console=self._screen.console,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            with contextlib.suppress(OSError):
                self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            with contextlib.suppress(OSError):
                self._live.stop()

    def __call__(self, tally: Tally) -> Watch:
        """What a race calls at every look."""
        before = tally()

        def watch(phase: str, left_s: float | None) -> None:
            nonlocal before
            if self._screen is None or time.monotonic() < self._shown_at + self._every_s:
                return
            self._shown_at = time.monotonic()
            now = tally()
            self._draw(before, now, phase, left_s)
            before = now

        return watch

    def _draw(self, before: Snapshot, now: Snapshot, phase: str, left_s: float | None) -> None:
        if left_s is not None and phase == "warm-up":
            left_s += self._after_s
        view = live_view(self._ordering, before, now, safe=self._safe, place=f"{self._place}, {phase}", left_s=left_s)
        if self._live is not None:
            with contextlib.suppress(OSError):
                self._live.update(live_table(view), refresh=True)
        elif self._screen is not None:
            self._screen.line(live_line(view))
