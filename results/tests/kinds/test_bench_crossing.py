"""Along a sweep of a cost: the values as numbers, where two orderings change places, and the axis of the pictures."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import pytest
from matplotlib.figure import Figure

from results.draw.style import parameters
from results.figures import BY_ID
from results.kinds.bench.findings import at, bench_caveats, found
from results.kinds.bench.page import bench_page
from results.kinds.bench.pictures import arm_styles, scaling_curves
from results.kinds.bench.record import Bench, Comparison, Sweep
from results.kinds.bench.tables import bench_screen, growth_table
from results.kinds.bench.wording import crossing_lines
from results.tests.builders.bench import a_bench, noisy

COSTS = ("0", "500ns", "1us", "2us", "10us")


def compared(figure: str, point: str, ratio: float | None) -> Comparison:
    """v18 against spec at a point: this ratio within a tenth, or none that was shown to be."""
    made = ratio or 1.0
    return Comparison(
        figure=figure, point=point, arm="B", ordering="v18", rounds=12, reference=1000.0, value=1000.0 * made,
        ratio=made, low=0.9 * made, high=1.1 * made, p=0.001, holm_p=0.002, could_have_shown=1.05,
        finding="differs" if ratio else "no_difference", verdict_text="",
    )  # fmt: skip


def swept(ratios: Sequence[float | None], values: tuple[Any, ...] = COSTS, key: str = "costs.track") -> Bench:
    """A bench that found these ratios at these values: of a shootdown, and three times as much of the vCPUs."""
    bench = a_bench(1, noisy({}), values=values, key=key)
    made = [
        compared(figure, point, ratio and times * ratio)
        for figure, times in (("p50_ns", 1.0), ("out_of_guest_p50_ns", 3.0), ("p99_ns", 7.0))
        for point, ratio in zip(bench.points, ratios, strict=True)
    ]
    return bench.model_copy(update={"comparisons": tuple(made)})


@pytest.mark.parametrize(
    ("values", "numbers", "unit"),
    [
        (("0", "500ns", "1.5us", "1ms"), (0.0, 0.5, 1.5, 1000.0), "us"),
        ((1, 2, 8), (1.0, 2.0, 8.0), ""),
        ((0.5, 2), (0.5, 2.0), ""),
        (("process", "thread"), (), ""),
        (("1us", "many"), (), ""),
    ],
)
def test_durations_are_numbers_in_microseconds_and_words_are_none(values: Any, numbers: Any, unit: str):
    sweep = Sweep(key="x", values=values, points=tuple(map(str, values)))

    assert (sweep.numbers, sweep.unit) == (numbers, unit)


def test_a_point_changes_one_entry_of_a_table():
    bench = swept([None] * 5).model_copy(update={"scenario": {"costs": {"track": "9us", "exit": "3us"}}})

    assert at(bench, "costs.track=2us")["costs"] == {"track": "2us", "exit": "3us"}


def test_what_is_declared_is_told_of_the_whole_sweep():
    [caveat] = [one for one in bench_caveats(swept([None] * 5)) if one["id"] == "declared_costs"]

    assert caveat["seen"] == "SEAMCALLs that take what was declared: track 0 to 10us"


ALONG = "v18 against spec, shootdown, p50 along costs.track: "
OF_VCPUS = "v18 against spec, vCPU out of guest, p50 along costs.track: "
CHANGES = swept([1.5, 1.3, None, 0.8, 0.6])
NOT_COMPARABLE = swept([0.5] * 5)
WITHOUT_RATIOS = tuple(one.model_copy(update={"ratio": None}) for one in NOT_COMPARABLE.comparisons)
# By what is shown: a bench, and the lines that it says; of some their ends.
CROSSINGS: dict[str, tuple[Bench, list[str]]] = {
    "orderings that change places cross between the values where each was shown": (
        CHANGES,
        [
            f"{ALONG}slower from 0 (1.50x, 1.35-1.65) to 500ns (1.30x, 1.17-1.43), faster from 2us (0.80x, 0.72-0.88) "
            "to 10us (0.60x, 0.54-0.66): they cross between 500ns and 2us.",
            f"{OF_VCPUS}longer from 0 (4.50x, 4.05-4.95) to 10us (1.80x, 1.62-1.98): no crossing in what was swept, 0 "
            "to 10us.",
        ],
    ),
    "values stand in the order of their size whatever was typed": (
        swept([0.5, 1.25, 2.0], values=("10us", "2us", "500ns")),
        [
            "along costs.track: slower from 500ns (2.00x, 1.80-2.20) to 2us (1.25x, 1.12-1.38), faster at 10us (0.50x, "
            "0.45-0.55): they cross between 2us and 10us.",
            "",
        ],
    ),
    "they may cross more than once": (
        swept([1.5, 0.5, 1.5, None, 0.5]),
        [": they cross between 0 and 500ns and between 500ns and 1us and between 1us and 10us.", ""],
    ),
    "what was shown nowhere is said": (
        swept([None] * 5), [f"{its}no difference shown from 0 to 10us." for its in (ALONG, OF_VCPUS)],
    ),
    "along anything but a cost only a crossing is worth a line": (swept([1.5, 1.4], values=(1, 2), key="vcpus"), []),
    "and has one": (swept([1.5, 0.5], values=(1, 2), key="vcpus"), [": they cross between 1 and 2."]),
    "nobody crosses along words": (swept([0.5, 1.5], values=("word", "signal"), key="kick_by"), []),
    "without a sweep": (found(a_bench(12, noisy({}))), []),
    "or where nothing is comparable": (NOT_COMPARABLE.model_copy(update={"comparisons": WITHOUT_RATIOS}), []),
}  # fmt: skip


@pytest.mark.parametrize(("bench", "ends"), CROSSINGS.values(), ids=CROSSINGS)
def test_a_line_says_where_orderings_change_places(bench: Bench, ends: list[str]):
    lines = list(crossing_lines(bench))

    assert [line[-len(end) :] if end else "" for line, end in zip(lines, ends, strict=True)] == ends


def test_the_screen_and_the_page_say_it_and_columns_are_the_values():
    lines = [str(line) for line in bench_screen(CHANGES)]

    assert lines[lines.index(next(crossing_lines(CHANGES))) - 1] == ""
    assert list(crossing_lines(CHANGES)) == list(bench_page(CHANGES, defaultdict(dict)).answer[-2:])
    assert growth_table(CHANGES, ["p50_ns"]).head == ("medians of the rounds, by costs.track", "ordering", *COSTS)


def test_an_axis_of_durations_names_its_unit_and_has_room_for_nothing_where_there_is_a_zero():
    axes = []
    for bench in (swept([None] * 5), swept([None] * 3, values=(1, 2, 8), key="vcpus")):
        with parameters():
            axes.append(Figure().subplots())
            scaling_curves(axes[-1], bench, BY_ID["p50_ns"], arm_styles(bench))

    costs = axes[0]
    ticks = [costs.xaxis.get_major_formatter()(x) for x in costs.xaxis.get_majorticklocs()]
    assert [(ax.get_xlabel(), ax.get_xscale()) for ax in axes] == [("costs.track (us)", "symlog"), ("vcpus", "log")]
    assert (ticks, costs.get_xlim()[0] < 0) == (["0", "0.5", "1", "2", "10"], True)


def test_a_curve_of_medians_says_what_the_ratios_within_rounds_are() -> None:
    ax = Figure().subplots()
    scaling_curves(ax, CHANGES, BY_ID["p50_ns"], arm_styles(CHANGES))

    assert (
        ax.texts[-1].get_text()
        == "v18 to spec\nwithin rounds:\n0: 1.50x\n500ns: 1.30x\n1us: none shown\n2us: 0.80x\n10us: 0.60x"
    )
