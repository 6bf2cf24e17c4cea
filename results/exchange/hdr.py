"""Latency in HdrHistogram's own text formats, written by its own package, for the tools that read these.

`latency.hlog` is a log of version 1.2 with one interval histogram for each ordering and phase, tagged
`<ordering>.<phase>`; times are whole nanoseconds, and the interval is the one that was measured. `latency.hgrm` holds
the percentile distribution of the shootdowns that met a vCPU, one part an ordering, each under a comment with its name
and n; for a plotter that takes one distribution a file, cut it at the lines that begin with `#[Ordering`.
"""

import io
import re
import warnings
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from results.numbers.statistics import HIGHEST_NS, MIDS_NS, Counts
from results.verdict import MET

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of its structures, on Python 3.14
    from hdrh.histogram import HdrHistogram
    from hdrh.log import HistogramLogWriter

Arrays = Mapping[str, NDArray[Any]]
DIGITS, TICKS = 2, 5
NS_PER_MS = 1e6
_NOT_IN_A_TAG = re.compile(r"[,\s]")


def as_hdr_histogram(counts: Counts) -> HdrHistogram:
    """The same counts in the package's own histogram: its buckets are ours, so that nothing is rounded."""
    histogram = HdrHistogram(1, HIGHEST_NS, DIGITS)
    for bucket in np.flatnonzero(counts):
        histogram.record_value(int(MIDS_NS[bucket]), int(counts[bucket]))
    return histogram


def hgrm_bytes(result: Mapping[str, Any], arrays: Arrays) -> bytes:
    """The percentile distribution in ns of shootdowns that met a vCPU, of all in a result of an earlier version; one
    part an ordering that measured any.
    """
    file = io.BytesIO()
    wholes = {run["ordering"]: MET if MET in run["latency_ns"] else "shootdown" for run in result["runs"]}
    for ordering, phase, counts in _measured(result, arrays):
        if phase == wholes[ordering]:
            file.write(f"#[Ordering = {' '.join(ordering.split())}, n = {int(counts.sum())}, unit = ns]\n".encode())
            as_hdr_histogram(counts).output_percentile_distribution(file, 1, TICKS)
            file.write(b"\n")
    return file.getvalue()


def hlog_bytes(result: Mapping[str, Any], arrays: Arrays) -> bytes:
    """Every ordering's and phase's histogram as one tagged interval of a HistogramLog; maxima in ms, as is usual."""
    text = io.StringIO()
    writer = HistogramLogWriter(text)
    writer.output_comment("[tdx-stress: a model of the protocol, not Intel silicon; values in ns]")
    writer.output_log_format_version()
    start_s = _started_s(result)
    text.write(f"#[StartTime: {start_s:.3f} (seconds since epoch)]\n")
    writer.output_legend()
    seconds = {run["ordering"]: (run["warmup_s"], run["seconds"]) for run in result["runs"]}
    for ordering, phase, counts in _measured(result, arrays):
        warmup_s, measured_s = seconds[ordering]
        text.write(f"Tag={_NOT_IN_A_TAG.sub('_', ordering)}.{phase},")
        begun_s = start_s + warmup_s
        writer.output_interval_histogram(as_hdr_histogram(counts), begun_s, begun_s + measured_s, NS_PER_MS)
    return text.getvalue().encode()


def _measured(result: Mapping[str, Any], arrays: Arrays) -> Iterator[tuple[str, str, Counts]]:
    for run in result["runs"]:
        for phase in (*run["latency_ns"], *run["vcpu_ns"]):
            counts = arrays.get(f"{run['ordering']}/hist/{phase}")
            if counts is not None and counts.any():
                yield run["ordering"], phase, counts


def _started_s(result: Mapping[str, Any]) -> float:
    """When the run began, seconds since the epoch; 0 where the result does not say."""
    try:
        return datetime.fromisoformat(result.get("started", "")).timestamp()
    except (TypeError, ValueError):
        return 0.0
