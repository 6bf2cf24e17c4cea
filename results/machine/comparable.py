"""Whether two results can be compared: how the machines that made them differ, in sentences. Pure.

From `host` of two results. What changes no figure (memory, load average, Python) is not looked at, nor what only one of
them has recorded; what changes every figure comes first.
"""

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from results.machine.findings import BUSY, POOR_CLOCK_PPM
from results.words import nanoseconds, tenths

Host = Mapping[str, Any]
# Measured twice on one idle machine these stay within so much of each other.
ALIKE = 1.5
# Shorter than that a difference is the clock's grain, not the machine's.
GRAIN_NS = 20


class Fact(NamedTuple):
    """One fact that both must share; `consequence` is what a difference does to a comparison."""

    key: str
    name: str
    consequence: str
    shown: Callable[[Any], str] = str


class Kind(StrEnum):
    """What two results differ in: the machine itself, what was measured of it, or the moment."""

    machine = "machine"
    measure = "measure"
    moment = "moment"


class Difference(NamedTuple):
    """One difference, and what it does to a comparison."""

    kind: Kind
    seen: str
    means: str

    @property
    def text(self) -> str:
        return f"{self.seen}: {self.means}."


def _yes(value: Any) -> str:
    return "on" if value else "off"


FACTS = (
    Fact("machine", "architecture", "nothing is comparable but verdicts"),
    Fact("cpu_model", "CPU", "latency is another CPU's"),
    Fact("hypervisor", "hypervisor", "tails are another host's"),
    Fact("cpus_allowed", "number of CPUs", "other actors had to share one"),
    Fact("cpus_used", "CPUs raced on", "other pairs of CPUs are nearer or farther apart"),
    Fact("cpu_quota", "CPU quota", "the control group stopped actors at other times", "{:g}".format),
    Fact("smt", "SMT", "actors shared cores differently", _yes),
    Fact("governor", "frequency governor", "the clock rate was another"),
    Fact("constant_tsc", "constant timestamp counter", "timestamps cost and tell other times", _yes),
    Fact("clocksource", "clock source", "timestamps may be worth less in one of them"),
    Fact("kernel", "kernel", "scheduling, and so tails, may differ"),
    Fact("numba", "numba", "the kernels are other machine code"),
)
MEASURES = (
    Fact("round_trip_ns", "core-to-core round trip", "latencies compare only as multiples of it", nanoseconds),
    Fact("empty_shootdown_ns", "empty shootdown", "the steps alone take another time", nanoseconds),
    Fact("timer_ns", "reading of the clock", "every phase contains one", tenths),
)


def alike(a_ns: float, b_ns: float) -> bool:
    """Whether one machine that did not change may have given both figures."""
    return max(a_ns, b_ns) <= ALIKE * min(a_ns, b_ns) or abs(a_ns - b_ns) <= GRAIN_NS


def differing(host_a: Host, host_b: Host) -> Iterator[Difference]:
    """Each difference that matters, none where the two can be compared; last what was wrong with one of the moments."""
    for fact in FACTS:
        a, b = host_a.get(fact.key), host_b.get(fact.key)
        if a != b and fact.key in host_a and fact.key in host_b:
            told = [fact.shown(value) if value is not None else "none or not told" for value in (a, b)]
            seen = f"{fact.name}: {told[0]} in the first, {told[1]} in the second"
            yield Difference(Kind.machine, seen, fact.consequence)
    for fact in MEASURES:
        a, b = host_a.get(fact.key), host_b.get(fact.key)
        if a is None and b is None:
            continue
        if a is None or b is None:
            known = "second" if a is None else "first"
            seen = f"{fact.name}: known for the {known} only"
            yield Difference(Kind.measure, seen, "whether the machines ran alike cannot be judged by it")
        elif not alike(a, b):
            times = f"{max(a, b) / max(min(a, b), 0.1):.1f}x"
            seen = f"{fact.name}: {fact.shown(a)} in the first, {fact.shown(b)} in the second ({times})"
            yield Difference(Kind.measure, seen, fact.consequence)
    for which, host in (("first", host_a), ("second", host_b)):
        if (host.get("busy") or 0) > BUSY:
            seen = f"load: {100 * host['busy']:.0f} % of the CPUs' time was taken before the {which}"
            yield Difference(Kind.moment, seen, "not ours alone")
        if (host.get("clock_error_ppm") or 0) > POOR_CLOCK_PPM:
            seen = f"clock: known only to {host['clock_error_ppm']:.0f} ppm in the {which}"
            yield Difference(Kind.moment, seen, "its times may be wrong by as much")
