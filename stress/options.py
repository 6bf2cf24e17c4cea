"""The options of the command line, each typed and described once."""

from pathlib import Path
from typing import Annotated, Any

import typer


def _option(*names: str, metavar: str | None = None, help: str) -> Any:
    """An option without its default in the help: what is not given is the scenario's."""
    return typer.Option(*names, metavar=metavar, help=help, show_default=False)


Name = Annotated[str, typer.Argument(metavar="SCENARIO", help="A shipped scenario, or a TOML file.")]
Orderings = Annotated[
    list[str] | None,
    _option(
        "--ordering",
        metavar="NAME|FILE|STEPS",
        help="Instead of the scenario's; repeatable. STEPS such as block,track,kick,remove.",
    ),
]
Vcpus = Annotated[int | None, _option("--vcpus", metavar="N", help="How many vCPUs, 1 to 512.")]
Zappers = Annotated[int | None, _option("--zappers", metavar="N", help="How many threads shoot pages down, 1 to 62.")]
Pages = Annotated[int | None, _option("--pages", metavar="N", help="How many guest pages.")]
Duration = Annotated[
    str | None, _option("--duration", metavar="TIME", help="Of each ordering, after its warm-up: 500ms, 5s, 2m, 1h.")
]
Shootdowns = Annotated[int | None, _option("--shootdowns", metavar="N", help="Of each zapper, instead of a duration.")]
Warmup = Annotated[str | None, _option("--warmup", metavar="TIME", help="Raced but not measured.")]
Rate = Annotated[
    float | None,
    _option("--rate", metavar="R", help="Open loop: shootdowns a second over all zappers; 0 for a closed loop."),
]
Delays = Annotated[
    list[str] | None,
    _option(
        "--delay",
        metavar="LABEL=TIME",
        help="Hold actors up at a label: 200ns, 0-500ns, 20us@0.1; repeatable. `list --labels` names the labels.",
    ),
]
Labels = Annotated[
    str | None,
    _option("--labels", metavar="SCENARIO", help="The labels at which the actors of a scenario can be perturbed."),
]
Amplify = Annotated[
    str | None,
    _option(
        "--amplify",
        metavar="auto",
        help="Search for what shows an outcome most often: delays, yields, sizes, storms, starts.",
    ),
]
For = Annotated[
    str | None,
    _option("--for", metavar="OUTCOME", help="What the search looks for; otherwise what the ordering is known for."),
]
AmplifyBudget = Annotated[
    str | None, _option("--budget", metavar="TIME", help="Of the search, for each ordering; otherwise 60s.")
]
TlbEntries = Annotated[int | None, _option("--tlb-entries", metavar="N", help="Of each vCPU's TLB; a power of two.")]
Each = Annotated[int | None, _option("--shootdowns", metavar="N", help="Of each zapper.")]
Faults = Annotated[
    list[str] | None,
    _option("--fault", metavar="NAME", help="Break the module or KVM on purpose; repeatable. `list` names them."),
]
NoSymmetry = Annotated[bool, _option("--no-symmetry", help="Do not fold states that differ in who is who.")]
NoReduction = Annotated[bool, _option("--no-reduction", help="Also interleave steps that nobody else can see.")]
NoLiveness = Annotated[bool, _option("--no-liveness", help="Do not look for livelocks.")]
Memory = Annotated[
    str | None,
    _option(
        "--memory",
        metavar="SIZE",
        help="At most so much: 8G, 500MB, 2GiB; else 3/4 of what is free (--orders, --matrix: fixed bounds).",
    ),
]
Threads = Annotated[int | None, _option("--threads", metavar="N", help="Searching at once; else one a CPU.")]
Random = Annotated[
    int | None, _option("--random", metavar="N", help="Instead of every interleaving, N schedules drawn at random.")
]
Pct = Annotated[
    int | None, _option("--pct", metavar="D", help="Draw them by PCT, for bugs of D ordered steps; with --random.")
]
Orders = Annotated[
    bool,
    _option("--orders", help="The atlas: every order of the steps of --ordering, v18's if none is given, then races."),
]
Crossed = Annotated[
    bool,
    _option("--matrix", help="Every ordering, or each --ordering, with every fault, or each --fault, one at a time."),
]
FirstOnly = Annotated[
    bool, _option("--fail-fast", help="Stop a search at its first forbidden outcome, and at the first that fails.")
]
SearchSeed = Annotated[int | None, _option("--seed", metavar="N", help="Of the schedules drawn at random.")]
Seed = Annotated[int | None, _option("--seed", metavar="N", help="Of every actor's random choices.")]
Workers = Annotated[str | None, _option("--workers", metavar="process|thread", help="What an actor is.")]
Placement = Annotated[
    str | None,
    _option(
        "--placement",
        metavar="apart|mixed",
        help="Where CPUs are short: zappers apart from vCPUs, or all wherever Linux places them.",
    ),
]
Cpus = Annotated[
    str | None, _option("--cpus", metavar="LIST", help="CPUs to race on, such as 0-3,6, of those inherited.")
]
Settings = Annotated[
    list[str] | None,
    _option("--set", metavar="KEY=VALUE", help="Any key of the scenario, or of every ordering; repeatable."),
]
Out = Annotated[
    Path | None, _option("--out", metavar="DIR", help="Where the files go; else runs/<UTC time>-<scenario>.")
]
Json = Annotated[
    str | None, _option("--json", metavar="FILE|-", help="The result as JSON, into a file or alone on stdout.")
]
Junit = Annotated[Path | None, _option("--junit", metavar="FILE", help="The verdicts as JUnit XML.")]
Ktap = Annotated[
    str | None, _option("--ktap", metavar="FILE|-", help="The verdicts as KTAP, into a file or alone on stdout.")
]
Trace = Annotated[
    bool,
    _option("--trace", help="Keep everybody's last steps until a forbidden outcome: a table, and trace.json."),
]
NoReport = Annotated[
    bool, _option("--no-report", help="Leave the raw results alone: `tdx-stress report DIR` makes the rest from them.")
]
FailFast = Annotated[bool, _option("--fail-fast", help="Stop at the first ordering that fails.")]
Quiet = Annotated[bool, _option("-q", "--quiet", help="Only the lines to grep, and errors.")]
Verbose = Annotated[bool, _option("-v", "--verbose", help="Also the clock, the CPUs and the cache; tracebacks.")]
NoColor = Annotated[bool, _option("--no-color", help="No colours; NO_COLOR in the environment says the same.")]
Directories = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[DIR]...", help="Directories that runs left.", show_default=False),
]
WantedScenario = Annotated[str | None, _option("--scenario", metavar="GLOB", help="Only runs of these scenarios.")]
WantedOrdering = Annotated[str | None, _option("--ordering", metavar="GLOB", help="Only these orderings: 'v*'.")]
WantedHost = Annotated[str | None, _option("--host", metavar="TEXT", help="Only hosts whose CPU or hypervisor has it.")]
WantedVersion = Annotated[
    str | None, _option("--version", metavar="GLOB", help="Only by these versions of tdx-stress.")
]
WantedVerdict = Annotated[str | None, _option("--verdict", metavar="NAME", help="Only with this verdict.")]
Since = Annotated[str | None, _option("--since", metavar="TIME", help="Only from this UTC time on: 2026-11-22.")]
Last = Annotated[int, _option("--last", metavar="N", help="Only the newest N rows; 0 for all.")]
Plot = Annotated[
    str | None, _option("--plot", metavar="FIGURE", help="Draw p50, p99, reads_per_s or another figure over time.")
]
Picture = Annotated[
    Path | None, _option("--out", metavar="FILE", help="The picture's .svg, .png or .pdf; else DIR/history-FIGURE.svg.")
]
Export = Annotated[
    Path | None, _option("--export", metavar="FILE", help="All figures of the rows as .csv, .parquet or .json.")
]
Sql = Annotated[
    str | None, _option("--sql", metavar="QUERY", help="Any query of `runs`, `rounds`, or `chosen`: what filters left.")
]
Short = Annotated[
    bool,
    _option(
        "--short",
        help="For a gate: safe orderings for 2 s on the smallest machines, other flows' faults only explored.",
    ),
]
Claimed = Annotated[
    list[str] | None,
    _option("--ordering", metavar="NAME|FILE|STEPS", help="Instead of every shipped one; repeatable."),
]
ClaimedFaults = Annotated[
    list[str] | None, _option("--fault", metavar="NAME", help="Only this fault, or these; repeatable.")
]
SelftestDuration = Annotated[
    str | None,
    _option("--duration", metavar="TIME", help="At most so long a race; else 20s, and 5s of each safe ordering."),
]
AsJson = Annotated[bool, _option("--json", help="The same as JSON.")]

# Of `bench` and `compare`.
BenchName = Annotated[str, typer.Argument(metavar="SCENARIO", help="A shipped scenario, or a TOML file; review.")]
OrderingList = Annotated[
    str | None,
    _option(
        "--orderings", metavar="NAME,NAME", help="Instead of the scenario's; the others are held against the first."
    ),
]
IncludeUnsafe = Annotated[bool, _option("--include-unsafe", help="Race orderings known to be wrong; they are marked.")]
Rounds = Annotated[int | None, _option("--rounds", metavar="N", help="How many rounds, 10 or more; 10.")]
Budget = Annotated[
    str | None,
    _option("--budget", metavar="TIME", help="As many rounds as fit into this time; shorter races if need be."),
]
Sweep = Annotated[
    str | None, _option("--sweep", metavar="KEY=V,V,...", help="A key of the scenario and its values: vcpus=1,2,4,8.")
]
Resume = Annotated[Path | None, _option("--resume", metavar="DIR", help="Go on with a bench that was interrupted.")]
RaceDuration = Annotated[str | None, _option("--duration", metavar="TIME", help="Of each race, after its warm-up; 1s.")]
Csv = Annotated[Path | None, _option("--csv", metavar="FILE", help="The figures of every race as CSV.")]
Parquet = Annotated[
    Path | None, _option("--parquet", metavar="FILE", help="The same as Parquet; needs the extra `history`.")
]
FailIf = Annotated[
    list[str] | None,
    _option("--fail-if", metavar="GATE", help="Exit 7 where it holds: 'p99>+15%', 'v18:reads/s<-5%'; repeatable."),
]
First = Annotated[Path, typer.Argument(metavar="A", help="The directory of a run or a bench: what to hold against.")]
Second = Annotated[Path, typer.Argument(metavar="B", help="Another one.")]

# Of `replay`.
WitnessFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="A witness that `explore` has left, or a matrix.json.")
]
Pair = Annotated[
    tuple[str, str, str] | None,
    _option("--pair", metavar="FLOW ORDERING FAULT", help="Of a matrix.json: this pair, as its line to grep has it."),
]
Until = Annotated[int | None, _option("--until", metavar="N", help="Stop after so many steps.")]
ShowWhat = Annotated[
    str | None, _option("--show", metavar="words", help="Also every word of the state after the last step.")
]
FromOrdering = Annotated[
    str | None,
    _option("--ordering", metavar="NAME|FILE|STEPS", help="Refuse a file that was not recorded from this ordering."),
]
Pictures = Annotated[Path | None, _option("--out", metavar="DIR", help="Leave trace.json and the timeline's pictures.")]
EveryStep = Annotated[bool, _option("-v", "--verbose", help="Every step in a row of its own; tracebacks.")]
EveryStepToo = Annotated[
    bool,
    _option("-v", "--verbose", help="Every step of a witness in a row of its own; also the cache; tracebacks."),
]
