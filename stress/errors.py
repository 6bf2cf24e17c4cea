"""What goes wrong around a race, each with the exit code that it ends in. `str()` is one line for the user."""


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
