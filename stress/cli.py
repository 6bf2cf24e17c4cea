"""The command line: verbs and help. Nothing heavy is imported before a verb runs, so that `--help` is quick; nor before
what is misspelt has been told.
"""

import importlib
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from stress import options
from stress.commands import verb

EXIT_CODES = """\b
Exit codes:
  0    every expectation met (a known-wrong ordering that was caught counts)
  1    a forbidden or unknown outcome in an ordering declared safe; exploring,
       a declared violation that cannot happen
  2    usage error; a scenario or ordering file that does not hold
  3    harness error: a worker crashed, nothing progressed, an internal fault
  4    skipped: this machine cannot run it
  5    nothing matched, nothing ran
  6    inconclusive: too few samples, too noisy, a search not complete, or a
       declared violation not seen in its time
  7    the performance gate failed
  130  interrupted; what was measured is still written
"""

DOCTOR_CODES = """\b
Exit codes:
  0    good for verdicts; the last line says what latency is worth
  2    usage error
  3    harness error: a probe crashed
  4    this machine cannot run it, or not with so many vCPUs
  6    weak for verdicts: a single CPU, or others have the CPUs
  130  interrupted; what was found is still shown
"""

REPLAY_CODES = """\b
Exit codes:
  0    the same steps, and at the end the state in which it was recorded; or
       so far, with --until
  1    a step cannot be taken or goes another way, or the state or the outcome
       at the end is another
  2    usage error; a file that is no witness, or one from another ordering,
       layout or version
  3    harness error: a file that cannot be written, an internal fault
  130  interrupted
"""

app = typer.Typer(
    name="tdx-stress",
    help="Race the TLB shootdown of Intel TDX under KVM with real processes: which orders of its steps are right, "
    "which is fast, how a wrong one fails. Begin with `tdx-stress run review`, the review's question.",
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


@verb(app, "run", options.RunRequest, EXIT_CODES)
def _run(request: options.RunRequest) -> int:
    from scenarios.reals import is_real

    if request.resume is None and is_real(request.scenario):
        from stress.real.resolve import resolve_real

        real = resolve_real(request)
        from stress.run.verb import run

        return run(request, real)
    from stress.resolve import resolve

    resolved = resolve(request) if request.resume is None else None
    if request.amplify is None:
        if request.outcome is not None or request.budget is not None:
            from stress.errors import UsageFault

            raise UsageFault("--for, --budget: expected --amplify auto beside them, found none")
        from stress.run.verb import run

        return run(request, resolved)
    from stress.run.targets import resolve_amplification

    targets = resolve_amplification(request, *resolved) if resolved else None
    from stress.run.amplify import run_amplify

    return run_amplify(request, resolved and resolved[0], targets)


@verb(app, "bench", options.BenchRequest, EXIT_CODES)
def _bench(request: options.BenchRequest) -> int:
    from stress.bench.design import design

    experiment = design(request) if request.resume is None else None
    from stress.bench.verb import bench

    return bench(request, experiment)


@verb(app, "explore", options.ExploreRequest, EXIT_CODES)
def _explore(request: options.ExploreRequest) -> int:
    if request.orders + request.matrix + request.contract > 1:
        from stress.errors import UsageFault

        raise UsageFault("--orders, --matrix, --contract: one at a time: each has machines of its own")
    if request.orders:
        from stress.explore.resolve import resolve_atlas

        subject = None if request.resume else resolve_atlas(request)
        from stress.explore.atlas import run_atlas

        return run_atlas(request, subject)
    if request.matrix:
        from stress.explore.resolve import resolve_matrix

        crossed = None if request.resume else resolve_matrix(request)
        from stress.explore.matrix import run_matrix

        return run_matrix(request, crossed)
    if request.contract:
        from stress.explore.resolve import resolve_contract

        asked = resolve_contract(request)
        from stress.explore.contract import run_contract

        return run_contract(request, *asked)
    if (request.sweep or request.share or request.cluster or request.resume) and not request.dump:
        from stress.explore.sweep import run_sweep

        return run_sweep(request)
    from stress.explore.resolve import resolve_exploration

    resolved = resolve_exploration(request)
    if request.dump:
        from stress.explore.verb import dump

        return dump(request, resolved[0])
    from stress.explore.verb import run_explore

    return run_explore(request, *resolved)


ORDERS = """Take every order of an ordering's steps.

The atlas: the steps of --ordering, or v18's, in every order: which are safe, and what the others show; then the safe
ones race. Two or three minutes on 2 CPUs, two of them for the races.
"""
FAULTS = """Take every ordering with every fault.

The matrix: each, or each --ordering, with each fault, or each --fault, one at a time: which mistake breaks it, and
which goes unnoticed. Some ten minutes on 2 CPUs.
"""
AMPLIFY = """Find what shows an outcome most often.

It races with delays, yields, other sizes, storms and starts together, drawn at random, and prints the best with its
command: --budget for each ordering, a minute unless given.
"""
LEFT = "out json junit fail_fast quiet verbose no_color"
SEARCHED = f"orderings faults settings memory threads share cluster resume {LEFT}"
RACED = f"rate seed workers placement cpus settings delays faults share cluster resume ktap {LEFT}"
verb(
    app, "orders", options.ExploreRequest, EXIT_CODES, only=f"seed {SEARCHED}", orders=True, help=ORDERS
)(_explore)  # fmt: skip
verb(
    app, "faults", options.ExploreRequest, EXIT_CODES, only=SEARCHED, matrix=True, help=FAULTS
)(_explore)  # fmt: skip
verb(
    app, "amplify", options.RunRequest, EXIT_CODES, amplify="auto",
    only=f"scenario orderings outcome budget vcpus zappers pages {RACED}", help=AMPLIFY,
)(_run)  # fmt: skip


def _carried_out_in(where: str) -> Callable[[Any], int]:
    """By this function, `module:name`, imported when it is wanted."""
    module, _, name = where.partition(":")
    return lambda request: int(getattr(importlib.import_module(module), name)(request))


for name, asked, where, codes in (
    ("compare", options.CompareRequest, "stress.compare:compare", EXIT_CODES),
    ("report", options.ReportRequest, "stress.report:report", ""),
    ("merge", options.MergeRequest, "stress.merge:merge", EXIT_CODES),
    ("history", options.HistoryRequest, "stress.history:history", ""),
    ("selftest", options.SelftestRequest, "stress.selftest.verb:selftest", EXIT_CODES),
    ("list", options.ListRequest, "stress.list:list_all", ""),
    ("replay", options.ReplayRequest, "stress.replay:replay", REPLAY_CODES),
):
    verb(app, name, asked, codes)(_carried_out_in(where))


@verb(app, "doctor", options.DoctorRequest, DOCTOR_CODES)
def _doctor(request: options.DoctorRequest) -> int:
    from stress.processes.placement import chosen_cpus, chosen_vcpus

    chosen, asked = chosen_cpus(request.cpus), chosen_vcpus(request.vcpus)
    from stress.host.doctor import doctor

    return doctor(request, chosen, asked)
