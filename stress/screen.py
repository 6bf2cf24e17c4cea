"""Writing to the user: data on stdout, progress and diagnostics on stderr, and what to do when nobody reads.

A reader that has gone (`| head`) is no error. Progress that cannot be shown is let go, data that cannot is an error.
"""

import contextlib
import io
import os
import sys
from typing import Any, TextIO

from rich.console import Console

from stress.errors import HarnessFault

WIDTH_WITHOUT_TERMINAL = 120


class Screen:
    """One of the two streams, with rich's rendering; `console` is for a live view."""

    def __init__(self, stream: TextIO, *, color: bool) -> None:
        self._stream = stream
        self.console = Console(file=stream, no_color=None if color else True, highlight=False)
        if not self.is_terminal and "COLUMNS" not in os.environ:
            self.console.width = WIDTH_WITHOUT_TERMINAL

    @property
    def is_terminal(self) -> bool:
        """Whether somebody looks on."""
        return self.console.is_terminal

    def show(self, *renderables: Any, wrap: bool = True) -> None:
        """Tables and texts, each followed by a line end. Raises HarnessFault where stdout cannot be written."""
        rendered = io.StringIO()
        # Rendered apart: a console that writes by itself has its own idea of what to do when that fails.
        console = Console(
            file=rendered,
            width=self.console.width,
            force_terminal=self.console.is_terminal,
            color_system=self.console.color_system,  # type: ignore[arg-type]
            no_color=self.console.no_color,
            highlight=False,
        )
        for renderable in renderables:
            console.print(renderable, soft_wrap=not wrap)
        write(self._stream, rendered.getvalue())

    def line(self, text: str) -> None:
        """One line as it is: no markup, no wrapping."""
        write(self._stream, text + "\n")


def write(stream: TextIO, text: str) -> None:
    """Write and flush. A reader that is gone silences the stream; any other trouble on stdout raises HarnessFault."""
    try:
        stream.write(text)
        stream.flush()
    except OSError as error:
        silence(stream)
        if stream is sys.stdout and not isinstance(error, BrokenPipeError):
            raise HarnessFault(f"stdout: cannot write: {error.strerror}") from None


def silence(stream: TextIO) -> None:
    """Let what is still in the stream's buffer, and whatever follows, go nowhere."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
