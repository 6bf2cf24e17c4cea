"""Ctrl-C and SIGTERM as a question that a race asks, instead of an exception in the middle of anything."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any, Self

from stress.errors import STOPPING_SIGNALS


class Interrupts:
    """While it is entered, SIGINT, SIGTERM and SIGHUP are counted and nothing else happens; ignored ones stay ignored.

    Once one was received the program is about to end: from then on they are ignored for good, so that an impatient user
    does not break its last steps. Only for the main thread: Python lets no other set handlers; where it is not entered
    `go_on` answers for whoever may want the end.
    """

    def __init__(self, go_on: Callable[[], bool] = lambda: True) -> None:
        self.received = 0
        self._go_on = go_on
        self._at_once = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in STOPPING_SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._count)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_IGN if self.received else handler)
        self._before.clear()

    def __bool__(self) -> bool:
        return self.received > 0 or not self._go_on()

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """What is done in here the first signal ends: for what asks nobody, as a compiler does. Ask afterwards."""
        self._at_once = True
        try:
            yield
        except KeyboardInterrupt:
            pass
        finally:
            self._at_once = False

    def _count(self, number: int, frame: FrameType | None) -> None:
        self.received += 1
        if self._at_once:
            self._at_once = False
            raise KeyboardInterrupt
