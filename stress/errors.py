"""What goes wrong around a race, each with the exit code that it ends in, and the signals that ask for its end. `str()`
is one line for the user. All of it is heeded before anything large is imported, so nothing else is here.
"""

import signal

STOPPING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
NOTHING_MEASURED = "interrupted, nothing was measured"


class UsageFault(Exception):
    """What was asked for does not hold: exit 2."""

    exit_code = 2


class HarnessFault(Exception):
    """The harness could not do its work, through no fault of the ordering: exit 3."""

    exit_code = 3


class CannotRunHere(Exception):
    """This machine cannot run what was asked for: exit 4."""

    exit_code = 4


class Interrupted(Exception):
    """The user wanted the end, and there is nothing to show: exit 130. No KeyboardInterrupt, which typer would take."""

    exit_code = 130
