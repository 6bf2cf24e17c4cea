"""What `result.json` and `raw.npz` must hold to be shown again: checked once, when a directory is read."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, model_validator

from kernels.layout import HIST_WORDS
from kernels.tdx.counters import AGE_BUCKETS
from kernels.tdx.outcomes import OUTCOMES, Grade
from results.kinds.shape import (
    ActorsShape,
    CaveatShape,
    Count,
    DocumentShape,
    HostShape,
    OrderingShape,
    ParametersShape,
    ScenarioShape,
    Seconds,
    Shape,
    Share,
)
from results.store import RAW, RESULT, StoreError, read_arrays, read_document
from results.verdict import MET, Ending, judge

# Percentiles whose intervals sentences are made of.
WITH_INTERVAL = ("p50", "p90", "p99")


class OutcomeShape(Shape):
    id: str
    grade: Annotated[Grade, Field(strict=False)]
    count: Count
    shootdowns: Count | None
    of: Count
    rate: Share | None
    ci95: tuple[Share, Share] | None = Field(strict=False)
    would_have_caught: Share | None
    met: Count | None = None


class _Met(Shape):
    kicks: Count
    shootdowns: Count


class _Intervals(Shape):
    p50: tuple[Count, Count] | None = Field(strict=False)
    p90: tuple[Count, Count] | None = Field(strict=False)
    p99: tuple[Count, Count] | None = Field(strict=False)
    p999: tuple[Count, Count] | None = Field(strict=False, default=None)


class PhaseShape(Shape):
    n: Count
    min: Count | None
    p50: Count | None
    p90: Count | None
    p99: Count | None
    p999: Count | None
    max: Count | None
    ci95: _Intervals

    @model_validator(mode="after")
    def _intervals_where_percentiles_are(self) -> "PhaseShape":
        bare = [n for n in WITH_INTERVAL if getattr(self, n) is not None and getattr(self.ci95, n) is None]
        if bare:
            raise ValueError(f"expected an interval in ci95 for {', '.join(bare)}, found none")
        return self


class _Latency(Shape):
    model_config = ConfigDict(extra="allow", strict=True)
    __pydantic_extra__: dict[str, PhaseShape] = Field(init=False)
    shootdown: PhaseShape


class _VcpuTimes(Shape):
    out_of_guest: PhaseShape
    gate_wait: PhaseShape


class _Mean(Shape):
    mean: Seconds
    max: Count


class _Contention(Shape):
    lock: str
    seamcall: str
    held_by: dict[str, Count]
    tries: _Mean | None
    got_after_ns: _Mean | None


class RacedShape(OrderingShape, ActorsShape):
    """What every race of an ordering, of the model or of the kernel, leaves."""

    ordering: Annotated[str, Field(min_length=1)]
    ending: Annotated[Ending, Field(strict=False)]
    notes: list[str]
    perturbed: bool
    seconds: Seconds
    reads_per_s: Seconds
    shootdowns_per_s: Seconds
    all_shootdowns: Count
    all_reads: Count
    outcomes: list[OutcomeShape]


class _Run(RacedShape):
    title: str
    shootdown: list[str]
    vcpus_entered: Count
    shootdowns: Count
    warmup_s: Seconds
    met: _Met | None = None  # of a result of an earlier version
    lock_contention: list[_Contention] = Field(default_factory=list)
    source: str = ""
    steal_share: Share | None = None
    own_share: Share | None = None
    out_of_guest_share: Seconds | None = None
    perturbation: dict[str, Any] | None = None
    parameters: ParametersShape = ParametersShape()
    changed: dict[str, Any] = Field(default_factory=dict)
    own: bool = True
    bug_on: Count = 0
    trace: dict[str, Any] | None = None
    stale_age_epochs: dict[str, Count]
    latency_ns: _Latency
    vcpu_ns: _VcpuTimes
    track_retries: _Mean

    @model_validator(mode="after")
    def _an_age_for_every_bucket(self) -> "_Run":
        if missing := [str(age) for age in range(AGE_BUCKETS) if str(age) not in self.stale_age_epochs]:
            raise ValueError(f"expected stale_age_epochs for 0 to {AGE_BUCKETS - 1}, found none for {missing[0]}")
        return self


class ResultShape(DocumentShape):
    """The whole of result.json."""

    host: HostShape
    scenario: ScenarioShape
    caveats: list[CaveatShape]
    runs: list[_Run]
    seed: int = 0

    @model_validator(mode="after")
    def _every_ordering_once(self) -> "ResultShape":
        names = [run.ordering for run in self.runs]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"expected every ordering once in runs, found {min(twice)} again")
        return self


def trouble_with_arrays(result: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> str | None:
    """What is wrong with the arrays beside a sound result, in one line; None where nothing is.

    Arrays may be missing: an ordering that measured nothing has none to show.
    """
    for run in result["runs"]:
        name = run["ordering"]
        for key, array in arrays.items():
            if key.startswith(f"{name}/") and (trouble := _trouble_with_array(key.removeprefix(f"{name}/"), array)):
                return f"{key}: {trouble}"
        for phase in {MET, "shootdown"} & set(run["latency_ns"]):
            counts, n = arrays.get(f"{name}/hist/{phase}"), run["latency_ns"][phase]["n"]
            if counts is not None and int(counts.sum()) != n:
                return f"{name}/hist/{phase}: expected the {n:,} samples of result.json, found {int(counts.sum()):,}"
        rows = {len(array) for key, array in arrays.items() if key.startswith(f"{name}/series/")}
        if len(rows) > 1:
            return f"{name}/series: expected arrays of one length, found {', '.join(map(str, sorted(rows)))}"
    return None


def _trouble_with_array(key: str, array: NDArray[Any]) -> str | None:
    shapes = {"hist": (HIST_WORDS,), "ages": (AGE_BUCKETS,), "series/outcomes": (*array.shape[:1], OUTCOMES)}
    expected = shapes.get(key) or shapes.get(key.split("/")[0])
    if expected is not None and array.shape != expected:
        return f"expected shape {expected}, found {array.shape}"
    if key == "series/time_s":
        sound = array.ndim == 1 and array.dtype == np.float64 and bool(np.isfinite(array).all())
        return None if sound else "expected finite seconds in one dimension"
    if expected is not None and (array.dtype != np.int64 or bool((array < 0).any())):
        return f"expected counts as int64 of 0 or more, found {array.dtype}"
    return None


SCHEMA = "tdx-stress/result/1"


@dataclass(frozen=True, slots=True)
class Stored:
    """A result read back: its dict and the arrays of raw.npz, none where only the text was kept."""

    result: dict[str, Any]
    arrays: dict[str, NDArray[Any]]


def read_result(directory: Path) -> Stored:
    """Read a run's directory back, `runs/latest` or any other. Raises StoreError where it holds no whole result; one
    that is kept without its raw.npz is whole."""
    return with_arrays(directory, read_result_json(directory), "a run")


def read_result_json(directory: Path) -> dict[str, Any]:
    """The dict of result.json alone, sound; runs of an earlier version, which did not count the shootdowns that met a
    vCPU, with today's verdict. Raises StoreError.
    """
    result = read_document(directory / RESULT, "a run", {SCHEMA: ResultShape})
    runs = [run if run.get("met") else {**run, **judge(run).fields} for run in result["runs"]]
    return {**result, "runs": runs}


def with_arrays(directory: Path, result: dict[str, Any], what: str) -> Stored:
    """A sound result with the arrays beside it, none where they were not kept. Raises StoreError."""
    if not (directory / RAW).exists():
        return Stored(result, {})
    arrays = {name: _with_every_outcome(name, array) for name, array in read_arrays(directory / RAW, what).items()}
    if trouble := trouble_with_arrays(result, arrays):
        raise StoreError(f"{directory / RAW}: {trouble}")
    return Stored(result, arrays)


def _with_every_outcome(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """A series of an earlier version has columns for the outcomes of then, which are the first of today's."""
    if not name.endswith("/series/outcomes") or array.ndim != 2 or not 0 < array.shape[1] < OUTCOMES:
        return array
    return np.pad(array, ((0, 0), (0, OUTCOMES - array.shape[1])))
