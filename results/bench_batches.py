"""What batching saves, and what it costs the vCPUs: a sweep over batch sizes, from the record alone."""

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from results.bench_axis import of_batches
from results.bench_medians import median_text
from results.bench_record import AGAIN, Arm, Bench
from results.comparison import median_interval
from results.wording import nanoseconds_with_interval

SHARE, PAGES, READS = "out_of_guest_share", "shootdowns_per_s", "reads_per_s"


def batches_table(bench: Bench) -> RenderableType | None:
    """Batch by batch: the time of a page, pages a second, what a page takes of a batch of the first size, and what the
    vCPUs lose. None where the bench sweeps no batch sizes, or has no rounds.
    """
    if bench.sweep is None or bench.sweep.key != "batch" or not of_batches(bench) or not bench.rounds:
        return None
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold", expand=False)
    table.add_column("BATCH / ordering", no_wrap=True)
    for name in ("TIME A PAGE, p50", f"OF BATCH {bench.sweep.values[0]}", "PAGES/s", "OUT OF GUEST", "READS/s"):
        table.add_column(name, justify="right", no_wrap=True)
    for value, point in zip(bench.sweep.values, bench.points, strict=True):
        table.add_row(Text(str(value), style="bold"))
        for arm in bench.arms:
            if arm.arm != AGAIN:
                table.add_row(f" {arm.ordering}", *_row(bench, arm, point))
    return Group(Text("What a batch saves, and what it costs: medians of the rounds, 95 % intervals", "bold"), table)


def page_times_ns(bench: Bench, arm: str, point: str) -> list[float | None]:
    """The median time of a batch of each round, divided by its pages; None where n was too small."""
    assert bench.sweep is not None
    size = float(bench.sweep.values[bench.points.index(point)])
    return [None if (p50 := race.figures["p50_ns"]) is None else p50 / size for race in bench.races(point, arm)]


def _row(bench: Bench, arm: Arm, point: str) -> tuple[str, ...]:
    times = page_times_ns(bench, arm.arm, point)
    first = page_times_ns(bench, arm.arm, bench.points[0])
    ratios = [now / then for now, then in zip(times, first, strict=True) if now is not None and then]
    measured = np.array([time for time in times if time is not None], dtype=np.float64)
    time = nanoseconds_with_interval(float(np.median(measured)), *median_interval(measured)) if len(measured) else "-"
    saved = f"{float(np.median(ratios)):.2g}x" if ratios else "-"
    return time, saved, *(median_text(bench, arm, point, name) for name in (PAGES, SHARE, READS))
