"""The verb `report`: tables, pictures and the page again, from directories that verbs left, and from these alone."""

import sys
from pathlib import Path
from typing import Any

from results.kinds.kind import Kind, kind_in
from results.store import StoreError
from results.table import markdown
from stress.errors import UsageFault
from stress.options import ReportRequest
from stress.screen import DRAWING, Screen
from stress.session import STDOUT, hand_out, show_result

KEPT_WITHOUT = "Not everything is made again without what was not kept here"


def report(request: ReportRequest) -> int:
    """Every directory in turn; the exit code is 0.

    Those that can be read are shown and made again even where others cannot; then UsageFault is raised with what is
    wrong with these. A directory that cannot be written is shown, then StoreError is raised.
    """
    refused: list[str] = []
    for directory in request.directories or [Path("runs/latest")]:
        try:
            kind = kind_in(directory)
            document = kind.read(directory)
        except StoreError as error:
            refused.append(str(error))
            continue
        _show(directory, kind, document, request)
    if refused:
        raise UsageFault("; ".join(refused))
    return 0


def _show(directory: Path, kind: Kind, document: Any, request: ReportRequest) -> None:
    screen = Screen(sys.stdout, color=not request.no_color)
    if request.markdown is not None:
        hand_out(request.markdown, "\n".join(map(markdown, kind.tables(document))))
    if request.markdown != STDOUT:
        show_result(screen, kind, document, directory, request)
    with Screen(sys.stderr, color=False).during("" if request.quiet else DRAWING):
        missing = kind.draw(directory, document)
    if missing and not request.quiet:
        screen.line(f"{KEPT_WITHOUT}: {missing}")
