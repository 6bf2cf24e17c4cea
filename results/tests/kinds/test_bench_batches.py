"""A sweep over batch sizes: the time of a page, and what a bench of batches calls its figures."""

import io

from rich.console import Console

from results.kinds.bench.pictures import bench_pictures
from results.kinds.bench.record import Bench
from results.kinds.bench.tables import batches_table, page_times_ns
from results.kinds.bench.wording import swept, words
from results.tests.builders.bench import a_bench
from results.tests.builders.run import SCENARIO

BATCHES = {"scenario": {**SCENARIO, "flow": "batch", "batch": 16, "orderings": ["spec", "v18"]}}


def batches() -> Bench:
    """Ten rounds in which a batch of 1 takes 400 ns and one of 16 takes 1,600 ns, in v18 twice as much."""
    times = {"batch=1": 400.0, "batch=16": 1600.0}
    bench = a_bench(10, lambda arm, point, _: times[point] * (2 if arm == "B" else 1), values=(1, 16), key="batch")
    return bench.model_copy(update=BATCHES)


def shown(bench: Bench) -> list[str]:
    out = io.StringIO()
    table = batches_table(bench)
    assert table is not None
    Console(width=112, file=out).print(table)
    return [" ".join(line.split()) for line in out.getvalue().splitlines()]


def test_the_time_of_a_page_is_its_share_of_the_batch() -> None:
    assert page_times_ns(batches(), "A", "batch=16") == [100.0] * 10


def test_the_table_says_what_a_page_takes_of_one_alone() -> None:
    lines = shown(batches())

    assert lines[1].startswith("BATCH / ordering TIME A PAGE, p50 OF BATCH 1 PAGES/s")
    assert lines[3].startswith("spec 400 ns (400-400) 1x")
    assert lines[6].startswith("spec 100 ns (100-100) 0.25x")
    assert lines[7].startswith("v18 200 ns (200-200) 0.25x")


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
    drawn = bench_pictures(batches())["scaling.svg"].decode()

    assert "a batch, p50" in drawn
    assert "pages shot down/s" in drawn
    assert "vCPU time out of guest" in drawn
