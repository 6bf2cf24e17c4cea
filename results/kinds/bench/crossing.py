"""Where along a sweep two orderings change places: what a bench over a cost is asked. Pure."""

import itertools
from collections.abc import Iterator, Sequence

from results.figures import BY_ID, Figure
from results.kinds.bench.record import AGAIN, REFERENCE, Bench, Comparison
from results.kinds.bench.wording import arm_name, direction, ratio_text, span, words

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
    for arm in bench.arms:
        for figure in ASKED if arm.arm not in (REFERENCE, AGAIN) else ():
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
    return f"{ratio_text(one.ratio)}, {span(one.low, one.high)}"
