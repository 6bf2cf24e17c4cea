"""The command line: verbs and help. Nothing heavy is imported before a verb runs, so that `--help` is quick."""

import sys
from typing import Annotated

import typer

from stress import cli_results, options

EXIT_CODES = """\b
Exit codes:
  0    every expectation met (a known-wrong ordering that was caught counts as met)
  1    a forbidden or unknown outcome in an ordering declared safe; exploring, a violation that cannot happen
  2    usage error; a scenario or ordering file that does not hold
  3    harness error: a worker crashed, nothing progressed, an internal fault
  4    skipped: this machine cannot run it
  5    nothing matched, nothing ran
  6    inconclusive: too few samples, too noisy, a search not complete, or a declared violation not seen in its time
  7    the performance gate failed
  130  interrupted; what was measured is still written
"""

DOCTOR_CODES = """\b
Exit codes:
  0    good for verdicts; the last line says what latency is worth
  2    usage error
  3    harness error: a probe crashed
  4    this machine cannot run it, or not with so many vCPUs
  6    weak for verdicts: a single CPU
  130  interrupted; what was found is still shown
"""

REPLAY_CODES = """\b
Exit codes:
  0    the same steps, and at the end the state in which it was recorded; or so far, with --until
  1    a step cannot be taken or goes another way, or the state or the outcome at the end is another
  2    usage error; a file that is no witness, or one from another ordering, layout or version
  3    harness error: a file that cannot be written, an internal fault
  130  interrupted
"""

app = typer.Typer(
    name="tdx-stress",
    help="Race the TLB shootdown of Intel TDX under KVM with real processes: which orders of its steps are right, "
    "which is fast, how a wrong one fails.",
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


@app.command("run", epilog=EXIT_CODES)
def _run(
    scenario: options.Name = "review",
    ordering: options.Orderings = None,
    vcpus: options.Vcpus = None,
    zappers: options.Zappers = None,
    pages: options.Pages = None,
    duration: options.Duration = None,
    shootdowns: options.Shootdowns = None,
    warmup: options.Warmup = None,
    rate: options.Rate = None,
    seed: options.Seed = None,
    workers: options.Workers = None,
    placement: options.Placement = None,
    cpus: options.Cpus = None,
    settings: options.Settings = None,
    delay: options.Delays = None,
    fault: options.Faults = None,
    amplify: options.Amplify = None,
    for_: options.For = None,
    budget: options.AmplifyBudget = None,
    out: options.Out = None,
    json: options.Json = None,
    junit: options.Junit = None,
    ktap: options.Ktap = None,
    trace: options.Trace = False,
    no_report: options.NoReport = False,
    fail_fast: options.FailFast = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    no_color: options.NoColor = False,
) -> int:
    """Race orderings with real processes.

    Verdicts, latency and pictures, for one ordering after the other. Without options: the review's question. What no
    option says stands in the scenario; `tdx-stress list` names them.
    """
    from stress.request import Request, resolve

    request = Request(
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
        placement=placement,
        cpus=cpus,
        settings=tuple(settings or ()),
        delays=tuple(delay or ()),
        faults=tuple(fault or ()),
        out=out,
        json=json,
        junit=junit,
        ktap=ktap,
        trace=trace,
        report=not no_report,
        fail_fast=fail_fast,
        quiet=quiet,
        verbose=verbose,
        color=not no_color,
    )
    resolved = resolve(request)  # a misspelt name is told before anything heavy is imported
    if amplify is not None:
        from stress.amplify_request import AmplifyOptions, resolve_amplification

        targets, budget_s = resolve_amplification(request, *resolved, AmplifyOptions(amplify, for_, budget))
        from stress.amplify import run_amplify

        return run_amplify(request, resolved[0], targets, budget_s, ["tdx-stress", *sys.argv[1:]])
    if for_ is not None or budget is not None:
        from stress.errors import UsageFault

        raise UsageFault("--for, --budget: expected --amplify auto beside them, found none")
    from stress.run import run

    return run(request, *resolved, ["tdx-stress", *sys.argv[1:]])


@app.command("bench", epilog=EXIT_CODES)
def _bench(
    scenario: options.BenchName = "",
    orderings: options.OrderingList = None,
    ordering: options.Orderings = None,
    include_unsafe: options.IncludeUnsafe = False,
    rounds: options.Rounds = None,
    budget: options.Budget = None,
    sweep: options.Sweep = None,
    resume: options.Resume = None,
    vcpus: options.Vcpus = None,
    zappers: options.Zappers = None,
    pages: options.Pages = None,
    duration: options.RaceDuration = None,
    warmup: options.Warmup = None,
    rate: options.Rate = None,
    seed: options.Seed = None,
    workers: options.Workers = None,
    placement: options.Placement = None,
    cpus: options.Cpus = None,
    settings: options.Settings = None,
    fail_if: options.FailIf = None,
    out: options.Out = None,
    json: options.Json = None,
    junit: options.Junit = None,
    ktap: options.Ktap = None,
    csv: options.Csv = None,
    parquet: options.Parquet = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    no_color: options.NoColor = False,
) -> int:
    """Compare orderings: ratios to the first one, with intervals.

    Every round races each ordering once in fresh processes, in shuffled order, and the first one twice: where it
    differs from itself, no difference is to be believed (exit 6). Ctrl-C keeps the finished rounds; --resume goes on.
    """
    from stress.bench_request import BenchRequest, lay_out
    from stress.request import Request

    listed = [name.strip() for name in orderings.split(",")] if orderings else []
    run = Request(
        scenario=scenario,
        orderings=(*listed, *(ordering or ())),
        vcpus=vcpus,
        zappers=zappers,
        pages=pages,
        duration=duration,
        warmup=warmup,
        rate=rate,
        seed=seed,
        workers=workers,
        placement=placement,
        cpus=cpus,
        settings=tuple(settings or ()),
        out=out,
        json=json,
        junit=junit,
        ktap=ktap,
        quiet=quiet,
        verbose=verbose,
        color=not no_color,
    )
    request = BenchRequest(
        run=run,
        include_unsafe=include_unsafe,
        rounds=rounds,
        budget=budget,
        sweep=sweep,
        resume=resume,
        csv=csv,
        parquet=parquet,
        fail_if=tuple(fail_if or ()),
    )
    layout = lay_out(request) if resume is None else None  # a misspelt name is told before anything heavy is imported
    from stress.bench import bench

    return bench(request, layout, ["tdx-stress", *sys.argv[1:]])


@app.command("explore", epilog=EXIT_CODES)
def _explore(
    scenario: options.Name = "small",
    ordering: options.Orderings = None,
    orders: options.Orders = False,
    matrix: options.Crossed = False,
    fault: options.Faults = None,
    vcpus: options.Vcpus = None,
    zappers: options.Zappers = None,
    pages: options.Pages = None,
    tlb_entries: options.TlbEntries = None,
    shootdowns: options.Each = None,
    settings: options.Settings = None,
    no_symmetry: options.NoSymmetry = False,
    no_reduction: options.NoReduction = False,
    no_liveness: options.NoLiveness = False,
    memory: options.Memory = None,
    threads: options.Threads = None,
    random: options.Random = None,
    pct: options.Pct = None,
    seed: options.SearchSeed = None,
    out: options.Out = None,
    json: options.Json = None,
    junit: options.Junit = None,
    fail_fast: options.FirstOnly = False,
    quiet: options.Quiet = False,
    verbose: options.EveryStepToo = False,
    no_color: options.NoColor = False,
) -> int:
    """Look at every interleaving of a small machine.

    Which outcomes can happen, whatever the timing, in how few steps, and by which schedule. Without options: the
    review's orders, 2 vCPUs and 1 zapper. On larger machines schedules can be drawn at random, which proves nothing.
    """
    from stress.exploring import ExploreRequest, resolve_exploration

    request = ExploreRequest(
        scenario=scenario,
        orderings=tuple(ordering or ()),
        faults=tuple(fault or ()),
        vcpus=vcpus,
        zappers=zappers,
        pages=pages,
        tlb_entries=tlb_entries,
        shootdowns=shootdowns,
        settings=tuple(settings or ()),
        symmetry=not no_symmetry,
        reduction=not no_reduction,
        liveness=not no_liveness,
        memory=memory,
        threads=threads,
        random=random,
        pct=pct,
        seed=seed,
        out=out,
        json=json,
        junit=junit,
        fail_fast=fail_fast,
        quiet=quiet,
        verbose=verbose,
        color=not no_color,
    )
    if orders and matrix:
        from stress.errors import UsageFault

        raise UsageFault("--orders, --matrix: one at a time: each has machines of its own")
    if orders:
        from stress.atlas_request import resolve_atlas

        subject = resolve_atlas(request)
        from stress.atlas import run_atlas

        return run_atlas(request, *subject, ["tdx-stress", *sys.argv[1:]])
    if matrix:
        from stress.matrix_request import resolve_matrix

        crossed = resolve_matrix(request)
        from stress.matrix import run_matrix

        return run_matrix(request, crossed, ["tdx-stress", *sys.argv[1:]])
    resolved = resolve_exploration(request)
    from stress.explore import run_explore

    return run_explore(request, *resolved, ["tdx-stress", *sys.argv[1:]])


app.command("compare", epilog=EXIT_CODES)(cli_results.compare)
app.command("report")(cli_results.report)
app.command("history")(cli_results.history)


@app.command("selftest", epilog=EXIT_CODES)
def _selftest(
    ordering: options.Claimed = None,
    fault: options.ClaimedFaults = None,
    short: options.Short = False,
    duration: options.SelftestDuration = None,
    seed: options.Seed = None,
    cpus: options.Cpus = None,
    memory: options.Memory = None,
    out: options.Out = None,
    json: options.Json = None,
    junit: options.Junit = None,
    fail_fast: options.FailFast = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    no_color: options.NoColor = False,
) -> int:
    """Catch every known-wrong ordering and every fault.

    By exploring, which must show it, and by racing, which ends at the first catch: after how long and how many
    shootdowns, and what rate would have been caught. The safe orderings must show nothing.
    """
    from stress.selftest import SelftestRequest, selftest

    return selftest(
        SelftestRequest(
            orderings=tuple(ordering or ()),
            faults=tuple(fault or ()),
            short=short,
            duration=duration,
            seed=seed,
            cpus=cpus,
            memory=memory,
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
def _list(labels: options.Labels = None, json: options.AsJson = False, no_color: options.NoColor = False) -> int:
    """List scenarios, orderings, outcomes and faults.

    Each with one line and its source. With --labels: the steps of a flow by label, for `--delay` and `yields`.
    """
    from stress.listing import list_all, list_labels

    if labels is not None:
        return list_labels(labels, as_json=json, color=not no_color)
    return list_all(as_json=json, color=not no_color)


app.command("replay", epilog=REPLAY_CODES)(cli_results.replay)


@app.command("doctor", epilog=DOCTOR_CODES)
def _doctor(
    vcpus: options.Vcpus = None,
    cpus: options.Cpus = None,
    json: options.AsJson = False,
    no_color: options.NoColor = False,
) -> int:
    """Say what this machine can and cannot measure, and why.

    CPUs, clocks, the way of a line from CPU to CPU, store buffers, what processes and memory there is room for; what
    each means for a result, and what to try. Takes a second or two. `--vcpus` asks whether so many have room.
    """
    from stress.placement import chosen_cpus, chosen_vcpus

    chosen, asked = chosen_cpus(cpus), chosen_vcpus(vcpus)  # a mistake is told before anything heavy is imported
    from stress.doctor import doctor

    return doctor(cpus=chosen, vcpus=asked, as_json=json, color=not no_color)
