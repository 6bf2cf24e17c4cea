"""real.json: what a real race leaves, in the form of a run's record where it is the same thing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from kernels.layout import HIST_WORDS
from results.caveats import Caveat, caveat, caveats, of_several_machines
from results.kinds.run.record import PhaseShape, RacedShape
from results.kinds.shape import ActorsShape, CaveatShape, Count, DocumentShape, HostShape, Shape
from results.store import RAW, StoreError, read_arrays, read_document
from results.verdict import MET
from results.words import per_second, plural

SCHEMA, FILE = "tdx-stress/real/1", "real.json"
EMULATED_READS_PER_S = 1e6  # measured: 22,000 where each is emulated, 3e8 where none is
HELD = "held_by_"  # the name of a latency: of the shootdowns of pages that so many vCPUs held


class _Met(Shape):
    shootdowns: Count


class _Run(RacedShape):
    expect: Literal["safe"]
    faults: list[str]
    vcpus_entered: Count
    met: _Met
    latency_ns: dict[Annotated[str, Field(pattern=rf"^({MET}|{HELD}[0-9]+)$")], PhaseShape]
    interrupts: dict[str, int]
    kvm: dict[str, Count] = Field(default_factory=dict)


class _Scenario(ActorsShape):
    name: str
    title: str
    pages: Count
    arms: list[str] = Field(default_factory=list)


class RealShape(DocumentShape):
    """The whole of real.json."""

    host: HostShape
    caveats: list[CaveatShape]
    scenario: _Scenario
    runs: list[_Run]


def read_real(directory: Path) -> dict[str, Any]:
    """The dict of real.json, sound, and with sound arrays or none. Raises StoreError."""
    document = read_document(directory / FILE, "a real run", {SCHEMA: RealShape})
    histograms(directory, document)
    return document


def histograms(directory: Path, document: dict[str, Any]) -> dict[str, NDArray[np.int64]]:
    """The histograms beside it, by arm and name; none where they were not kept. Raises StoreError."""
    if not (directory / RAW).exists():
        return {}
    arrays = read_arrays(directory / RAW, "a real run")
    for run in document["runs"]:
        for name in run["latency_ns"]:
            key = f"{run['ordering']}/hist/{name}"
            found = arrays.get(key)
            if found is None or found.shape != (HIST_WORDS,) or found.dtype != np.int64:
                raise StoreError(f"{directory / RAW}: {key}: expected int64 of shape ({HIST_WORDS},), found none such")
    return arrays


def real_caveats(host: dict[str, Any], scenario: dict[str, Any], runs: list[dict[str, Any]]) -> list[Caveat]:
    """What to know before believing the numbers: of the machine, and of who shares CPUs and interrupts."""
    return [*caveats(host, {}, []), *of_several_machines(runs), *_of_a_real_race(host, scenario["vcpus"], runs)]


def _of_a_real_race(host: dict[str, Any], vcpus: int, runs: list[dict[str, Any]]) -> Iterator[Caveat]:
    cpus = host.get("cpus_allowed") or 1
    if vcpus + 1 > cpus > 1:
        yield caveat(
            "oversubscribed",
            f"{plural(vcpus, 'vCPU')} on {plural(cpus - 1, 'CPU')}, beside the zapper's",
            "those that do not run hold no TLB entry to be flushed at once, and get no IPI",
            f"--vcpus {cpus - 1}",
        )
    guests = [run for run in runs if run["ordering"] in ("kvm", "guest_memfd")]
    if slow := [run for run in guests if 0 < run["reads_per_s"] < EMULATED_READS_PER_S]:
        yield caveat(
            "emulated_guest",
            f"no hardware TLB, as {per_second(slow[0]['reads_per_s'])} guest reads a second are emulated: says "
            "nothing about flushes",
            "a hypervisor without hardware paging: no TLB of a CPU holds what the guest reads",
            "another hypervisor, or `run memfd`",
        )
    if any(run["interrupts"] for run in runs):
        yield caveat(
            "others_interrupts",
            "interrupts are counted over the whole machine",
            "those of other processes are among them; a vCPU that does not run just then gets none",
            "an idle machine",
        )
