"""Where progress is drawn: one view over and over on a terminal, every second; elsewhere a line every 15 s.

All on stderr. Nothing here starts a thread: who works draws when it looks. A terminal that is gone does not end it.
"""

import contextlib
import time
from types import TracebackType
from typing import Self

from rich.console import RenderableType
from rich.live import Live

from stress.screen import Printable, Screen

TABLE_S, LINE_S = 1.0, 15.0


class Canvas:
    """Entered while something goes on. Draws nothing where there is no screen."""

    def __init__(self, screen: Screen | None) -> None:
        self._screen = screen
        self._live: Live | None = None
        self._every_s = TABLE_S if screen is not None and screen.is_terminal else LINE_S
        self._drawn_at = time.monotonic()

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
