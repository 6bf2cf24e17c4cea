"""The histograms of a bench's rounds taken together, for curves over all that was measured."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kernels.layout import HIST_WORDS
from results.bench_record import Bench, array_name, round_file
from results.bench_store import read_round
from results.histogram import Counts
from results.met import MET
from results.store import StoreError

Hists = dict[tuple[str, str], dict[str, Counts]]


def pooled(bench: Bench, directory: Path, names: Sequence[str] = (MET, "shootdown", "stale_window")) -> Hists:
    """The histograms of all rounds together, by point and arm. Raises StoreError where a round's are not whole."""
    sums: Hists = {(point, arm.arm): {} for point in bench.points for arm in bench.arms}
    for number in range(1, bench.finished_rounds + 1):
        arrays = read_round(directory, number)
        for (point, arm), found in sums.items():
            for name in names:
                counts = arrays.get(array_name(point, arm, f"hist/{name}"))
                if counts is not None and counts.shape != (HIST_WORDS,):
                    where = round_file(directory, number)
                    raise StoreError(f"{where}: {arm}/hist/{name}: expected {HIST_WORDS} counts, found {counts.shape}")
                if counts is not None:
                    found[name] = found[name] + counts if name in found else counts.astype(np.int64)
    return sums
