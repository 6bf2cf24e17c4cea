"""The command line: verbs, options and help. Nothing heavy is imported before a verb runs, so that `--help` is quick."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

EXIT_CODES = """\b
Exit codes:
  0    every expectation met (a known-wrong ordering that was caught counts as met)
  1    a forbidden or unknown outcome in an ordering declared safe
  2    usage error; a scenario or ordering file that does not hold
  3    harness error: a worker crashed, nothing progressed, an internal fault
  4    skipped: this machine cannot run it
  5    nothing matched, nothing ran
  6    inconclusive: too few samples, or a declared violation not seen in the time given
  130  interrupted; what was measured is still written
"""

app = typer.Typer(
    name="tdx-stress",
    help="Race the TLB shootdown of Intel TDX under KVM with real processes: which orders of its steps are right, which is "
    "fast, how a wrong one fails.",
    epilog=EXIT_CODES,
    invoke_without_command=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from stress.provenance import version

        print(f"tdx-stress {version()}")
        raise typer.Exit


@app.callback()
def _top(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help(), file=sys.stderr)
        raise typer.Exit(2)


def option(*names: str, help: str, metavar: str | None = None, **more: Any) -> Any:
    """An option without its default in the help: what is not given is the scenario's."""
    return typer.Option(*names, help=help, metavar=metavar, show_default=False, **more)


@app.command("run", epilog=EXIT_CODES)
def run_(
    scenario: Annotated[
        str, typer.Argument(metavar="SCENARIO", help="A shipped scenario or a TOML file.", show_default=True)
    ] = "review",
    ordering: Annotated[
        list[str] | None,
        option("--ordering", metavar="NAME|FILE|STEPS", help="Instead of the scenario's; repeatable. STEPS: block,track,kick,remove."),
    ] = None,
    vcpus: Annotated[int | None, option("--vcpus", metavar="N", help="How many vCPUs, 1 to 512.")] = None,
    zappers: Annotated[int | None, option("--zappers", metavar="N", help="How many threads shoot pages down, 1 to 62.")] = None,
    pages: Annotated[int | None, option("--pages", metavar="N", help="How many guest pages.")] = None,
    duration: Annotated[str | None, option("--duration", metavar="TIME", help="For each ordering, after its warm-up: 500ms, 5s, 2m, 1h.")] = None,
    shootdowns: Annotated[int | None, option("--shootdowns", metavar="N", help="For each zapper, instead of a duration.")] = None,
    warmup: Annotated[str | None, option("--warmup", metavar="TIME", help="Raced but not measured.")] = None,
    rate: Annotated[float | None, option("--rate", metavar="R", help="Open loop: shootdowns a second over all zappers; 0: closed loop.")] = None,
    seed: Annotated[int | None, option("--seed", metavar="N", help="Of every random choice of an actor.")] = None,
    workers: Annotated[str | None, option("--workers", metavar="process|thread", help="What an actor is.")] = None,
    cpus: Annotated[str | None, option("--cpus", metavar="LIST", help="CPUs to race on, such as 0-3,6; of those inherited.")] = None,
    set_: Annotated[list[str] | None, option("--set", metavar="KEY=VALUE", help="Any key of the scenario or of every ordering; repeatable.")] = None,
    out: Annotated[Path | None, option("--out", metavar="DIR", help="Where the files go; runs/<UTC time>-<scenario> if not given.")] = None,
    json: Annotated[str | None, option("--json", metavar="FILE|-", help="The result as JSON to a file, or alone on stdout.")] = None,
    junit: Annotated[Path | None, option("--junit", metavar="FILE", help="Verdicts as JUnit XML.")] = None,
    fail_fast: Annotated[bool, option("--fail-fast", help="Stop at the first ordering that fails.")] = False,
    quiet: Annotated[bool, option("-q", "--quiet", help="Only the lines to grep, and errors.")] = False,
    verbose: Annotated[bool, option("-v", "--verbose", help="Also the clock, the CPUs and the cache; tracebacks.")] = False,
    no_color: Annotated[bool, option("--no-color", help="No colours; NO_COLOR in the environment does the same.")] = False,
) -> int:  # fmt: skip
    """Race orderings with real processes.

    Verdicts, latency and pictures, for one ordering after the other. Without options: the review's question. What no
    option says stands in the scenario; `tdx-stress list` names them.
    """
    from stress.request import Request
    from stress.run import run

    return run(
        Request(
            scenario=scenario,
            orderings=tuple(ordering or ()),
            vcpus=vcpus,
            zappers=zappers,
            pages=pages,
            duration=duration,
            shootdowns=shootdowns,
            warmup=warmup,
            rate=rate,
            seed=seed,
            workers=workers,
            cpus=cpus,
            settings=tuple(set_ or ()),
            out=out,
            json=json,
            junit=junit,
            fail_fast=fail_fast,
            quiet=quiet,
            verbose=verbose,
            color=not no_color,
        ),
        ["tdx-stress", *sys.argv[1:]],
    )


@app.command("list")
def list_(
    json: Annotated[bool, option("--json", help="The same as JSON.")] = False,
    no_color: Annotated[
        bool, option("--no-color", help="No colours; NO_COLOR in the environment does the same.")
    ] = False,
) -> int:
    """List scenarios, orderings, outcomes and faults.

    Each with one line and its source.
    """
    from stress.listing import list_all

    return list_all(as_json=json, color=not no_color)
