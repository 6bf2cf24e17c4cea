"""One ordering explored on one machine: the kernels search, an entry of the exploration's JSON comes out.

The states are those of a sequentially consistent memory: one atomic step of one actor after the other.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from kernels.search.breadth_first import Progress
from kernels.search.explore import explore
from kernels.search.progress import Liveness
from kernels.search.random_walk import walk
from kernels.search.schedule import Move
from kernels.tdx.outcomes import Outcome
from kernels.tdx.protocol import Size, of_flow
from kernels.tdx.rules import Rules
from results.kinds.exploration import EXHAUSTIVE, INTERRUPT, PCT, RANDOM, Found, record, together
from results.verdict import FAILING, grade_of
from scenarios.expectations import otherwise_safe
from scenarios.models import Ordering, Scenario
from stress.explore.witness import Recorded, as_searched, recorded
from stress.processes.memory import MIN_BYTES
from stress.processes.prepared import compiling
from stress.screen import Screen

Watch = Callable[[Progress], bool]
Moves = tuple[Move, ...]
AT_A_TIME, SEED_STEP = 10_000, 1_000_003  # schedules that are drawn from one seed, and from it to the next
FORBIDDEN = tuple(outcome.name for outcome in Outcome if outcome.grade in FAILING)


@dataclass(frozen=True, slots=True)
class Whole:
    """Every interleaving within these bounds, as `explore` takes them. The first outcome of `until` ends it."""

    memory_bytes: int
    threads: int
    symmetry: bool = True
    reduction: bool = True
    liveness: bool = True
    until: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """So many schedules, as `walk` draws them: uniformly step by step, or by PCT for bugs of `depth` ordered steps."""

    schedules: int
    seed: int
    depth: int | None = None


@dataclass(frozen=True, slots=True)
class Searched:
    """What a search leaves: its entry in the JSON, and a shortest schedule to each thing that fails, told and ready to
    be kept, by the name of the outcome or of the broken invariant.
    """

    entry: dict[str, Any]
    witnesses: Mapping[str, Recorded]


def drawn_apart(method: Sample) -> list[Sample]:
    """The same schedules, so many at a time, each time from a seed of their own: whoever draws them draws the same."""
    starts = range(0, method.schedules, AT_A_TIME)
    return [
        replace(method, schedules=min(AT_A_TIME, method.schedules - start), seed=method.seed + number * SEED_STEP)
        for number, start in enumerate(starts)
    ]


def search(ordering: Ordering, scenario: Scenario, method: Whole | Sample, watch: Watch) -> Searched:
    """Explore this ordering; `watch` is called some times a second and answers whether to go on."""
    if isinstance(method, Whole):
        return _search(ordering, scenario, method, watch)
    done: list[Searched] = []
    for one in drawn_apart(method):
        before, spent_s = len(done) * AT_A_TIME, sum(each.entry["seconds"] for each in done)

        def watched(progress: Progress, before: int = before, spent_s: float = spent_s) -> bool:
            return watch(replace(progress, states=progress.states + before, seconds=progress.seconds + spent_s))

        done.append(_search(ordering, scenario, one, watched))
        if done[-1].entry["stopped_by"]:
            break
    entry = together([one.entry for one in done])
    steps = entry["witness_steps"]
    first = {
        name: next(one for one in done if one.entry["witness_steps"].get(name) == steps[name])
        for name in entry["outcomes"]
    }
    witnesses = {name: one.witnesses[name] for name, one in first.items() if name in one.witnesses}
    return Searched(entry, dict(sorted(witnesses.items(), key=lambda found: steps[found[0]])))


def _search(ordering: Ordering, scenario: Scenario, method: Whole | Sample, watch: Watch) -> Searched:
    rules = as_searched(ordering, scenario)
    size = Size(scenario.vcpus, scenario.zappers, scenario.pages, scenario.tlb_entries)
    if isinstance(method, Sample):
        how, reached, broken, times = _sampled(rules, size, method, watch)
    else:
        how, reached, broken, times = _whole(rules, size, method, watch)
    failing = {**{name: moves for name, moves in reached.items() if grade_of(name) in FAILING}, **broken}
    failing = dict(sorted(failing.items(), key=lambda found: len(found[1])))
    witnesses = {
        name: recorded(ordering, rules, size, name, moves, scenario.machine) for name, moves in failing.items()
    }

    def found(schedules: Mapping[str, Moves]) -> dict[str, Found]:
        told = {name: schedule_json(witnesses.get(name)) for name in schedules}
        return {name: Found(len(moves), times.get(name), told[name]) for name, moves in schedules.items()}

    return Searched(record(_subject(ordering, scenario), how, found(reached), found(broken)), witnesses)


def get_ready(
    ordering: Ordering, scenario: Scenario, method: Whole | Sample, progress: Screen | None, *, verbose: bool
) -> None:
    """Compile what this method takes, or take it from the cache, and say so; one search of the smallest machine uses
    all of it, so that compiling is no part of any search's seconds.
    """
    rules, size = as_searched(ordering, scenario)._replace(shootdowns=1), Size(1, 1)
    kept_as = ("walk",) if isinstance(method, Sample) else ("search", "graph")
    with compiling(progress, kept_as, "the search, once: about 5 s", verbose=verbose):
        if isinstance(method, Sample):
            room = size._replace(pages=max(rules.batch, 1), tlb_entries=scenario.tlb_entries)  # for one range
            walk(*of_flow(rules), room, schedules=1, seed=1, depth=method.depth)
        else:
            explore(*of_flow(rules), size, threads=1, memory_bytes=MIN_BYTES, liveness=method.liveness)


def schedule_json(witness: Recorded | None) -> tuple[dict[str, Any], ...]:
    """Who took which step, and which way where there was a choice."""
    steps = () if witness is None else witness.witness.steps
    return tuple({"actor": step.actor, "step": f"{step.label} ({step.at})", "chosen": step.chosen} for step in steps)


def _subject(ordering: Ordering, scenario: Scenario) -> dict[str, Any]:
    parameters = ordering.model_dump(mode="json")
    return {
        "ordering": ordering.name,
        **{key: parameters[key] for key in ("title", "source", "expect")},
        "parameters": parameters,
        "faults": list(ordering.faults),
        **{key: getattr(scenario, key) for key in ("vcpus", "zappers", "pages", "tlb_entries", "shootdowns", "flow")},
        "otherwise_safe": otherwise_safe(ordering, scenario),
    }


# Of an exploration, what the JSON has under the same name.
OF_SEARCH = (
    "seconds", "complete", "stopped_by", "transitions", "depth", "states", "deadlocks", "symmetry", "reduction",
    "threads", "chance_of_miss",
)  # fmt: skip
Results = tuple[Mapping[str, Any], Mapping[str, Moves], Mapping[str, Moves], Mapping[str, int]]


def _whole(rules: Rules, size: Size, method: Whole, watch: Watch) -> Results:
    """How it went, the outcomes, the broken invariants, and no counts of schedules."""
    frontier: list[int] = [0]

    def noting(progress: Progress) -> bool:
        frontier[0] = progress.frontier
        return watch(progress)

    done = explore(*of_flow(rules), size, **asdict(method), watch=noting)
    how = {
        "method": EXHAUSTIVE,
        **{key: getattr(done, key) for key in OF_SEARCH},
        "frontier": 0 if done.complete else frontier[0],
        "memory_bytes": method.memory_bytes,
        "liveness": _liveness(done.liveness),
        "liveness_asked": method.liveness,
    }
    return how, done.outcomes, done.broken, {}


def _liveness(found: Liveness | None) -> dict[str, Any] | None:
    """What the JSON says of it; the way to a livelock is a witness like any other."""
    if found is None:
        return None
    told = {key: getattr(found, key) for key in ("states", "seconds", "livelocks", "refused")}
    return {**told, "starving": dict(found.starving)}


def _sampled(rules: Rules, size: Size, method: Sample, watch: Watch) -> Results:
    """How it went, the outcomes, no invariants, and how many schedules showed each outcome."""
    done = walk(*of_flow(rules), size, **asdict(method), watch=watch)
    how = {
        "method": RANDOM if method.depth is None else PCT,
        "seconds": done.seconds,
        "complete": False,
        "stopped_by": INTERRUPT if done.schedules < method.schedules else "",
        "transitions": done.steps,
        "depth": done.longest,
        "schedules": done.schedules,
        "unfinished": done.unfinished,
        "seed": done.seed,
        "pct_depth": done.depth,
    }
    reached = {name: moves for name, (_, moves) in done.outcomes.items()}
    return how, reached, {}, {name: times for name, (times, _) in done.outcomes.items()}
