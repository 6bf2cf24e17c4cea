"""The verb `report`: tables, pictures and the page again, from directories that verbs left, and from these alone."""

import sys
from pathlib import Path

from results.kinds.kind import kind_in
from results.store import StoreError
from stress.errors import UsageFault
from stress.options import ReportRequest
from stress.screen import Screen
from stress.session import show_result

KEPT_WITHOUT = "Pictures and the page are not made again without what was not kept here"


class Unreadable(Exception):
    """A directory that holds no result; `str()` is the line for the user."""


def report(request: ReportRequest) -> int:
    """Every directory in turn; the exit code is 0.

    Those that can be read are shown and made again even where others cannot; then UsageFault is raised with what is
    wrong with these. A directory that cannot be written is shown, then StoreError is raised.
    """
    screen = Screen(sys.stdout, color=not request.no_color)
    refused: list[str] = []
    for directory in request.directories or [Path("runs/latest")]:
        try:
            _one(screen, directory, request)
        except Unreadable as error:
            refused.append(str(error))
    if refused:
        raise UsageFault("; ".join(refused))
    return 0


def _one(screen: Screen, directory: Path, request: ReportRequest) -> None:
    try:
        kind = kind_in(directory)
        document = kind.read(directory)
    except StoreError as error:
        raise Unreadable(str(error)) from None
    show_result(screen, kind, document, directory, request)
    missing = kind.draw(directory, document)
    if missing and not request.quiet:
        screen.line(f"{KEPT_WITHOUT}: {missing}")
