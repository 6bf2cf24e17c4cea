"""What every kind of result must hold to be shown again: checked once, when a directory is read.

A directory may come from another machine, an older version or a broken copy. In a shape each field is declared that
tables, pictures and pages rely on; what is missing or of another kind is one line that names it. Fields that are not
declared are kept as they are: a newer version may know more.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from kernels.tdx.rules import FLOWS, flow_name
from results.verdict import Verdict

Count = Annotated[int, Field(ge=0, lt=1 << 63)]
Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
AVerdict = Annotated[Verdict, Field(strict=False)]
_A_FLOW = f"({'|'.join(map(flow_name, FLOWS))})"
FlowName = Annotated[str, Field(pattern=f"^{_A_FLOW}([+]{_A_FLOW})*$")]  # parts, in any order


class Shape(BaseModel):
    """A part of a document, of which this version knows at least these fields."""

    model_config = ConfigDict(extra="ignore", strict=True, defer_build=True)


class ActorsShape(Shape):
    """Who was there."""

    vcpus: Count
    zappers: Count


class SizeShape(ActorsShape):
    """The machine that a search looked at; `shootdowns` of each zapper."""

    pages: Count
    shootdowns: Count
    tlb_entries: Count = 1


class JudgedShape(Shape):
    """What was said of what."""

    verdict: AVerdict
    reason: str


class OrderingShape(JudgedShape):
    """What was said of an ordering."""

    ordering: str
    expect: Literal["safe"] | list[str]
    otherwise_safe: bool = False


class ParametersShape(Shape):
    """What is shown of an ordering's own keys."""

    faults: list[str] = []
    shootdown: list[str] = []


class CaveatShape(Shape):
    """A caveat."""

    id: str
    seen: str
    means: str
    try_: str = Field(alias="try")


class HostShape(Shape):
    """What is shown of a host."""

    round_trip_ns: Seconds | None = None
    round_trip_after_ns: Seconds | None = None
    round_trip_range_ns: tuple[Seconds, Seconds] | None = Field(strict=False, default=None)
    round_trip_cpus: list[Count] = []
    round_trip_trouble: str | None = None
    round_trip_after_trouble: str | None = None
    timer_ns: Seconds | None = None
    timer_step_ns: Seconds | None = None
    empty_shootdown_ns: Count | None = None
    cpu_model: str | None = None
    machine: str | None = None
    kernel: str | None = None
    numba: str | None = None
    hypervisor: str | None = None
    governor: str | None = None
    clocksource: str | None = None
    cpus_used: str | None = None
    cpus_allowed: Annotated[int, Field(ge=1, lt=1 << 20)] | None = None
    constant_tsc: bool | None = None
    smt: bool | None = None
    cpu_quota: Seconds | None = None
    busy: Seconds | None = None
    load_1m: Seconds | None = None
    clock_error_ppm: Seconds | None = None

    @model_validator(mode="after")
    def _round_trip_with_its_range(self) -> "HostShape":
        if self.round_trip_ns and (self.round_trip_range_ns is None or len(self.round_trip_cpus) != 2):
            raise ValueError("expected round_trip_range_ns and two round_trip_cpus beside round_trip_ns")
        return self


class ScenarioShape(ActorsShape):
    """What is shown of a scenario."""

    name: str
    pages: Count
    duration_s: Seconds = 0.0
    rate: Seconds = 0.0
    batch: Count = 1
    title: str = ""
    flow: FlowName = "shootdown"
    workers: str = "process"
    placement: str = "mixed"
    kick_by: str = "word"
    costs: dict[str, str] = {}
    orderings: list[str] = []
    changed: dict[str, Any] = {}
    own: bool = True


class DocumentShape(Shape):
    """What stands in front of every document."""

    command: list[str] = []
    started: str = ""
    version: str = "unknown"
    commit: str | None = None


class _Liveness(Shape):
    states: Count
    livelocks: Count
    starving: dict[str, str]
    refused: dict[str, Count] | None = None


class ExplorationShape(OrderingShape, SizeShape):
    """What was found of one ordering."""

    title: str
    faults: list[str]
    parameters: ParametersShape = ParametersShape()
    changed: dict[str, Any] = {}
    own: bool = True
    flow: FlowName = "shootdown"
    tlb_entries: Count
    method: str
    seconds: Seconds
    complete: bool
    stopped_by: Literal["", "interrupt", "memory", "first"]
    transitions: Count
    depth: Count
    states: Count | None
    frontier: Count | None
    deadlocks: Count | None
    threads: Count | None
    symmetry: bool | None = None
    chance_of_miss: Share | None
    liveness: _Liveness | None
    liveness_asked: bool = True
    schedules: Count | None
    unfinished: Count | None
    seed: int | None
    pct_depth: Count | None
    outcomes: list[str]
    broken: list[str]
    witness_steps: dict[str, Count]
    schedules_with: dict[str, Count]

    @model_validator(mode="after")
    def _numbers_of_its_method(self) -> "ExplorationShape":
        needed = ("states", "deadlocks", "threads") if self.method == "exhaustive" else ("schedules", "seed")
        if missing := [name for name in needed if getattr(self, name) is None]:
            raise ValueError(f"expected {missing[0]} of a search by {self.method}, found none")
        if missing := [name for name in (*self.outcomes, *self.broken) if name not in self.witness_steps]:
            raise ValueError(f"expected witness_steps for {missing[0]}, found none")
        return self


class SingleShape(DocumentShape, ExplorationShape):
    """exploration.json of one ordering."""

    caveats: list[CaveatShape]


class SeveralShape(DocumentShape):
    """exploration.json of several orderings."""

    caveats: list[CaveatShape]
    explorations: Annotated[list[ExplorationShape], Field(min_length=1)]
    asked: list[str] = []


class _Machine(SizeShape):
    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True)

    liveness: bool = False


class _Order(Shape):
    order: Annotated[list[str], Field(min_length=1)]
    verdict: Literal["safe", "refused", "stale", "deadlock", "broken", "open"]
    statuses: list[str]
    stale_in: list[str]
    stale_open_in: list[str]
    witness_steps: dict[str, dict[str, Count]]
    decided: _Machine | None


class _Spread(Shape):
    median: Seconds
    low: Seconds
    high: Seconds


class _RacedOrder(Shape):
    name: str
    order: list[str]
    known: bool
    verdicts: list[AVerdict]
    p50_ns: _Spread | None
    ratio: _Spread | None
    holm_p: Share | None
    refused: str


class _RaceScenario(ActorsShape):
    duration_s: Seconds


class _Races(Shape):
    scenario: _RaceScenario
    rounds: Count
    orders: list[_RacedOrder]


class _Searched(Shape):
    complete: bool
    states: Count
    transitions: Count
    threads: Count
    seconds: Seconds


class _Explored(_Searched):
    orders: Count
    decided: Count


class _AtlasParameters(ParametersShape):
    expect: Literal["safe"] | list[str]


class AtlasShape(DocumentShape):
    """The whole of atlas.json."""

    caveats: list[CaveatShape]
    ordering: str
    parameters: _AtlasParameters
    steps: Annotated[list[str], Field(min_length=1)]
    machines: list[_Machine]
    variant_bytes: dict[str, Count]
    explored: _Explored
    orders: Annotated[list[_Order], Field(min_length=1)]
    races: _Races | None

    @model_validator(mode="after")
    def _holds_together(self) -> "AtlasShape":
        if any(len(one.order) != len(self.steps) for one in self.orders):
            raise ValueError(f"expected orders of all {len(self.steps)} steps, found one of another length")
        if not {"remove_without_tracking", "free_page"} <= set(self.variant_bytes):
            raise ValueError("expected the bounds of both variants")
        known = [one.model_copy(update={"liveness": False}) for one in self.machines]
        if strange := [one for order in self.orders if (one := order.decided) and one not in known]:
            raise ValueError(f"expected orders decided on machines of the atlas, found {strange[0]!r}")
        return self


class _MatrixMachine(SizeShape):
    tlb_entries: Count
    liveness: bool
    set: list[str]


class _Pair(Shape):
    flow: str
    ordering: str
    fault: str
    verdict: Literal["stale", "refused", "stuck", "broken", "safe", "unread", "open"]
    outcome: str | None
    steps: Count | None
    added: list[str]
    lost: list[str]


class _Named(Shape):
    name: str
    expect: Literal["safe"] | list[str]


class _Healed(Shape):
    fault: str
    ordering: str


class _Crossed(_Searched):
    pairs: Count


class MatrixShape(DocumentShape):
    """The whole of matrix.json."""

    orderings: list[_Named]
    machines: Annotated[dict[str, Annotated[list[_MatrixMachine], Field(min_length=1)]], Field(min_length=1)]
    verdicts: dict[str, str]
    explored: _Crossed
    summary: dict[str, Count]
    breaks_a_right_order: dict[str, list[str]]
    hidden: dict[str, list[str]]
    heals: list[_Healed]
    pairs: list[_Pair]

    @model_validator(mode="after")
    def _whole(self) -> "MatrixShape":
        rows = {(pair.flow, pair.fault) for pair in self.pairs}
        names = {one.name for one in self.orderings}
        due = len(self.pairs) == len(rows) * len(names) and {pair.ordering for pair in self.pairs} == names
        due = due and {one.ordering for one in self.heals} <= names
        if not due or not set(self.summary) <= set(self.verdicts):
            raise ValueError(f"expected each of {len(rows)} rows with each of {len(names)} orderings, once")
        return self


class _Tried(JudgedShape, SizeShape):
    tlb_entries: Count
    states: Count
    seconds: Seconds
    stopped_by: str
    failing: dict[str, Count]


class _ClaimRace(JudgedShape, ActorsShape):
    ending: str
    notes: list[str]
    caught: bool
    seconds: Seconds
    shootdowns: Count
    met: Count
    would_have_caught: Share | None
    tries: Count


class _Claim(OrderingShape):
    faults: list[str]
    explored: list[_Tried]
    to_race: bool
    race: _ClaimRace | None


class SelftestShape(DocumentShape):
    """The whole of selftest.json."""

    claims: list[_Claim]
