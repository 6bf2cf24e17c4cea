"""What `result.json` and `raw.npz` must hold to be shown again: checked once, when a directory is read.

A directory may come from another machine, an older version or a broken copy. Here each field that tables, pictures and
pages rely on is declared; what is missing or of another kind is one line that names it. Fields that are not declared
are kept as they are: a newer run may know more.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from kernels.layout import AGE_BUCKETS, HIST_WORDS
from kernels.tdx.outcomes import OUTCOMES
from results.grades import Grade
from results.store import (
    MOST_JSON,
    RAW,
    RESULT,
    StoreError,
    json_value,
    read_arrays,
    shortened,
    stored_bytes,
    trouble_by,
)
from results.verdict import MET, Ending, Verdict

# Percentiles whose intervals sentences are made of.
WITH_INTERVAL = ("p50", "p90", "p99")
Count = Annotated[int, Field(ge=0, lt=1 << 63)]
Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class _Outcome(_Shape):
    id: str
    grade: Annotated[Grade, Field(strict=False)]
    count: Count
    shootdowns: Count | None
    of: Count
    rate: Share | None
    ci95: tuple[Share, Share] | None = Field(strict=False)
    would_have_caught: Share | None
    met: Count | None = None


class _Met(_Shape):
    kicks: Count
    shootdowns: Count


class _Intervals(_Shape):
    p50: tuple[Count, Count] | None = Field(strict=False)
    p90: tuple[Count, Count] | None = Field(strict=False)
    p99: tuple[Count, Count] | None = Field(strict=False)
    p999: tuple[Count, Count] | None = Field(strict=False, default=None)


class _Phase(_Shape):
    n: Count
    min: Count | None
    p50: Count | None
    p90: Count | None
    p99: Count | None
    p999: Count | None
    max: Count | None
    ci95: _Intervals

    @model_validator(mode="after")
    def _intervals_where_percentiles_are(self) -> "_Phase":
        bare = [n for n in WITH_INTERVAL if getattr(self, n) is not None and getattr(self.ci95, n) is None]
        if bare:
            raise ValueError(f"expected an interval in ci95 for {', '.join(bare)}, found none")
        return self


class _Latency(_Shape):
    model_config = ConfigDict(extra="allow", strict=True)
    __pydantic_extra__: dict[str, _Phase] = Field(init=False)
    shootdown: _Phase


class _VcpuTimes(_Shape):
    out_of_guest: _Phase
    gate_wait: _Phase


class _Mean(_Shape):
    mean: Seconds
    max: Count


class _Contention(_Shape):
    lock: str
    seamcall: str
    held_by: dict[str, Count]
    tries: _Mean | None
    got_after_ns: _Mean | None


class _Run(_Shape):
    ordering: Annotated[str, Field(min_length=1)]
    title: str
    shootdown: list[str]
    expect: Literal["safe"] | list[str]
    verdict: Annotated[Verdict, Field(strict=False)]
    reason: str
    ending: Annotated[Ending, Field(strict=False)]
    notes: list[str]
    perturbed: bool
    vcpus: Count
    zappers: Count
    shootdowns: Count
    seconds: Seconds
    warmup_s: Seconds
    reads_per_s: Seconds
    shootdowns_per_s: Seconds
    all_shootdowns: Count
    all_reads: Count
    met: _Met | None = None  # of a result of an earlier version
    outcomes: list[_Outcome]
    lock_contention: list[_Contention] = []
    source: str = ""
    steal_share: Share | None = None
    out_of_guest_share: Seconds | None = None
    perturbation: dict[str, Any] | None = None
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


class _Caveat(_Shape):
    id: str
    seen: str
    means: str
    try_: str = Field(alias="try")


class HostShape(_Shape):
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


class ScenarioShape(_Shape):
    """What is shown of a scenario."""

    name: str
    vcpus: Count
    zappers: Count
    pages: Count
    rate: Seconds = 0.0
    batch: Count = 1
    title: str = ""
    flow: str = "shootdown"
    workers: str = "process"
    placement: str = "mixed"


class _Result(_Shape):
    host: HostShape
    scenario: ScenarioShape
    caveats: list[_Caveat]
    runs: list[_Run]
    command: list[str] = []
    started: str = ""
    version: str = "unknown"
    commit: str | None = None
    seed: int = 0

    @model_validator(mode="after")
    def _every_ordering_once(self) -> "_Result":
        names = [run.ordering for run in self.runs]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"expected every ordering once in runs, found {min(twice)} again")
        return self


def trouble_with(result: Any) -> str | None:
    """What keeps this from being shown, in one line: `runs[0].latency_ns.shootdown.p50: Field required`; None if sound.

    Where there is more than one trouble, the first with how many follow.
    """
    return trouble_by(_Result, result)


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
    shapes = {
        "hist": (HIST_WORDS,),
        "ages": (AGE_BUCKETS,),
        "series/outcomes": (len(array) if array.ndim else 0, OUTCOMES),
    }
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
    """A result read back: the dict of result.json and the arrays of raw.npz, none where only the text was kept."""

    result: dict[str, Any]
    arrays: dict[str, NDArray[Any]]


def read_result(directory: Path) -> Stored:
    """Read a run's directory back, `runs/latest` or any other. Raises StoreError where it holds no whole result; one
    that is kept without its raw.npz is whole."""
    result = read_result_json(directory)
    if not (directory / RAW).exists():
        return Stored(result, {})
    arrays = read_arrays(directory / RAW, "a run")
    if trouble := trouble_with_arrays(result, arrays):
        raise StoreError(f"{directory / RAW}: {trouble}")
    return Stored(result, arrays)


def read_result_json(directory: Path) -> dict[str, Any]:
    """The dict of result.json alone, sound. Raises StoreError."""
    where = directory / RESULT
    result = json_value(where, stored_bytes(where, MOST_JSON, "the directory of a run"))
    found = result.get("schema") if isinstance(result, dict) else None
    if found != SCHEMA:
        raise StoreError(f"{where}: expected schema {SCHEMA}, found {shortened(found)}")
    if trouble := trouble_with(result):
        raise StoreError(f"{where}: {trouble}")
    return dict(result)
