"""What a user sees while a bench runs: which round, which race, and the time left. All on stderr, without a thread."""

import time
from types import TracebackType
from typing import Self

from rich.text import Text

from results.kinds.bench.record import AGAIN
from stress.bench_round import Turn
from stress.canvas import Canvas
from stress.course import Watch
from stress.race import Tally
from stress.screen import Screen


class BenchProgress:
    """One line over and over on a terminal; elsewhere a line every 15 s. Nothing where there is no screen."""

    def __init__(self, screen: Screen | None) -> None:
        self._canvas = Canvas(screen)
        self._where = ""
        self._ends_at = time.monotonic()

    def __enter__(self) -> Self:
        self._canvas.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._canvas.__exit__(kind, error, trace)

    def at(self, turn: Turn, *, rounds: int, races: int, left_s: float) -> None:
        """A race is about to start; `left_s` is how long the bench still takes, with it."""
        again = " again" if turn.arm == AGAIN else ""
        point = f" at {turn.point.name}" if turn.point.name else ""
        self._where = (
            f"round {turn.round} of {rounds}, race {turn.place + 1} of {races}: {turn.ordering.name}{again}{point}"
        )
        self._ends_at = time.monotonic() + left_s
        self._draw()

    def __call__(self, tally: Tally) -> Watch:
        """What the race calls at every look."""

        def watch(phase: str, left_s: float | None) -> None:
            self._draw()

        return watch

    def _draw(self) -> None:
        if self._canvas.is_due():
            line = f"{self._where}; {time_left(self._ends_at - time.monotonic())} left"
            self._canvas.draw(Text(line, no_wrap=True, overflow="ellipsis"), line)


def time_left(seconds: float) -> str:
    """`45 s`, `3 min 20 s`, `1 h 05 min`."""
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
