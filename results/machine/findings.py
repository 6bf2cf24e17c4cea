"""What a check of the machine says: findings as data, one judgement over all of them, and both on a terminal. Pure."""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple

from rich.console import Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from results.table import Table
from results.words import plural

Facts = Mapping[str, Any]


class Limits(Enum):
    """What a finding takes from a result, from nothing to everything."""

    nothing = "nothing"
    absolute = "absolute latency"
    latency = "latency"
    verdicts = "verdicts"
    everything = "everything"


FROM_BEST_TO_WORST = tuple(Limits)
SENTENCES = {
    Limits.nothing: "good for verdicts and for latency",
    Limits.absolute: "good for verdicts; latency only as ratios",
    Limits.latency: "good for verdicts; latency is mostly noise now",
    Limits.verdicts: "weak for verdicts: a wrong ordering may go unseen, a safe one be inconclusive; no latency",
    Limits.everything: "not fit: no result is to be had or to be believed",
}


class Finding(NamedTuple):
    """One fact and what it means. `id` is stable, the rest is for people; `try_` is "" where there is nothing to do. Of
    which check it is, its `id` and `what`, is said where that is declared.
    """

    found: str
    means: str
    try_: str = ""
    limits: Limits = Limits.nothing
    id: str = ""
    what: str = ""

    def as_dict(self) -> dict[str, str]:
        """As `doctor --json` prints it."""
        told = {"id": self.id, "what": self.what, "found": self.found, "means": self.means, "try": self.try_}
        return {**told, "limits": self.limits.value}


class Judgement(NamedTuple):
    """What the machine is good for, and the findings, by their `what`, that keep it from being better."""

    limits: Limits
    because: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """`good for verdicts; latency only as ratios (hypervisor, frequency)`."""
        return SENTENCES[self.limits] + (f" ({', '.join(self.because)})" if self.because else "")

    def as_dict(self) -> dict[str, Any]:
        """As `doctor --json` prints it."""
        return {"limits": self.limits.value, "sentence": self.sentence, "because": list(self.because)}


def judge(findings: Sequence[Finding]) -> Judgement:
    """As good as the worst finding."""
    worst = max((finding.limits for finding in findings), key=FROM_BEST_TO_WORST.index, default=Limits.nothing)
    if worst is Limits.nothing:
        return Judgement(worst, ())
    return Judgement(worst, tuple(finding.what for finding in findings if finding.limits is worst))


HIGH_STEAL, BUSY, POOR_CLOCK_PPM = 0.01, 0.25, 100
# What keeps a machine from being good, and what to try: a finding of `doctor`, and a caveat of what ran there.
MEANS = {
    "counter": (
        "its rate is not constant, so time comes from clock_gettime: tens of ns a reading, short phases coarse",
        "another machine for latency",
    ),
    "cpu_quota": (
        "the control group stops every actor when its share is used up: tails of some 100 ms",
        "a container without a CPU limit",
    ),
    "frequency": (
        "the clock rate follows the load: the first shootdowns are slower, and so are quiet CPUs",
        "cpupower frequency-set -g performance, or a longer --warmup",
    ),
    "hypervisor": (
        "the host below may take CPUs away or move them: tails, and identical runs, differ",
        "bare metal for latency",
    ),
    "load": (
        "others run here, too: latency is theirs as well as ours",
        "an idle machine, or --cpus away from the others",
    ),
    "steal": (
        "actors stand still without knowing: tails are the machine's, not the protocol's",
        "another hour or another machine; compare within interleaved rounds only",
    ),
}


MARKS = {
    Limits.nothing: ("+", "green"),
    Limits.absolute: ("~", "yellow"),
    Limits.latency: ("!", "bold yellow"),
    Limits.verdicts: ("!", "bold red"),
    Limits.everything: ("x", "bold red"),
}
LEGEND = "+ nothing in the way   ~ no absolute latency   ! less than that   x no result"
RELATION_WORDS = {
    "core": "on one core (SMT)",
    "cache": "with one last-level cache",
    "package": "in one package",
    "machine": "in different packages",
}


def findings_table(findings: Sequence[Finding]) -> RenderableType:
    """What, found, and under that what it means and what to try."""
    grid = Grid.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(ratio=1)
    for one in findings:
        grid.add_row(Text(*MARKS[one.limits]), Text(one.what, style="bold"), Text(one.found, style="bold"))
        grid.add_row("", "", Text(one.means))
        if one.try_:
            grid.add_row("", "", Text(f"Try: {one.try_}"))
    return Group(grid, Text(LEGEND, style="dim"))


def round_trip_tables(trips: Mapping[str, Any] | None, width: int) -> list[RenderableType]:
    """Nothing for two CPUs; else a line for each kind of pair, and the matrix where the width has room for it."""
    if not trips or len(trips["cpus"]) == 2:
        return []
    parts: list[RenderableType] = [Text("Round trip of one line between two CPUs, ns", style="bold")]
    kinds = Grid.grid(padding=(0, 2))
    for name, found in trips["by_relation"].items():
        spread = f"{found['median_ns']:.0f} ({found['least_ns']:.0f}-{found['most_ns']:.0f})"
        kinds.add_row(f"  {RELATION_WORDS[name]}", spread, plural(found["pairs"], "pair"))
    parts.append(kinds)
    # The lower half: the upper one is the same.
    cells = [
        (f"  CPU {cpu}", *("-" if value is None else f"{value:.0f}" for value in row[:place]))
        for place, (cpu, row) in enumerate(zip(trips["cpus"], trips["matrix_ns"], strict=True))
    ][1:]
    widest = max(len(cell) for _, *row in cells for cell in row)
    if 10 + len(cells) * (max(widest, 3) + 1) <= width:
        head = ("", *map(str, trips["cpus"][:-1]))
        parts.append(Table("", head, tuple(cells), frozenset(range(1, len(head)))))
    else:
        parts.append(Text("  All pairs stand in `doctor --json`, under round_trips.", style="dim"))
    return [*parts, ""]
