"""The verbs that read what others have left, as the command line takes them; heavy imports wait as in `stress.cli`."""

from stress import options


def compare(
    first: options.First,
    second: options.Second,
    fail_if: options.FailIf = None,
    json: options.Json = None,
    quiet: options.Quiet = False,
    no_color: options.NoColor = False,
) -> int:
    """Hold one result against another, B over A.

    Two directories of `bench`, or of `run`: ratios with intervals for every ordering that both have, and a warning
    where machine or parameters differ. With --fail-if it is a gate for continuous integration.
    """
    from stress.compare import CompareRequest, compare

    return compare(CompareRequest(first, second, tuple(fail_if or ()), json, quiet, not no_color))
