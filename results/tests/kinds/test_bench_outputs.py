"""A bench on the screen, as test cases, as a table for notebooks, as pictures, on disk, and one of batches."""

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import duckdb
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from results.draw.sheet import drawn
from results.exchange.cases import failed_lines
from results.kinds.bench.directory import read_bench, read_round, write_bench, write_parquet
from results.kinds.bench.findings import found
from results.kinds.bench.pictures import bench_pictures, ratio_sheet, scaling_sheet
from results.kinds.bench.record import Bench, Design, Sweep, array_name
from results.kinds.bench.tables import batches_table, bench_cases, bench_screen, comparisons_table, page_times_ns
from results.kinds.bench.wording import ratio_text, span, sweep_title, swept, with_span, words
from results.store import StoreError, open_run_directory
from results.tests.builders.bench import ARMS, a_bench, an_arm, noisy, thin, with_races
from results.tests.builders.run import SCENARIO
from results.tests.views import a_failed_bench, printed

UNSAFE = (*ARMS, an_arm("C", "no_kick", ("tracking_not_done",)))


def test_an_unsafe_reference_is_marked_too() -> None:
    arms = [an_arm(arm, "no_kick", ("tracking_not_done",)) for arm in ("A", "A2")]
    table = comparisons_table(made := found(a_bench(12, noisy({}), (*arms, ARMS[2]))), made.comparisons)

    assert table.head[-1] == "no_kick (unsafe)"
    assert "no_kick (unsafe) again (A/A)" in [row[1] for row in table.rows]


def shown(bench: Bench) -> str:
    return " ".join(printed(*bench_screen(bench), width=80).split())


def svg(sheet: Callable[[Bench], Figure], bench: Bench) -> str:
    """What a picture says."""
    return drawn({"a": partial(sheet, bench)}, ["svg"])["a.svg"].decode()


def test_a_safe_ordering_that_failed_stands_last_with_what_to_type_next() -> None:
    first, *rest = failed_lines(bench_cases(a_failed_bench()))
    assert first == "<== FAILED v18: round 2: declared safe, and showed it"
    assert "    next: tdx-stress run --ordering v18 --vcpus 2 --zappers 1 --pages 64 --trace" in rest


def test_what_a_bench_did_not_decide_goes_on_in_its_directory_with_more_rounds_once_for_all() -> None:
    command = ("tdx-stress", "bench", "crowd", "--vcpus", "1", "--rounds", "10")
    made = found(thin(a_bench(10, noisy({}), command=command), 20))

    assert failed_lines(bench_cases(made, directory=Path("runs/one")))[-1] == (
        "    next: tdx-stress bench --resume runs/one --rounds 23"
    )
    assert failed_lines(bench_cases(made))[-1] == "    next: tdx-stress bench crowd --vcpus 1 --rounds 23"


RESUMED, LONGER = "tdx-stress bench --resume 'a b' --rounds", "tdx-stress bench --orderings spec,v18 --duration 1s"
PLANNED = Design(rounds=40, budget_s=None, duration_s=0.5, warmup_s=0.1, seed=1)
NEVER_IN = {"verdict": "inconclusive", "reason": "only 1 of 2 vCPUs ever entered the guest"}
# What a bench lacks, by its rounds and what is another in each race; and what is to be typed to have it.
LACKING: dict[str, tuple[Bench, dict[str, Any], str]] = {
    "rounds that met enough vCPUs, all together": (a_bench(12, noisy({})), {"met_shootdowns": 5}, f"{RESUMED} 8987"),
    "a vCPU that is met": (a_bench(12, noisy({})), {"met_shootdowns": 0}, f"{RESUMED} 144"),
    "ten rounds": (a_bench(3, noisy({})), {}, f"{RESUMED} 20"),
    "rounds that it was to have": (a_bench(9, noisy({}), design=PLANNED), {}, f"{RESUMED} 40"),
    "a reference that is like itself": (a_bench(12, noisy({"A2": 1.37})), {}, f"{RESUMED} 24"),
    "races that are comparable": (a_bench(12, noisy({})), {"met": 3}, LONGER),
    "races that all vCPUs entered": (a_bench(12, noisy({})), NEVER_IN, LONGER),
}  # fmt: skip


@pytest.mark.parametrize("lacking", LACKING)
def test_what_is_inconclusive_needs_more_rounds_or_longer_ones(lacking: str) -> None:
    bench, changes, typed = LACKING[lacking]
    command = ("tdx-stress", "bench", "--duration", "500ms", "--out=a b", "--orderings", "spec,v18")

    made = found(with_races(bench.model_copy(update={"command": command}), **changes))
    lines = failed_lines(bench_cases(made, directory=Path("a b")))

    assert [line for line in lines if "next:" in line] == [f"    next: {typed}"]


def test_an_ordering_that_failed_in_a_bench_is_traced_on_the_machine_of_that_bench() -> None:
    bench = a_bench(10, noisy({}), values=(1, 4))
    arms = tuple(
        arm.model_copy(update={"changed": {"kick.wait": False}, "parameters": {"faults": ["lost_kick"]}})
        for arm in bench.arms
    )
    scenario = {**bench.scenario, "changed": {"pages": 64, "tick_us": 0}}
    bench = bench.model_copy(update={"arms": arms, "scenario": scenario, "command": ("tdx-stress", "bench", "crowd")})
    failed = {"verdict": "failed", "reason": "declared safe, and showed it"}
    made = found(with_races(bench, lambda race: (race.arm, race.point) == ("B", "vcpus=4"), **failed))

    assert failed_lines(bench_cases(made))[-1] == (
        "    next: tdx-stress run crowd --ordering v18 --vcpus 4 --zappers 1 --pages 64 --set tick_us=0 "
        "--set kick.wait=false --fault lost_kick --trace"
    )


def test_the_screen_has_a_row_for_what_differs_and_one_line_for_what_does_not() -> None:
    slower, alike = shown(found(a_bench(12, noisy({"B": 1.37})))), shown(found(a_bench(12, noisy({}))))

    assert "Nothing was shown to differ" not in slower
    assert "slower" in slower
    assert "Nothing was shown to differ from spec. v18, no difference shown: shootdown, p50 (" in alike
    assert "again (A/A)" not in slower


def with_met(met: int) -> Bench:
    """Two orderings against spec; so many shootdowns of each race met a vCPU."""
    return found(with_races(a_bench(12, noisy({"B": 1.1}), arms=(*ARMS, an_arm("C", "v6_16"))), met=met))


def test_where_nothing_is_comparable_nothing_is_said_to_be_alike() -> None:
    none = with_met(3)

    assert shown(none).startswith(
        "review: 12 rounds of 4 races, each 0.5 s after 0.1 s of warm-up NO RANKING not comparable: in round 1 of spec "
        "3 shootdowns met a vCPU, 6 are needed A/A spec against itself: no figure differs"
    )
    assert "Nothing was shown to differ" not in shown(none)
    lines = failed_lines(bench_cases(none))
    assert (
        lines[0] == "<== INCONCLUSIVE ranking: not comparable: in round 1 of spec 3 shootdowns met a vCPU, 6 are needed"
    )


def test_figures_of_too_few_rounds_say_of_how_many() -> None:
    bench = with_races(
        a_bench(12, noisy({})),
        figures=lambda race: race.figures | {"p99_ns": None if race.round < 4 else 500.0},
    )

    assert "v18, measured in too few rounds: shootdown, p99 (9 of 10)." in shown(found(bench))


def test_a_picture_of_ratios_says_of_each_arm_without_one_why() -> None:
    some, none = (svg(ratio_sheet, with_met(met)) for met in (100, 3))

    assert "<!-- Against spec: ratios, with what spec differs from itself by -->" in some
    assert (some.count("<!-- v6_16: not comparable -->"), some.count("<!-- v18: not comparable -->")) == (8, 8)
    assert "<!-- Against spec: no ranking -->" in none
    assert (none.count("<!-- v6_16: not comparable -->"), none.count("no ranking, not comparable: in round 1")) == (
        10,
        1,
    )


def test_what_is_swept_stands_in_words_above_and_why_no_growth_was_fitted_beside() -> None:
    titles = [
        sweep_title(Sweep(key=key, values=values, points=tuple(map(str, values))))
        for key, values in (
            ("costs.track", ("0", "5us")), ("vcpus", (1, 4)), ("machine", ("one", "two")), ("tick_us", (1, 2)),
        )
    ]  # fmt: skip
    picture = svg(scaling_sheet, found(a_bench(12, noisy({}), values=(1, 4))))

    assert titles == [
        "How it grows with what TRACK takes", "How it grows with the number of vCPUs", "How it is by the machine",
        "How it grows with tick_us",
    ]  # fmt: skip
    assert "<!-- How it grows with the number of vCPUs -->" in picture
    assert (picture.count("<!-- too few sizes, -->"), picture.count("<!-- five are needed -->")) == (4, 4)


def test_an_arm_that_differs_from_itself_stands_before_all_that_it_throws_doubt_on() -> None:
    doubtful, sound = shown(found(a_bench(12, noisy({"A2": 1.37})))), shown(found(a_bench(12, noisy({}))))

    assert doubtful.index("A/A spec differs from itself") < doubtful.index("Ratios are to")
    assert sound.index("A/A spec against itself") > sound.index("no difference shown")


@pytest.mark.parametrize(
    ("ratio", "text"), [(1.184, "1.18x"), (0.97, "0.97x"), (24.06, "24.1x"), (112.4, "112x"), (0.0036, "0.0036x")]
)
def test_a_ratio_has_three_digits(ratio: float, text: str):
    assert ratio_text(ratio) == text


def test_an_end_of_an_interval_that_is_nearly_1_does_not_read_as_1():
    assert span(0.64, 0.9984) == "0.640-0.998"
    assert span(0.9984, 112) == "0.998-112"
    assert with_span(1.0407, 1.002, 1.13, ", 12 rounds") == "1.041x (1.002-1.130, 12 rounds)"
    assert with_span(1.0407, 1.01, 1.13) == "1.04x (1.01-1.13)"
    assert span(1.0, 1.26) == "1.00-1.26"


def test_the_same_table_as_parquet_keeps_its_types_though_a_column_has_only_gaps(tmp_path: Path):
    bench = a_bench(10, lambda arm, point, n: None, values=(1, 2))

    write_parquet(bench, tmp_path / "rounds.parquet")

    with duckdb.connect(config={"threads": 1}) as database:
        table = database.read_parquet(str(tmp_path / "rounds.parquet"))
        types = dict(zip(table.columns, map(str, table.types), strict=True))
        assert len(table.fetchall()) == 60
    assert (types["round"], types["vcpus"], types["p50_ns"], types["safe"]) == ("BIGINT", "DOUBLE", "DOUBLE", "BOOLEAN")
    assert [path.name for path in tmp_path.iterdir()] == ["rounds.parquet"]


def test_pictures_are_drawn_as_png_and_svg():
    files = bench_pictures(found(a_bench(10, noisy({"B": 30.0}), UNSAFE, values=("process", "thread"), key="workers")))

    assert sorted(files) == ["ratios.png", "ratios.svg", "scaling.png", "scaling.svg"]
    for name, content in files.items():
        if name.endswith(".png"):
            assert Image.open(io.BytesIO(content)).width == 1430
        else:
            assert ElementTree.fromstring(content).tag == "{http://www.w3.org/2000/svg}svg"


def test_without_a_sweep_there_is_no_picture_of_one_and_where_nothing_was_measured_there_is():
    nothing = found(a_bench(3, lambda arm, point, n: None, values=(1, 2)))

    assert [*bench_pictures(found(a_bench(10, noisy({"B": 30.0}), UNSAFE)))] == ["ratios.png", "ratios.svg"]
    assert all(svg(sheet, nothing) for sheet in (ratio_sheet, scaling_sheet))


def test_a_bench_is_written_round_by_round_and_read_back(tmp_path: Path):
    bench = found(a_bench(12, noisy({"B": 1.1})))
    directory = open_run_directory(tmp_path / "out", "review")
    write_bench(directory, bench, {2: {array_name("", "A", "ages"): np.array([1, 2, 3])}})

    assert read_bench(tmp_path / "out") == found(read_bench(tmp_path / "out")) == bench
    assert list(read_round(tmp_path / "out", 2)["A/ages"]) == [1, 2, 3]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["bench.json", "rounds", "rounds.csv"]


@pytest.mark.parametrize("text", ["", "{}", '{"schema": "tdx-stress/bench/2"}', "[1]", "\x00"])
def test_a_record_that_is_none_is_one_line(tmp_path: Path, text: str):
    (tmp_path / "bench.json").write_text(text)

    with pytest.raises(StoreError, match=r"bench\.json: expected a bench of this version") as refused:
        read_bench(tmp_path)
    assert "\n" not in str(refused.value)


BATCHES = {"scenario": {**SCENARIO, "flow": "batch", "batch": 16, "orderings": ["spec", "v18"]}}


def batches() -> Bench:
    """Ten rounds in which a batch of 1 takes 400 ns and one of 16 takes 1,600 ns, in v18 twice as much."""
    times = {"batch=1": 400.0, "batch=16": 1600.0}
    bench = a_bench(10, lambda arm, point, _: times[point] * (2 if arm == "B" else 1), values=(1, 16), key="batch")
    return bench.model_copy(update=BATCHES)


def test_the_time_of_a_page_is_its_share_of_the_batch() -> None:
    assert page_times_ns(batches(), "A", "batch=16") == [100.0] * 10


def test_a_sweep_of_anything_else_has_no_such_table() -> None:
    assert batches_table(a_bench(10, lambda *_: 1.0, values=(1, 2))) is None
    assert batches_table(a_bench(10, lambda *_: 1.0)) is None


def test_a_bench_of_batches_is_about_batches_and_pages() -> None:
    bench, other = batches(), a_bench(10, lambda *_: 1.0)

    assert [words(bench, name) for name in swept(bench)] == [
        "a batch, p50",
        "pages shot down/s",
        "vCPU time out of guest",
        "guest reads/s",
    ]
    assert [words(other, name) for name in ("p50_ns", "shootdowns_per_s")] == ["shootdown, p50", "shootdowns/s"]


def test_its_scaling_picture_has_latency_and_throughput_by_batch_size() -> None:
    said = svg(scaling_sheet, batches())

    assert all(name in said for name in ("a batch, p50", "pages shot down/s", "vCPU time out of guest"))
