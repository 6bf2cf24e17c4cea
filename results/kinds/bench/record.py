"""What a bench leaves, as a value: `bench.json`, schema `tdx-stress/bench/1`, and the names of the arrays beside it.

A *race* is one ordering run once in fresh processes; a *round* is every arm raced once at every point, on one machine;
`hosts` has the facts of each that ran some; a *point* is one value of the sweep ("vcpus=8"), or "" without a sweep; an
*arm* is an ordering's place in the bench: "A" is the first ordering, "A2" its second copy (the A/A arm), then "B", "C",
... Only finished rounds stand in the record.

`rounds/0001.npz` holds the histograms (HIST_WORDS counts: `results.numbers.statistics`) of each race of round 1 under
`<point>/<arm>/hist/<name>` (`<arm>/hist/<name>` without a sweep), and the ages of its stale reads under `.../ages`.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from results.figures import BY_ID
from results.kinds.shape import CaveatShape, HostShape, ScenarioShape
from results.numbers.statistics import clock_step_ns
from results.store import trouble_by
from results.verdict import Ending, Verdict

BENCH_SCHEMA = "tdx-stress/bench/1"
BENCH, ROUNDS = "bench.json", "rounds"
REFERENCE, AGAIN = "A", "A2"
MACHINE = "machine"  # an axis along which machines stand side by side
MOST_ROUNDS, MOST = 9_999, 1 << 63
Number = Annotated[int, Field(ge=1, le=MOST_ROUNDS)]
Count = Annotated[int, Field(ge=0, lt=MOST)]
Figure = Count | Annotated[float, Field(ge=0)]
Finding = Literal["differs", "no_difference", "too_few", "not_comparable"]


class Part(BaseModel):
    """What every part of a record is: without unknown keys, without NaN, not to be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)


class Arm(Part):
    """An ordering's place in the bench. `parameters` are the ordering's own, every key of them; `changed` those that
    are not as its file has them.
    """

    arm: str
    ordering: str
    title: str
    source: str = ""
    expect: str | tuple[str, ...]
    shootdown: tuple[str, ...] = ()
    perturbed: bool = False
    parameters: dict[str, Any] = Field(default_factory=dict)
    changed: dict[str, Any] = Field(default_factory=dict)

    @property
    def its(self) -> dict[str, Any]:
        """As `results.words` takes it."""
        return {key: getattr(self, key) for key in ("ordering", "title", "shootdown", "parameters", "changed")}

    @property
    def safe(self) -> bool:
        """Whether no forbidden outcome is expected of it."""
        return self.expect == "safe"


class Sweep(Part):
    """The axis: a key of the scenario and its values in the order given; `points` name them in the races."""

    key: str
    values: tuple[int | float | str, ...]
    points: tuple[str, ...]

    def value(self, point: str) -> int | float | str:
        """The value of this point."""
        return self.values[self.points.index(point)]

    @property
    def unit(self) -> str:
        """Of the values as `numbers` has them: "us" of durations, "" of anything else."""
        return "us" if any(isinstance(value, str) for value in self.values) and self.numbers else ""

    @property
    def numbers(self) -> tuple[float, ...]:
        """The values in order, durations in microseconds; none where one is a word."""
        found = [_microseconds(value) if isinstance(value, str) else value for value in self.values]
        words = any(value is None or isinstance(value, bool) for value in found)
        return () if words else tuple(float(value) for value in found if value is not None)

    def over(self, scenario: Mapping[str, Any], value: Any) -> dict[str, Any]:
        """The scenario with this value of the key, which may be one of a table: `costs.track`."""
        head, dot, rest = self.key.partition(".")
        return {**scenario, head: {**scenario.get(head, {}), rest: value} if dot else value}


_DURATION = re.compile(r"([0-9.]+)(ns|us|ms)")
_UNITS_US = {"ns": 1e-3, "us": 1.0, "ms": 1e3}


def _microseconds(text: str) -> float | None:
    found = _DURATION.fullmatch(text)
    return 0.0 if text == "0" else float(found[1]) * _UNITS_US[found[2]] if found else None


class Design(Part):
    """How the bench was laid out. Times in seconds; `budget_s` is None where `rounds` were asked for.

    `rounds` is how many there shall be, as far as is known; with a budget the machine's speed decides.
    """

    rounds: int
    budget_s: float | None
    duration_s: float
    warmup_s: float
    seed: int


class Race(Part):
    """One ordering raced once. `place` is its turn within the round, from 0.

    `outcomes` are the events of each outcome that was seen, over the whole race; `forbidden_shootdowns` counts what
    fails. `figures` holds every id of `results.figures.FIGURES`, None where this race could not measure it. Of the
    `measured` shootdowns `met` met a vCPU, of all of them `met_shootdowns`. `own_share`: of the time that actors wanted
    the CPUs for. `machine` is the random id of the one that ran it. An earlier version did not tell what has a default.
    """

    round: Number
    point: str
    place: int
    arm: str
    ordering: str
    seed: int
    verdict: Verdict
    reason: str
    ending: Ending
    seconds: float
    all_shootdowns: Count
    met_shootdowns: Count | None = None
    forbidden_shootdowns: Count
    outcomes: dict[str, Count]
    steal_share: float | None
    own_share: float | None = None
    figures: dict[str, Figure | None]
    met: Count | None = None
    measured: Count = 0
    machine: str = ""


class Comparison(Part):
    """One figure of one arm against arm A at one point: the ratio is this arm's value over A's.

    A2 has one comparison a figure, over all points together (`point` is ""), whose interval holds for all figures at
    once: it leaves 1 out just where `aa.differs`.

    `ratio` is the median of the rounds' ratios with its 95 % bootstrap interval `low` to `high`; all three are None
    where there is no ratio, because a value was 0, there were too few rounds, or the two are not comparable. `p` is of
    this arm's places beside A and A2 in the rounds, `holm_p` corrected for all other comparisons (for A2: of the
    sign-flip test, corrected for the other figures). `could_have_shown` is the smallest ratio (above 1) that a bench
    like this one shows 4 times in 5. `value` and `reference` are medians over the rounds, in the figure's unit.
    """

    figure: str
    point: str
    arm: str
    ordering: str
    rounds: int
    reference: float | None
    value: float | None
    ratio: float | None
    low: float | None
    high: float | None
    p: float | None
    holm_p: float | None
    could_have_shown: float | None
    finding: Finding
    verdict_text: str


class Slope(Part):
    """How a figure of an ordering grows along the sweep: as the axis to the power of `slope`, with a 95 % interval.

    All three are None where no power law was shown to hold; `why_none` says why. `medians` are those of the points.
    """

    figure: str
    arm: str
    ordering: str
    slope: float | None
    low: float | None
    high: float | None
    points: int
    why_none: str = ""
    medians: tuple[float, ...] = ()


class AA(Part):
    """Whether the first ordering differs from itself; `p` is the smallest over all figures, corrected for them."""

    differs: bool
    p: float
    sentence: str


class Bench(Part):
    """The whole of `bench.json`. `scenario` is the resolved one, its `orderings` the names; `sweep` overrides a key.

    `comparisons`, `slopes` and `aa` are made from `rounds` by `found` in `findings.py`, and can be made again.
    """

    schema_: Literal["tdx-stress/bench/1"] = Field(default="tdx-stress/bench/1", alias="schema")
    command: tuple[str, ...]
    version: str
    commit: str | None
    seed: int
    started: str
    host: dict[str, Any]
    hosts: dict[str, dict[str, Any]] = Field(default_factory=dict)
    caveats: tuple[dict[str, str], ...] = ()
    scenario: dict[str, Any]
    design: Design
    sweep: Sweep | None = None
    arms: tuple[Arm, ...]
    rounds: tuple[Race, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    slopes: tuple[Slope, ...] = ()
    aa: AA | None = None
    seconds: float = 0.0

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True, defer_build=True)

    @model_validator(mode="after")
    def _holds_together(self) -> "Bench":
        """Whole rounds of known arms and points, on a machine and under a scenario that can be shown."""
        troubles = [trouble_by(HostShape, self.host), trouble_by(ScenarioShape, self.scenario)]
        for wrong in filter(None, [*troubles, *(trouble_by(CaveatShape, one) for one in self.caveats)]):
            raise ValueError(wrong)
        arms = [arm.arm for arm in self.arms]
        if arms[:2] != [REFERENCE, AGAIN] or len(set(arms)) < len(arms):
            raise ValueError(
                f"expected arms {REFERENCE}, {AGAIN} and others once each, found {', '.join(arms) or 'none'}"
            )
        if self.sweep and not 0 < len(set(self.sweep.points)) == len(self.sweep.points) == len(self.sweep.values):
            raise ValueError("expected as many points as values in sweep, each once")
        names = [(arm.arm, arm.ordering) for arm in self.arms]
        due = {(number, point, *its) for point in self.points for number in self._rounds_at(point) for its in names}
        raced = [(race.round, race.point, race.arm, race.ordering) for race in self.rounds]
        if len(raced) != len(due) or set(raced) != due:
            missing = next(iter(sorted(due - set(raced))), raced[-1] if raced else ())
            raise ValueError(f"expected whole rounds, each point and arm once, found another number of {missing}")
        return self

    def _rounds_at(self, point: str) -> Sequence[int]:
        """The rounds there should be: all, but of a machine those that it ran."""
        if self.sweep is None or self.sweep.key != MACHINE:
            return self.numbers
        return sorted({race.round for race in self.rounds if race.point == point})

    @property
    def is_real(self) -> bool:
        """Whether its arms are the model's ways to kick and the kernel's own shootdowns."""
        return bool(self.scenario.get("real"))

    @property
    def once(self) -> tuple[Arm, ...]:
        """The arms without the second copy of the first."""
        return tuple(arm for arm in self.arms if arm.arm != AGAIN)

    @property
    def others(self) -> tuple[Arm, ...]:
        """The arms that are held against the first."""
        return self.once[1:]

    @property
    def points(self) -> tuple[str, ...]:
        """The points in the order of the sweep; one, "", without a sweep."""
        return self.sweep.points if self.sweep else ("",)

    @property
    def numbers(self) -> list[int]:
        """The rounds that are whole, which need not follow each other where others ran elsewhere."""
        return sorted({race.round for race in self.rounds})

    @property
    def finished_rounds(self) -> int:
        return len(self.numbers)

    @property
    def machines(self) -> tuple[str, ...]:
        """Those that ran rounds, each of them whole ones."""
        return tuple(sorted({race.machine for race in self.rounds})) or ("",)

    @property
    def ran_on(self) -> list[str]:
        """The machine of each round, in order."""
        known = {race.round: race.machine for race in self.rounds}
        return [known[number] for number in self.numbers]

    @property
    def clock_step_ns(self) -> float:
        """The step of the clock that its latencies were read by, the widest of its machines'."""
        ids = [figure.id for figure in BY_ID.values() if figure.unit == "ns"]
        parts = ([race.figures.get(id) for race in self.on(one).rounds for id in ids] for one in self.machines)
        return max(map(clock_step_ns, parts))

    def on(self, machine: str) -> "Bench":
        """What this machine ran of it."""
        rounds = tuple(race for race in self.rounds if race.machine == machine)
        return self.model_copy(update={"rounds": rounds, "host": self.hosts.get(machine, self.host)})

    def races(self, point: str | None, arm: str) -> list[Race]:
        """Those of one arm at one point, at all of them where that is None."""
        return [race for race in self.rounds if point in (None, race.point) and race.arm == arm]

    def values(self, point: str | None, arm: str, figure: str) -> list[float]:
        """The figure in those of these races that measured it, by round."""
        return [value for race in self.races(point, arm) if (value := race.figures.get(figure)) is not None]

    def median(self, point: str | None, arm: str, figure: str) -> float | None:
        """The median of these; None where there are none."""
        values = self.values(point, arm, figure)
        return float(median(values)) if values else None

    def json_text(self) -> str:
        """The text of the file: one race a line would be shorter, one key a line is what people can diff."""
        return self.model_dump_json(by_alias=True, indent=1) + "\n"


def by_round(bench: Bench, point: str, arm: str, figure: str) -> list[float | None]:
    """The figure in every finished round; None where it could not be measured."""
    values: dict[int, float | None] = {race.round: race.figures.get(figure) for race in bench.races(point, arm)}
    return [values.get(number) for number in bench.numbers]


def round_file(directory: Path, number: int) -> Path:
    """Where the arrays of this round stand."""
    return directory / ROUNDS / f"{number:04d}.npz"


def array_name(point: str, arm: str, name: str) -> str:
    """The name of an array in a round's file, such as `vcpus=8/A2/hist/shootdown`; without a sweep `A2/...`."""
    return "/".join(part for part in (point, arm, name) if part)
