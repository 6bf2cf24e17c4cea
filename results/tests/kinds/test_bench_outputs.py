"""A bench on the screen, as test cases, as a table for notebooks, as pictures, and on disk."""

import csv
import io
from pathlib import Path
from xml.etree import ElementTree

import duckdb
import pytest
from PIL import Image
from rich.console import Console

from results.exchange.cases import Case, junit_document, ktap_document
from results.kinds.bench.directory import (
    csv_text,
    open_bench_directory,
    read_bench,
    read_round,
    reopen_bench_directory,
    write_parquet,
)
from results.kinds.bench.findings import bench_caveats, found
from results.kinds.bench.gate import judged, parse_gate
from results.kinds.bench.pictures import bench_pictures
from results.kinds.bench.record import Bench, array_name
from results.kinds.bench.tables import bench_cases, bench_table, observation_lines
from results.kinds.bench.wording import ratio_text, span
from results.store import StoreError
from results.tests.builders.bench import ARMS, a_bench, an_arm, noisy

UNSAFE = (*ARMS, an_arm("C", "no_kick", ("tracking_not_done",)))


def printed(bench: Bench, width: int = 80) -> str:
    text = io.StringIO()
    Console(file=text, width=width, no_color=True).print(bench_table(bench))
    return text.getvalue()


def test_the_table_says_the_effect_first_and_fits_80_columns():
    bench = found(a_bench(20, noisy({"B": 1.3}, noise=0.02)))

    shown = printed(bench)
    assert "review: 20 rounds of 3 races, each 0.5 s after 0.1 s of warm-up" in shown
    assert " v18                    1.3" in shown
    assert "20 rounds), slower" in shown
    assert " spec again (A/A)" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_an_unsafe_ordering_is_marked_wherever_it_stands():
    bench = found(a_bench(12, noisy({}), UNSAFE))

    assert " no_kick (unsafe)" in printed(bench)
    assert [caveat["id"] for caveat in bench_caveats(bench)] == ["unsafe_raced"]


def test_an_unsafe_reference_is_marked_too():
    arms = [an_arm(arm, "no_kick", ("tracking_not_done",)) for arm in ("A", "A2")]

    shown = printed(found(a_bench(12, noisy({}), (*arms, ARMS[2]))), 120)

    assert "EFFECT against no_kick (unsafe)" in shown
    assert " no_kick (unsafe) again (A/A)" in shown


def test_a_safe_ordering_that_failed_is_said_to_have_failed_before_its_figures():
    bench = a_bench(10, noisy({}))
    bad = bench.rounds[5].model_copy(update={"verdict": "failed", "reason": "declared safe, and showed it"})
    bench = found(bench.model_copy(update={"rounds": (*bench.rounds[:5], bad, *bench.rounds[6:])}))

    shown = printed(bench, 120)
    assert "FAILED: v18, round 2: declared safe, and showed it; its figures are no result" in shown
    assert shown.index("FAILED") < shown.index("FIGURE")


def test_a_sweep_shows_the_chief_figures_at_every_point_and_their_growth():
    shown = printed(found(a_bench(12, noisy({}), values=(1, 2, 4, 8, 16))), 120)

    assert shown.count(" v18 vcpus=2 ") == 4
    assert "Growth with vcpus, to the power of" in shown
    assert "legal stale window" not in shown.partition("Medians of the rounds")[0]


def test_a_sweep_shows_the_median_of_every_figure_at_every_point():
    rows = printed(found(a_bench(12, noisy({}), values=(1, 2, 4))), 120).partition("Medians of the rounds\n")[2]

    lines = rows.splitlines()
    assert lines[0].split() == ["by", "vcpus", "1", "2", "4"]
    assert [line for line in lines if line.startswith("shootdown, p50")]
    assert lines[2].split()[0] == "spec"
    assert len(lines[2].split()) == 1 + 3 * 2
    assert "again" not in rows.partition("A/A")[0]


@pytest.mark.parametrize(
    ("ratio", "text"), [(1.184, "1.18x"), (0.97, "0.97x"), (24.06, "24.1x"), (112.4, "112x"), (0.0036, "0.0036x")]
)
def test_a_ratio_has_three_digits(ratio: float, text: str):
    assert ratio_text(ratio) == text


def test_an_end_of_an_interval_that_is_nearly_1_does_not_read_as_1():
    assert span(0.64, 0.9984) == "0.64-0.998"
    assert span(1.0, 1.26) == "1.00-1.26"


def test_one_line_to_grep_for_every_ordering_and_point():
    lines = list(observation_lines(a_bench(10, noisy({}), values=(1, 2))))

    assert lines == [
        "Observation spec@vcpus=1 Never 0 18000",
        "Observation v18@vcpus=1 Never 0 9000",
        "Observation spec@vcpus=2 Never 0 18000",
        "Observation v18@vcpus=2 Never 0 9000",
    ]


def test_every_ordering_and_point_the_a_a_arm_and_every_gate_are_test_cases():
    bench = found(a_bench(12, noisy({"B": 1.5}), values=(1, 2)))
    outcomes = [judged(parse_gate("p50>+15%"), bench.comparisons, bench.points)]

    cases = bench_cases(bench, outcomes)

    assert [(case.name, case.state) for case in cases] == [
        ("spec vcpus=1", "passed"),
        ("v18 vcpus=1", "passed"),
        ("spec vcpus=2", "passed"),
        ("v18 vcpus=2", "passed"),
        ("A/A", "passed"),
        ("gate p50>+15%", "failed"),
    ]


CASES = [
    Case("spec", "passed", "nothing forbidden", 1.5),
    Case("no # such", "failed", "showed it", 0.5, ("tracking_not_done: 3",)),
    Case("A/A", "inconclusive", "too\nfew"),
    Case("v18", "hung", "nobody moves"),
]


def test_ktap_has_a_line_a_case_and_nothing_but_passed_is_ok():
    lines = ktap_document("review", CASES).splitlines()

    assert lines[:2] == ["KTAP version 1", "1..4"]
    assert [line.partition(" #")[0] for line in lines[2:] if not line.startswith("#")] == [
        "ok 1 review.spec",
        "not ok 2 review.no_such",
        "not ok 3 review.A/A",
        "not ok 4 review.v18",
    ]
    assert "# tracking_not_done: 3" in lines


def test_junit_counts_failures_and_errors():
    root = ElementTree.fromstring(junit_document("review", CASES))

    assert root.attrib == {"tests": "4", "failures": "2", "errors": "1", "time": "2.000"}
    assert [child.tag for case in root.iter("testcase") for child in case] == ["failure", "failure", "error"]
    assert root[0][1][0].text == "tracking_not_done: 3"


def test_the_table_for_notebooks_has_a_row_a_race_and_units_in_its_names():
    bench = a_bench(10, lambda arm, point, n: None if arm == "B" else 100.0, values=(1, 2))

    rows = list(csv.DictReader(io.StringIO(csv_text(bench))))

    assert len(rows) == 60
    assert (rows[0]["vcpus"], rows[0]["arm"], rows[0]["p50_ns"], rows[0]["safe"]) == ("1", "A", "100.0", "True")
    assert (rows[2]["ordering"], rows[2]["p50_ns"]) == ("v18", "")


def test_the_same_table_as_parquet_keeps_its_types_though_a_column_has_only_gaps(tmp_path: Path):
    bench = a_bench(10, lambda arm, point, n: None, values=(1, 2))

    write_parquet(bench, tmp_path / "rounds.parquet")

    with duckdb.connect(config={"threads": 1}) as database:
        table = database.read_parquet(str(tmp_path / "rounds.parquet"))
        types = dict(zip(table.columns, map(str, table.types), strict=True))
        assert len(table.fetchall()) == 60
    assert (types["round"], types["vcpus"], types["p50_ns"], types["safe"]) == ("BIGINT", "DOUBLE", "DOUBLE", "BOOLEAN")
    assert [path.name for path in tmp_path.iterdir()] == ["rounds.parquet"]


@pytest.mark.parametrize("values", [(), (1, 2, 8), ("process", "thread")])
def test_pictures_are_drawn_as_png_and_svg(values: tuple[int | str, ...]):
    key = "workers" if values and isinstance(values[0], str) else "vcpus"
    drawn = bench_pictures(found(a_bench(10, noisy({"B": 30.0}), UNSAFE, values=values, key=key)))

    names = ["ratios.png", "ratios.svg", *(["scaling.png", "scaling.svg"] if values else [])]
    assert sorted(drawn) == names
    for name, content in drawn.items():
        if name.endswith(".png"):
            assert Image.open(io.BytesIO(content)).width == 1430
        else:
            assert ElementTree.fromstring(content).tag == "{http://www.w3.org/2000/svg}svg"


def test_pictures_of_a_bench_that_measured_nothing_say_so():
    assert bench_pictures(found(a_bench(3, lambda arm, point, n: None, values=(1, 2))))


def test_a_bench_is_written_round_by_round_and_read_back(tmp_path: Path):
    bench = a_bench(2, noisy({}))
    directory = open_bench_directory(tmp_path / "out", "review")
    directory.write_round(bench, {array_name("", "A", "ages"): bench_array()})
    directory.close()

    assert read_bench(tmp_path / "out") == bench
    assert list(read_round(tmp_path / "out", 2)["A/ages"]) == [1, 2, 3]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["bench.json", "rounds", "rounds.csv"]


def bench_array():  # type: ignore[no-untyped-def]
    import numpy as np

    return np.array([1, 2, 3])


def test_a_directory_with_a_bench_is_not_begun_again(tmp_path: Path):
    first = open_bench_directory(tmp_path, "review")
    first.write(a_bench(2, noisy({})))
    first.close()

    with pytest.raises(StoreError, match=f"holds a bench already; .* --resume {tmp_path}"):
        open_bench_directory(tmp_path, "review")


def test_two_benches_do_not_write_into_one_directory(tmp_path: Path):
    first = open_bench_directory(tmp_path, "review")

    with pytest.raises(StoreError, match="another bench writes here now"):
        reopen_bench_directory(tmp_path)
    first.close()
    reopen_bench_directory(tmp_path).close()


def test_a_directory_without_a_bench_is_one_line(tmp_path: Path):
    with pytest.raises(StoreError, match=r"expected the directory of a bench, found no bench\.json in it"):
        read_bench(tmp_path)


@pytest.mark.parametrize("text", ["", "{}", '{"schema": "tdx-stress/bench/2"}', "[1]", "\x00"])
def test_a_record_that_is_none_is_one_line(tmp_path: Path, text: str):
    (tmp_path / "bench.json").write_text(text)

    with pytest.raises(StoreError, match=r"bench\.json: expected a bench of this version") as refused:
        read_bench(tmp_path)
    assert "\n" not in str(refused.value)
