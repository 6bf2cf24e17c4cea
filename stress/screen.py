"""Writing to the user: data on stdout, progress and diagnostics on stderr, and what to do when nobody reads.

A reader that has gone (`| head`) is no error. Progress that cannot be shown is let go, data that cannot is an error.
"""

import contextlib
import io
import os
import re
import sys
import textwrap
from collections.abc import Iterator
from typing import Any, TextIO

from rich.console import Console, ConsoleOptions
from rich.measure import Measurement
from rich.segment import Segment

from scenarios.wording import printable
from stress.errors import HarnessFault

DRAWING = "drawing the pictures"
WIDTH_WITHOUT_TERMINAL, WIDEST = 80, 100
BLANKS = re.compile(r" +((?:\x1b\[[\d;]*m)*)$", re.M)


class Screen:
    """One of the two streams, with rich's rendering; `console` is for a live view."""

    def __init__(self, stream: TextIO, *, color: bool) -> None:
        self._stream = stream
        self.console = Console(file=stream, no_color=None if color else True, highlight=False)
        if not self.is_terminal and "COLUMNS" not in os.environ:
            self.console.width = WIDTH_WITHOUT_TERMINAL
        self.console.width = min(self.console.width, WIDEST)

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
            console.print(Printable(renderable), soft_wrap=not wrap)
        _put(self._stream, BLANKS.sub(r"\1", rendered.getvalue()))

    def say(self, text: str) -> None:
        """Sentences, wrapped between words alone: a path stays whole."""
        width = self.console.width
        for line in text.split("\n"):
            self.line(textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False))

    @contextlib.contextmanager
    def during(self, text: str) -> Iterator[None]:
        """On a terminal a line while something goes on that takes its time; it is gone at the end."""
        told = text if self.is_terminal else ""
        if told:
            write(self._stream, told[: self.console.width - 1])
        try:
            yield
        finally:
            if told:
                _put(self._stream, "\r\x1b[2K")

    def line(self, text: str) -> None:
        """One line as it is: no markup, no wrapping."""
        write(self._stream, text + "\n")


class Printable:
    """What is to be shown, without what would be more than text to a terminal: names and titles come from files."""

    def __init__(self, renderable: Any) -> None:
        self._renderable = renderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        """As rich asks for it: its own styles and moves of the cursor stay."""
        renderable = self._renderable
        shown = console.render_str(renderable) if isinstance(renderable, str) else renderable
        for segment in console.render(shown, options):
            yield segment if segment.control else Segment(lines_of_text(segment.text), segment.style)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """As wide as it is."""
        return Measurement.get(console, options, self._renderable)


def lines_of_text(text: str) -> str:
    """The text with everything escaped that does not print, but for line ends."""
    return text if text.isprintable() else "\n".join(map(printable, text.split("\n")))


def write(stream: TextIO, text: str) -> None:
    """Write lines of text and flush, nothing but what prints; errors as those of `_put`."""
    _put(stream, lines_of_text(text))


def _put(stream: TextIO, text: str) -> None:
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
