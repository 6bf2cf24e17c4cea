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
    where the machines differ; results of different scenarios are refused with what differs. Of single runs
    nothing is ranked. With --fail-if it is a gate for continuous integration.
    """
    from stress.compare import CompareRequest, compare

    return compare(CompareRequest(first, second, tuple(fail_if or ()), json, quiet, not no_color))


def report(
    directories: options.Directories = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    no_color: options.NoColor = False,
) -> int:
    """Make tables, pictures and report.html again.

    From the directories that other verbs left, and from nothing else: a copy from another machine is enough. What was
    made before is replaced; raw results are only read.
    """
    from pathlib import Path

    from stress.report_verb import report_again

    return report_again(directories or [Path("runs/latest")], quiet=quiet, color=not no_color)


def history(
    directories: options.Directories = None,
    scenario: options.WantedScenario = None,
    ordering: options.WantedOrdering = None,
    host: options.WantedHost = None,
    version: options.WantedVersion = None,
    verdict: options.WantedVerdict = None,
    since: options.Since = None,
    last: options.Last = 0,
    plot: options.Plot = None,
    out: options.Picture = None,
    export: options.Export = None,
    sql: options.Sql = None,
    json: options.Json = None,
    no_color: options.NoColor = False,
) -> int:
    """List the runs in a directory, with verdicts and key figures.

    Filters them, plots a figure over time, or answers a query; DIR is runs unless given, or the directory of one run.
    Needs DuckDB: pip install duckdb.
    """
    from pathlib import Path

    from stress.history import Wanted, history

    filters = {
        "scenario": scenario,
        "ordering": ordering,
        "host": host,
        "version": version,
        "verdict": verdict,
        "since": since,
    }
    given = {name: value for name, value in filters.items() if value is not None}
    folders = tuple(directories or [Path("runs")])
    return history(Wanted(folders, given, last, plot, out, export, sql, json, not no_color))


def replay(
    file: options.WitnessFile,
    pair: options.Pair = None,
    until: options.Until = None,
    show: options.ShowWhat = None,
    ordering: options.FromOrdering = None,
    out: options.Pictures = None,
    json: options.Json = None,
    quiet: options.Quiet = False,
    verbose: options.EveryStep = False,
    no_color: options.NoColor = False,
) -> int:
    """Run a recorded schedule again, step by step.

    It must end in the state in which it was recorded: 0 where it does, 1 where it does not. A file from another
    ordering, layout or version is refused.
    """
    from stress.replay import ReplayRequest, replay

    return replay(
        ReplayRequest(
            file=file,
            pair=pair,
            until=until,
            show=show,
            ordering=ordering,
            json=json,
            out=out,
            quiet=quiet,
            verbose=verbose,
            color=not no_color,
        )
    )
