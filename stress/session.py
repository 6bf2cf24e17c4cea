"""What every verb with a result does around its work: it sees that its files can be written, opens a directory, counts
signals, goes on where a file cannot be written, hands out what was asked for, and has the same last lines.
"""

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from results.exchange.cases import Case, failed_lines, junit_document, ktap_document, summary
from results.kinds.kind import BY_NAME, Kind
from results.machine.host import host_facts
from results.store import RunDirectory, StoreError, json_bytes, open_run_directory, write_file
from results.verdict import Exit
from stress.errors import NOTHING_MEASURED, Interrupted, UsageFault
from stress.interrupts import Interrupts
from stress.options import BenchRequest, ExploreRequest, MergeRequest, RunRequest, SelftestRequest
from stress.provenance import command, commit, machine_id, utc, version
from stress.screen import DRAWING, Screen, write

STDOUT = "-"
Opened = TypeVar("Opened")
AnyRequest = RunRequest | BenchRequest | ExploreRequest | MergeRequest | SelftestRequest


@dataclass(slots=True)
class Session:
    """A verb at work. `kind`: of what its result is; `screen`: where people read it; `progress`: where how far it
    is, None with -q; `refused`: what could not be written.
    """

    request: AnyRequest
    path: Path
    kind: Kind
    screen: Screen = field(init=False)
    progress: Screen | None = field(init=False)
    interrupts: Interrupts = field(default_factory=Interrupts)
    refused: list[StoreError] = field(default_factory=list)
    begun: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.screen = reading_screen(self.request)
        self.progress = None if self.request.quiet else Screen(sys.stderr, color=not self.request.no_color)

    def note(self, line: str) -> None:
        """A line of progress."""
        if self.progress is not None:
            self.progress.line(line)

    def drawing(self) -> contextlib.AbstractContextManager[None]:
        """While pictures are drawn, which takes seconds on a busy machine."""
        return contextlib.nullcontext() if self.progress is None else self.progress.during(DRAWING)

    def reason(self, line: str) -> None:
        """Why the exit code is not 0: with -q too."""
        (self.progress or Screen(sys.stderr, color=not self.request.no_color)).line(line)

    @contextlib.contextmanager
    def noted(self) -> Iterator[None]:
        """What was found is shown, and written elsewhere, even where one file cannot be written."""
        try:
            yield
        except StoreError as error:
            self.refused.append(error)

    def nothing(self) -> int:
        """The exit code where there is nothing to show, not even pieces. Raises Interrupted."""
        if self.interrupts:
            raise Interrupted(NOTHING_MEASURED)
        return Exit.NOTHING_RAN.value

    def leave(
        self,
        document: Any,
        cases: Sequence[Case] | None = None,
        *,
        shown: Iterable[Any] | None = None,
        told: Iterable[Any] = (),
    ) -> None:
        """The result as JSON, and its test cases, in the files that were named; then the same on the screen as
        `show_result` has it.
        """
        request, kind, ktap = self.request, self.kind, getattr(self.request, "ktap", None)
        cases = kind.cases(document) if cases is None else cases
        texts = (request.json, kind.text(document)), (ktap, ktap_document(kind.suite(document), cases))
        for typed, text in texts:
            with self.noted():
                write_named(typed, text)
        with self.noted():
            if request.junit is not None:
                write_file(request.junit, junit_document(kind.suite(document), cases).encode())
        for text in (text for typed, text in texts if typed == STDOUT):
            write(sys.stdout, text)
        if not request.quiet or STDOUT not in (request.json, ktap):
            # What is merged has taken its time elsewhere.
            took_s = None if isinstance(request, MergeRequest) else time.monotonic() - self.begun
            show_result(
                self.screen, kind, document, self.path, request, cases=cases, shown=shown, told=told, took_s=took_s
            )

    def end(self, code: int) -> int:
        """The exit code: this one, if there was no interrupt. Raises the first StoreError."""
        if self.refused:
            raise self.refused[0]
        if not self.interrupts:
            return code
        if self.request.quiet:
            self.reason("interrupted; what was found until then is kept")
        return Exit.INTERRUPTED.value


def show_result(
    screen: Screen,
    kind: Kind,
    document: Any,
    path: Path,
    request: Any,
    *,
    cases: Sequence[Case] | None = None,
    shown: Iterable[Any] | None = None,
    told: Iterable[Any] = (),
    took_s: float | None = None,
) -> None:
    """For people: what is `shown` of it, what is `told` beside that, with -v all tables; the lines to grep, which stand
    alone with -q; the answer, what failed and why, on stderr with -q, and one line of all, with what it took.
    """
    cases = kind.cases(document) if cases is None else cases
    if not request.quiet:
        screen.show(*(kind.shown(document) if shown is None else shown), *told)
        for table in kind.tables(document) if request.verbose else ():
            screen.show(table, "")
    lines = list(kind.lines(document)) if request.quiet or not kind.alone else []
    for line in lines:
        screen.line(line)
    failed = "\n".join(failed_lines(cases))
    if request.quiet:
        if failed:
            Screen(sys.stderr, color=not request.no_color).say(failed)
        return
    last = f"{summary(cases, took_s)} ({kind.model}): {path}/"
    blocks = [block for block in (kind.said(document), failed, last) if block]
    screen.say("\n" * bool(lines) + "\n\n".join(blocks))


@contextlib.contextmanager
def session(request: AnyRequest, name: str, kind: str) -> Iterator[tuple[Session, RunDirectory]]:
    """A verb at work, and the directory of its result, with this name if it is not given; one that was made for it and
    stays empty is gone at the end. Raises UsageFault.
    """
    check_files(request.json, request.junit, getattr(request, "ktap", None))
    directory = opened(lambda: open_run_directory(request.out, name))
    try:
        yield Session(request, directory.path, BY_NAME[kind]), directory
    finally:
        if request.out is None:
            with contextlib.suppress(OSError):
                directory.path.rmdir()


def opened(what: Callable[[], Opened]) -> Opened:
    """What is to be read or written before any work. Raises UsageFault where it cannot."""
    try:
        return what()
    except StoreError as error:
        raise UsageFault(str(error)) from None


def reading_screen(request: Any) -> Screen:
    """Where people read: stdout, unless data is alone on it."""
    alone = STDOUT in (request.json, getattr(request, "ktap", None))
    return Screen(sys.stderr if alone else sys.stdout, color=not request.no_color)


def origin(host: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Command, version, commit, the time in UTC, and the host's facts, if they are not given: the head of a result. A
    machine has a random id, no name.
    """
    return {
        "command": command(),
        "version": version(),
        "commit": commit(),
        "started": utc(),
        "host": {"id": machine_id(), **(host or host_facts())},
    }


def json_text(document: Mapping[str, Any]) -> str:
    """As it goes into a file."""
    return json_bytes(document).decode()


def named_file(typed: str | None) -> Path | None:
    """The file that an option FILE|- names; None where it was not typed, or is stdout."""
    return None if typed in (None, STDOUT) else Path(str(typed))


def write_named(typed: str | None, text: str) -> None:
    """The text in the file that an option FILE|- names, if it names one. Raises StoreError."""
    if (path := named_file(typed)) is not None:
        write_file(path, text.encode())


def hand_out(typed: str | None, text: str) -> None:
    """The same, or alone on stdout where it says so. Raises StoreError and HarnessFault."""
    write_named(typed, text)
    if typed == STDOUT:
        write(sys.stdout, text)


def check_files(json: str | None, junit: Path | None, ktap: str | None = None) -> None:
    """Before anything runs: that `--json`, `--junit` and `--ktap` can be written. Raises UsageFault."""
    if json == ktap == STDOUT:
        raise UsageFault("--ktap: expected a file beside `--json -`, found -: only one of them can have stdout")
    for option, path in (("--json", named_file(json)), ("--junit", junit), ("--ktap", named_file(ktap))):
        if path is not None:
            check_writable(option, path)


def check_writable(option: str, path: Path) -> None:
    """That this option's file can be written, before any work. Raises UsageFault."""
    try:
        if path.is_dir():
            raise UsageFault(f"{option}: expected a file, found the directory {path}")
        if path.exists() and not path.is_file():
            return  # a pipe or a device: asking would already write
        with tempfile.TemporaryFile(dir=path.parent):
            pass
        if path.exists() and not os.access(path, os.W_OK):
            raise UsageFault(f"{option}: {path}: cannot write: permission denied")
    except (OSError, ValueError) as error:
        raise UsageFault(f"{option}: {path}: cannot write: {getattr(error, 'strerror', None) or error}") from None
