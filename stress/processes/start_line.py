"""Where workers wait until all are there, asleep: 256 that spin need minutes on two cores to let the last one start.

Two pipes. Each worker writes a byte into `ready` and blocks on `start`, whose write end only the parent holds; when the
parent closes it, every worker wakes at once. A parent that dies closes it too: a worker that wakes asks for the word.
"""

import os


class StartLine:
    """The two pipes, shared by forking; not inherited by programs that are executed."""

    def __init__(self) -> None:
        self._start_read, self._start_write = os.pipe()
        self.ready, self._ready_write = os.pipe()
        self._open = {self._start_read, self._start_write, self.ready, self._ready_write}

    def step_up(self) -> None:
        """In a worker process, first of all: with a copy of the write end in some worker nobody would ever start."""
        self._close(self._start_write)
        self._close(self.ready)

    def wait(self) -> None:
        """In a worker: say that it is ready, and sleep until the parent lets go."""
        os.write(self._ready_write, b".")
        while os.read(self._start_read, 1):
            pass

    def arrived(self) -> int:
        """In the parent, when `ready` is readable: how many workers got ready since the last call."""
        return len(os.read(self.ready, 4096))

    def release(self) -> None:
        """In the parent: wake every worker."""
        self._close(self._start_write)

    def close(self) -> None:
        """In the parent: give back what is still open; workers that still wait wake up."""
        for end in tuple(self._open):
            self._close(end)

    def _close(self, end: int) -> None:
        if end in self._open:
            self._open.remove(end)
            os.close(end)
