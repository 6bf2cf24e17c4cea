"""A sweep over batch sizes: the time of a page, and what a bench of batches calls its figures."""

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
    drawn = bench_pictures(batches())["scaling.svg"].decode()

    assert "a batch, p50" in drawn
    assert "pages shot down/s" in drawn
    assert "vCPU time out of guest" in drawn
