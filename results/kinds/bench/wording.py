"""Comparisons as people read them, the effect first: `1.18x (1.11-1.26, 20 rounds), slower`.

And what a bench is about: batches are timed whole and counted by the page. Last, where along a sweep two orderings
change places, which is what a bench over a cost is asked.
"""

import itertools
from collections.abc import Iterator, Sequence

from kernels.tdx.rules import Flow, has_part
from results.figures import BY_ID, FIGURES, REAL_FIGURES, Figure
from results.kinds.bench.record import MACHINE, Arm, Bench, Comparison, Slope, Sweep
from results.numbers.rounds import LEAST_ROUNDS
from results.verdict import named
from results.words import MARK, changes, mean, nanoseconds, per_second, plural, share

# Who could only have shown more than this has shown nothing.
HOPELESS = 20


def ratio_text(value: float) -> str:
    """Two decimals, three digits above 10: `1.18x`, `0.97x`, `24.1x`, `112x`."""
    if value >= 99.95:
        return f"{value:,.0f}x"
    return f"{value:.1f}x" if value >= 9.995 else f"{value:.2f}x" if value >= 0.0995 else f"{value:.2g}x"


def span(low: float, high: float) -> str:
    """An interval of ratios: `1.11-1.26`; where only rounding makes an end 1 both have a digit more: `0.640-0.998`."""
    return "-".join(_digits(end, low, high) for end in (low, high))


def with_span(ratio: float, low: float, high: float, more: str = "") -> str:
    """A ratio with its interval, as many digits in each: `1.18x (1.11-1.26)`, `1.041x (1.002-1.130)`; `more` stands
    behind the interval.
    """
    return f"{_digits(ratio, low, high)}x ({span(low, high)}{more})"


def _digits(value: float, low: float, high: float) -> str:
    close = any(ratio_text(end) == "1.00x" and abs(end - 1) >= 0.0005 for end in (low, high))
    return f"{value:.3f}" if close and 0.0995 <= value < 9.995 else ratio_text(value)[:-1]


def effect_text(found: Comparison, machines: int, level: float) -> str:
    """The one line of a comparison, the effect first, or why there is none; of rounds on so many machines."""
    figure = BY_ID[found.figure]
    if found.finding == "too_few":
        if found.reference is None:
            return "not measured: too few shootdowns a race" if figure.unit == "ns" else "not measured"
        of = f" of {machines} machines" * (machines > 1)
        return f"too few: measured in {plural(found.rounds, 'round')}{of}, {LEAST_ROUNDS + machines - 1} are needed"
    if found.ratio is None or found.low is None or found.high is None:
        return _without_ratio(found, figure)
    rounds = f", {plural(found.rounds, 'round')}"
    told = with_span(found.ratio, found.low, found.high, rounds)
    if found.finding == "differs":
        return f"{told}, {direction(figure, found.ratio)}"
    if found.low <= 1 <= found.high:
        return f"no difference shown ({span(found.low, found.high)}{rounds}){_could(found.could_have_shown)}"
    chance = f"p {found.holm_p:.2g} after Holm, above {1 - level:.2g}"
    return f"no difference shown: {told}, but {chance}"


def _could(least: float | None) -> str:
    if least is None:
        return ""
    if least > HOPELESS:
        return f"; too noisy to show even {HOPELESS}x"
    return f"; {ratio_text(least)} would have shown"


def _without_ratio(found: Comparison, figure: Figure) -> str:
    assert found.reference is not None
    assert found.value is not None
    if found.reference == found.value == 0 and found.finding != "differs":
        return f"no difference shown: hardly ever above 0 ({plural(found.rounds, 'round')})"
    if found.finding != "differs":
        return f"no difference shown, no ratio ({plural(found.rounds, 'round')})"
    words = figure.more if found.value > found.reference else figure.less
    return f"{words}, no ratio: 0 in some of {plural(found.rounds, 'round')}"


def slope_text(slope: Slope) -> str:
    """The power with its interval, `0.52 (0.49 to 0.55)`, or why there is none."""
    if slope.slope is None or slope.low is None or slope.high is None:
        return slope.why_none
    return f"{slope.slope:.2f} ({slope.low:.2f} to {slope.high:.2f})"


def direction(figure: Figure, ratio: float) -> str:
    """What a ratio other than 1 means: slower, faster, more, fewer."""
    return figure.more if ratio > 1 else figure.less


def value_text(figure: Figure, value: float | None) -> str:
    """A figure in its unit: `271 ns`, `353 M`, `12.3 %`, `2.8e-05`."""
    if value is None:
        return "-"
    if figure.unit == "ns":
        return nanoseconds(value)
    if figure.unit == "share":
        return share(value)
    if figure.unit == "/s":
        return per_second(value)
    return mean(value)


def aa_sentence(ordering: str, differing: Sequence[Comparison], p: float) -> str:
    """What the A/A arm says of the whole bench."""
    if not differing:
        return f"{ordering} against itself: no figure differs (p {p:.2g} over all of them), as it should be."
    where = "; ".join(f"{BY_ID[one.figure].words} {one.verdict_text}" for one in differing)
    return (
        f"{ordering} differs from itself ({where}): something besides the ordering changed between races, so no "
        "difference of this bench can be believed. Chance alone does this in 1 of 20 benches; else an idle machine, "
        "longer races or more rounds help."
    )


# Of a sweep only these are shown: the others would be hundreds of rows.
SWEPT = ("p50_ns", "p99_ns", "reads_per_s", "out_of_guest_p50_ns")
# Of batches: what one takes, what that comes to in pages, and what it costs the vCPUs.
SWEPT_BATCHES = ("p50_ns", "shootdowns_per_s", "out_of_guest_share", "reads_per_s")
SWEPT_REAL = ("p50_ns", "p99_ns", "reads_per_s", "ipis")
OF_BATCHES = {
    "p50_ns": "a batch, p50", "p90_ns": "a batch, p90", "p99_ns": "a batch, p99", "max_ns": "a batch, max",
    "shootdowns_per_s": "pages shot down/s", "track_retries": "TRACK BUSY retries a page",
    "stale_window_p50_ns": "legal stale window of a batch, p50",
}  # fmt: skip


# What is swept, in words; any other key stands for itself.
AXES = {
    "vcpus": "the number of vCPUs", "zappers": "the number of zappers", "pages": "the number of pages",
    "batch": "the pages of a batch", MACHINE: "the machine", "costs.seamcall": "what any SEAMCALL takes",
    "costs.block": "what BLOCK takes", "costs.track": "what TRACK takes", "costs.remove": "what REMOVE takes",
    "costs.wbinvd": "what WBINVD takes", "costs.enter": "what an entry takes", "costs.exit": "what an exit takes",
}  # fmt: skip


def sweep_title(sweep: Sweep) -> str:
    """Over what is shown along a sweep."""
    axis = AXES.get(sweep.key, sweep.key)
    return f"How it grows with {axis}" if sweep.numbers else f"How it is by {axis}"


def of_batches(bench: Bench) -> bool:
    """Whether its zappers take batches of pages down."""
    return has_part(bench.scenario.get("flow", "shootdown"), Flow.BATCH)


def figures_in(bench: Bench) -> tuple[Figure, ...]:
    """Those that this bench has."""
    return (*FIGURES, *REAL_FIGURES) if bench.is_real else FIGURES


def swept(bench: Bench) -> tuple[str, ...]:
    """The chief figures along this bench's sweep, four ids of its figures."""
    return SWEPT_REAL if bench.is_real else SWEPT_BATCHES if of_batches(bench) else SWEPT


def words(bench: Bench, figure: str) -> str:
    """What the figure of this id is called in this bench."""
    return (OF_BATCHES.get(figure) if of_batches(bench) else None) or BY_ID[figure].words


def arm_name(arm: Arm) -> str:
    """The ordering's name, marked where it is not safe, or not the one that its file has."""
    return named(arm.ordering, arm.safe) + MARK * bool(changes(arm.its))


# Of a shootdown, and of the vCPUs that it has left the guest.
ASKED = ("p50_ns", "out_of_guest_p50_ns")
At = tuple[str, Comparison]


def crossing_lines(bench: Bench) -> Iterator[str]:
    """A sentence for each other ordering and figure: on which side of the first one it was shown to be, from where to
    where, and between which values that changes. None along words, or where nothing is comparable; along anything but a
    cost only those that cross.
    """
    if bench.sweep is None or len(bench.sweep.numbers) < 2:
        return
    order = sorted(range(len(bench.points)), key=bench.sweep.numbers.__getitem__)
    reference = arm_name(bench.arms[0])
    for arm in bench.others:
        for figure in ASKED:
            found = {one.point: one for one in bench.comparisons if (one.arm, one.figure) == (arm.arm, figure)}
            there = [(str(bench.sweep.values[place]), found.get(bench.points[place])) for place in order]
            shown = [(value, one) for value, one in there if one is not None and one.ratio is not None]
            if shown and (bench.sweep.unit or (len({_is_more(at) for at in shown if at[1].finding == "differs"}) > 1)):
                head = f"{arm_name(arm)} against {reference}, {words(bench, figure)} along {bench.sweep.key}"
                yield f"{head}: {_told(BY_ID[figure], shown)}."


def _told(figure: Figure, shown: Sequence[At]) -> str:
    """`slower from 0 (1.3x, 1.2-1.4) to 2us (1.2x, 1.1-1.3), faster at 5us (0.9x, 0.8-0.95): they cross between 2us and
    5us`.
    """
    ends = f"{shown[0][0]} to {shown[-1][0]}"
    differing = [(value, one) for value, one in shown if one.finding == "differs"]
    if not differing:
        return f"no difference shown from {ends}"
    stretches = [list(of_side) for _, of_side in itertools.groupby(differing, key=_is_more)]
    sides = ", ".join(_stretch(figure, stretch) for stretch in stretches)
    crossed = [f"between {one[-1][0]} and {then[0][0]}" for one, then in itertools.pairwise(stretches)]
    crossing = f"they cross {' and '.join(crossed)}" if crossed else f"no crossing in what was swept, {ends}"
    return f"{sides}: {crossing}"


def _is_more(at: At) -> bool:
    return (at[1].ratio or 1.0) > 1


def _stretch(figure: Figure, stretch: Sequence[At]) -> str:
    """The values at which one side was shown, with the ratio at each end."""
    (first, one), (last, other) = stretch[0], stretch[-1]
    to = "" if first == last else f" to {last} ({_ratio(other)})"
    return f"{direction(figure, one.ratio or 1.0)} {'from' if to else 'at'} {first} ({_ratio(one)}){to}"


def _ratio(one: Comparison) -> str:
    assert one.ratio is not None
    assert one.low is not None
    assert one.high is not None
    return with_span(one.ratio, one.low, one.high).replace(" (", ", ").removesuffix(")")
