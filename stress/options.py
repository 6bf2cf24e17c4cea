"""What can be typed behind each verb: the fields of its request are its options, and an option that several verbs have
stands here once. Beside its type stand its usage and its help. They are named tuples, as to make ten dataclasses takes
a tenth of the time of `--help`.
"""

from pathlib import Path
from typing import Annotated, NamedTuple

Scenario = Annotated[str, "SCENARIO", "A shipped scenario, or a TOML file."]
Directories = Annotated[tuple[Path, ...], "DIR", "Directories that runs left."]
Orderings = Annotated[
    tuple[str, ...],
    "--ordering NAME|FILE|STEPS",
    "Instead of the scenario's; repeatable. STEPS such as block,track,kick,remove.",
]
Vcpus = Annotated[int | None, "--vcpus N", "How many vCPUs, 1 to 512."]
Zappers = Annotated[int | None, "--zappers N", "How many threads shoot pages down, 1 to 62."]
Pages = Annotated[int | None, "--pages N", "How many guest pages."]
Warmup = Annotated[str | None, "--warmup TIME", "Raced but not measured."]
Rate = Annotated[float | None, "--rate R", "Open loop: shootdowns a second over all zappers; 0 for a closed loop."]
Seed = Annotated[int | None, "--seed N", "Of every actor's random choices."]
Workers = Annotated[str | None, "--workers process|thread", "What an actor is."]
Placement = Annotated[
    str | None,
    "--placement apart|mixed",
    "Where CPUs are short: zappers apart from vCPUs, or all wherever Linux places them.",
]
Cpus = Annotated[str | None, "--cpus LIST", "CPUs to race on, such as 0-3,6, of those inherited."]
Settings = Annotated[tuple[str, ...], "--set KEY=VALUE", "Any key of the scenario, or of every ordering; repeatable."]
Sweep = Annotated[
    str | None, "--sweep KEY=V,V,...", "A key and its values or range: vcpus=1,2,4,8, vcpus=1..64*2; explore: several."
]
Resume = Annotated[
    Path | None, "--resume DIR", "Run the pieces that DIR lacks, as after Ctrl-C; what is one piece begins anew."
]
Share = Annotated[str | None, "--share K/N", "Only this share of the pieces, 3/16; `merge` puts shares together."]
Cluster = Annotated[
    str | None, "--cluster ADDRESS|local:N", "Hand the pieces to Dask: a scheduler, or N workers here; extra `cluster`."
]
Faults = Annotated[
    tuple[str, ...], "--fault NAME", "Break the module or KVM on purpose; repeatable. `list` names them."
]
Memory = Annotated[
    str | None,
    "--memory SIZE",
    "At most so much memory: 8G, 500MB, 2GiB; else 3/4 of what is free, or what orders, faults, --contract say.",
]
Threads = Annotated[int | None, "--threads N", "Searching at once; else one a CPU."]
Outcome = Annotated[str | None, "--for OUTCOME", "What the search looks for; otherwise what the ordering is known for."]
Budget = Annotated[str | None, "--budget TIME", "Of the search, for each ordering; otherwise 60s."]
FailIf = Annotated[
    tuple[str, ...], "--fail-if GATE", "Exit 7 where it holds: 'p99>+15%', 'v18:reads/s<-5%'; repeatable."
]
FailFast = Annotated[bool, "--fail-fast", "Stop at the first ordering that fails."]
Out = Annotated[Path | None, "--out DIR", "Where the files go; else runs/<UTC time>-<scenario>."]
Json = Annotated[
    str | None, "--json [FILE]", "The result as JSON, alone on stdout, or into a FILE with .json or / in its name."
]
Junit = Annotated[Path | None, "--junit FILE", "The verdicts as JUnit XML."]
Ktap = Annotated[str | None, "--ktap FILE|-", "The verdicts as KTAP, into a file or alone on stdout."]
Quiet = Annotated[bool, "-q --quiet", "Only the lines to grep, and errors."]
Verbose = Annotated[bool, "-v --verbose", "All tables; also the clock, the CPUs and the cache; tracebacks."]
NoColor = Annotated[bool, "--no-color", "No colours; NO_COLOR in the environment says the same."]


class RunRequest(NamedTuple):
    """Race orderings with real processes.

    Verdicts, latency and pictures, for one ordering after the other. Without options: the review's question. What no
    option says stands in the scenario; `tdx-stress list` names them.
    """

    scenario: Scenario = "review"
    orderings: Orderings = ()
    vcpus: Vcpus = None
    zappers: Zappers = None
    pages: Pages = None
    duration: Annotated[str | None, "--duration TIME", "Of each ordering, after its warm-up: 500ms, 5s, 2m, 1h."] = None
    shootdowns: Annotated[int | None, "--shootdowns N", "Of each zapper, instead of a duration."] = None
    warmup: Warmup = None
    rate: Rate = None
    seed: Seed = None
    workers: Workers = None
    placement: Placement = None
    cpus: Cpus = None
    settings: Settings = ()
    delays: Annotated[
        tuple[str, ...],
        "--delay LABEL=TIME",
        "Hold actors up at a label: 200ns, 0-500ns, 20us@0.1; repeatable. `list --labels` names the labels.",
    ] = ()
    faults: Faults = ()
    amplify: Annotated[
        str | None,
        "--amplify auto",
        "Search for what shows an outcome most often: delays, yields, sizes, storms, starts.",
    ] = None
    outcome: Outcome = None
    budget: Budget = None
    share: Share = None
    cluster: Cluster = None
    resume: Resume = None
    out: Out = None
    json: Json = None
    junit: Junit = None
    ktap: Ktap = None
    trace: Annotated[
        bool, "--trace", "Keep everybody's last steps until a forbidden outcome: a table, and trace.json."
    ] = False
    no_report: Annotated[
        bool, "--no-report", "Leave the raw results alone: `tdx-stress report DIR` makes the rest from them."
    ] = False
    fail_fast: FailFast = False
    quiet: Quiet = False
    verbose: Verbose = False
    no_color: NoColor = False


class BenchRequest(NamedTuple):
    """Compare orderings: ratios to the first one, with intervals.

    Every round races each ordering once in fresh processes, in shuffled order, and the first one twice: where it
    differs from itself, no difference is to be believed (exit 6). Ctrl-C keeps the finished rounds; --resume goes on.
    """

    scenario: Annotated[str, "SCENARIO", "A shipped scenario, or a TOML file; review."] = ""
    listed: Annotated[
        str | None, "--orderings NAME,NAME", "Instead of the scenario's; the others are held against the first."
    ] = None
    orderings: Orderings = ()
    include_unsafe: Annotated[bool, "--include-unsafe", "Race orderings known to be wrong; they are marked."] = False
    rounds: Annotated[int | None, "--rounds N", "How many rounds, 10 or more; 10."] = None
    budget: Annotated[
        str | None, "--budget TIME", "As many rounds as fit into this time; shorter races if need be."
    ] = None
    sweep: Sweep = None
    share: Share = None
    cluster: Cluster = None
    resume: Resume = None
    vcpus: Vcpus = None
    zappers: Zappers = None
    pages: Pages = None
    duration: Annotated[str | None, "--duration TIME", "Of each race, after its warm-up; 1s."] = None
    warmup: Warmup = None
    rate: Rate = None
    seed: Seed = None
    workers: Workers = None
    placement: Placement = None
    cpus: Cpus = None
    settings: Settings = ()
    fail_if: FailIf = ()
    out: Out = None
    json: Json = None
    junit: Junit = None
    ktap: Ktap = None
    csv: Annotated[Path | None, "--csv FILE", "The figures of every race as CSV."] = None
    parquet: Annotated[Path | None, "--parquet FILE", "The same as Parquet; needs the extra `history`."] = None
    quiet: Quiet = False
    verbose: Verbose = False
    no_color: NoColor = False


class ExploreRequest(NamedTuple):
    """Look at every interleaving of a small machine.

    Which outcomes can happen, whatever the timing, in how few steps, and by which schedule. Without options: the
    review's orders, 2 vCPUs and 1 zapper. On larger machines schedules can be drawn at random, which proves nothing.
    """

    scenario: Scenario = "small"
    orderings: Orderings = ()
    orders: Annotated[
        bool, "--orders", "The atlas: every order of the steps of --ordering, v18's if none is given, then races."
    ] = False
    matrix: Annotated[
        bool, "--matrix", "Every ordering, or each --ordering, with every fault, or each --fault, one at a time."
    ] = False
    contract: Annotated[
        bool, "--contract", "Which SEAMCALL is told BUSY against which, and whether its second try succeeds."
    ] = False
    dump: Annotated[
        bool, "--dump", "Search nothing; print the step machines that are searched, which read sizes and rules."
    ] = False
    faults: Faults = ()
    vcpus: Vcpus = None
    zappers: Zappers = None
    pages: Pages = None
    tlb_entries: Annotated[int | None, "--tlb-entries N", "Of each vCPU's TLB; a power of two."] = None
    shootdowns: Annotated[int | None, "--shootdowns N", "Of each zapper."] = None
    settings: Settings = ()
    no_symmetry: Annotated[bool, "--no-symmetry", "Do not fold states that differ in who is who."] = False
    no_reduction: Annotated[bool, "--no-reduction", "Also interleave steps that nobody else can see."] = False
    no_liveness: Annotated[bool, "--no-liveness", "Do not look for livelocks."] = False
    memory: Memory = None
    threads: Threads = None
    random: Annotated[int | None, "--random N", "Instead of every interleaving, N schedules drawn at random."] = None
    pct: Annotated[int | None, "--pct D", "Draw them by PCT, for bugs of D ordered steps; with --random."] = None
    seed: Annotated[int | None, "--seed N", "Of schedules drawn at random, and of the races of orders."] = None
    sweep: Sweep = None
    share: Share = None
    cluster: Cluster = None
    resume: Annotated[
        Path | None, "--resume DIR", "Run what DIR lacks of --orders, --matrix, --sweep, --share or --cluster."
    ] = None
    out: Out = None
    json: Json = None
    junit: Junit = None
    fail_fast: Annotated[
        bool, "--fail-fast", "Stop a search at its first forbidden outcome, and at the first that fails."
    ] = False
    quiet: Quiet = False
    verbose: Annotated[bool, "-v --verbose", "All tables, every step of a witness; also the cache; tracebacks."] = False
    no_color: NoColor = False


class CompareRequest(NamedTuple):
    """Hold one result against another, B over A.

    Two directories of `bench`, or of `run`: ratios with intervals for every ordering that both have, and a warning
    where the machines differ. Of single runs nothing is ranked. With --fail-if it is a gate for continuous integration.
    Two of another kind: what has another verdict; 1 where something passed in A alone. Unlike results are refused.
    """

    first: Annotated[Path, "A", "The directory of a result: what to hold against."]
    second: Annotated[Path, "B", "Another one."]
    fail_if: FailIf = ()
    json: Json = None
    quiet: Quiet = False
    no_color: NoColor = False


class ReportRequest(NamedTuple):
    """Make tables, pictures and report.html again.

    From the directories that runs and benches left, and from nothing else: a copy from another machine is enough. What
    was made before is replaced; raw results are only read.
    """

    directories: Directories = ()
    markdown: Annotated[str | None, "--markdown FILE|-", "All tables as Markdown, into a file or alone on stdout."] = (
        None
    )
    quiet: Quiet = False
    verbose: Verbose = False
    no_color: NoColor = False


class MergeRequest(NamedTuple):
    """Put the shares of one long job together.

    From the directories that `--share` left, on whatever machines: one result, as if one machine had run all of it.
    Pieces that are missing are named, exit 6; shares of other versions, kernels or questions are refused.
    """

    directories: Annotated[tuple[Path, ...], "DIR", "Directories of shares."]
    out: Out = None
    json: Json = None
    junit: Junit = None
    quiet: Quiet = False
    verbose: Verbose = False
    no_color: NoColor = False


class HistoryRequest(NamedTuple):
    """List the runs in a directory, with verdicts and key figures.

    Filters them, plots a figure over time, or answers a query; DIR is runs unless given, or the directory of one run.
    Needs DuckDB, the extra `history`.
    """

    directories: Directories = ()
    scenario: Annotated[str | None, "--scenario GLOB", "Only runs of these scenarios."] = None
    ordering: Annotated[str | None, "--ordering GLOB", "Only these orderings: 'v*'."] = None
    host: Annotated[str | None, "--host TEXT", "Only machines whose CPU, hypervisor or id has it."] = None
    version: Annotated[str | None, "--version GLOB", "Only by these versions of tdx-stress."] = None
    verdict: Annotated[str | None, "--verdict NAME", "Only with this verdict."] = None
    since: Annotated[str | None, "--since TIME", "Only from this UTC time on: 2026-11-22."] = None
    last: Annotated[int, "--last N", "Only the newest N rows; 0 for all."] = 0
    plot: Annotated[str | None, "--plot FIGURE", "Draw p50, p99, reads_per_s or another figure over time."] = None
    out: Annotated[Path | None, "--out FILE", "The picture's .svg, .png or .pdf; else DIR/history-FIGURE.svg."] = None
    export: Annotated[Path | None, "--export FILE", "All figures of the rows as .csv, .parquet or .json."] = None
    sql: Annotated[str | None, "--sql QUERY", "Any query of `runs`, `rounds`, or `chosen`: what filters left."] = None
    json: Json = None
    no_color: NoColor = False


class SelftestRequest(NamedTuple):
    """Catch every known-wrong ordering and every fault.

    By exploring, which must show it, and by racing, which ends at the first catch: after how long and how many
    shootdowns, and what rate would have been caught. The safe orderings must show nothing. A minute or two on 2 CPUs;
    the first time each flow is compiled as well.
    """

    orderings: Annotated[
        tuple[str, ...], "--ordering NAME|FILE|STEPS", "Instead of every shipped one; repeatable."
    ] = ()
    faults: Annotated[tuple[str, ...], "--fault NAME", "Only this fault, or these; repeatable."] = ()
    short: Annotated[
        bool,
        "--short",
        "For a gate: safe orderings for 2 s on the smallest machines, other flows' faults only explored.",
    ] = False
    duration: Annotated[
        str | None, "--duration TIME", "At most so long a race; else 20s, and 5s of each safe ordering."
    ] = None
    seed: Seed = None
    cpus: Cpus = None
    memory: Memory = None
    share: Share = None
    cluster: Cluster = None
    resume: Resume = None
    out: Out = None
    json: Json = None
    junit: Junit = None
    fail_fast: FailFast = False
    quiet: Quiet = False
    verbose: Verbose = False
    no_color: NoColor = False


class ListRequest(NamedTuple):
    """List what there is to choose from, or print one whole.

    Scenarios, orderings, outcomes, faults and parts, each with one line and its source; of one name its file, so that
    one of your own can start from it. `list barriers`: by word of the state who accesses it, and in which memory order.
    With --labels: the steps of a flow by label, for `--delay` and `yields`. With --schema: the JSON schema of what a
    verb leaves.
    """

    name: Annotated[str | None, "KIND|NAME", "One of these kinds, or the name of one."] = None
    labels: Annotated[
        str | None, "--labels SCENARIO", "The labels at which the actors of a scenario can be perturbed."
    ] = None
    schema: Annotated[
        str | None,
        "--schema KIND",
        "run, real, bench, exploration, orders, faults, contract, amplification or selftest.",
    ] = None
    json: Json = None
    no_color: NoColor = False


class ReplayRequest(NamedTuple):
    """Run a recorded schedule again, step by step.

    It must end in the state in which it was recorded: 0 where it does, 1 where it does not. A file from another
    ordering, layout or version is refused.
    """

    file: Annotated[Path, "FILE", "A witness that `explore` has left, or a matrix.json."]
    pair: Annotated[
        tuple[str, str, str] | None,
        "--pair FLOW ORDERING FAULT",
        "Of a matrix.json: this pair, as its line to grep has it.",
    ] = None
    until: Annotated[int | None, "--until N", "Stop after so many steps."] = None
    show: Annotated[str | None, "--show words", "Also every word of the state after the last step."] = None
    ordering: Annotated[
        str | None, "--ordering NAME|FILE|STEPS", "Refuse a file that was not recorded from this ordering."
    ] = None
    out: Annotated[Path | None, "--out DIR", "Leave trace.json and the timeline's pictures."] = None
    json: Json = None
    quiet: Quiet = False
    verbose: Annotated[bool, "-v --verbose", "Every step in a row of its own; tracebacks."] = False
    no_color: NoColor = False


class DoctorRequest(NamedTuple):
    """Say what this machine can and cannot measure, and why.

    CPUs, clocks, the way of a line from CPU to CPU, store buffers, what processes and memory there is room for; what
    each means for a result, and what to try. Takes a second or two. `--vcpus` asks whether so many have room.
    """

    vcpus: Vcpus = None
    cpus: Cpus = None
    json: Json = None
    no_color: NoColor = False
