"""Two real races: one that shows nothing forbidden and one with a planted fault, no two numbers alike."""

from typing import Any

import numpy as np

from kernels.layout import HIST_WORDS, LINE_WORDS
from kernels.real.words import (
    FAULT,
    FRESH,
    MET,
    MET_IN,
    SHOOTDOWNS,
    SHOWN_IN,
    STALE_AFTER_DONE,
    STALE_IN_WINDOW,
    USE_AFTER_REMOVE,
    places,
)
from results.collect.race import Run
from results.collect.real import RealFacts, real_record
from results.kinds.real import SCHEMA, real_caveats
from results.tests.builders.run import HOST, counted
from results.verdict import Ending


def a_race(arm: str = "memfd", stale: int = 0, more: int = 0, **facts: Any) -> Run:
    """Of 2 readers: 5,000 calls, of which 613 held nobody up; `stale` shootdowns showed what is forbidden. `more`: of
    everything, so that no number is another race's.
    """
    where = places(readers=2, pages=8)
    words = np.zeros(where.total_words, np.int64)
    for reader, reads in enumerate((7_000_001, 8_000_002)):
        at = where.reader + reader * LINE_WORDS
        words[at + FRESH] = reads + 1_000_000 * more
        words[at + FAULT], words[at + STALE_IN_WINDOW] = (211 + 1_000 * more) * (reader + 1), 37 + reader + more
        words[at + STALE_AFTER_DONE], words[at + USE_AFTER_REMOVE] = stale * (3 + reader), 0
    words[where.host + SHOOTDOWNS], words[where.host + MET] = 5_000 + 3 * more, 4_387 + 2 * more
    for at, shootdowns in ((FAULT, 401 + more), (STALE_IN_WINDOW, 71 + 9 * more), (STALE_AFTER_DONE, stale)):
        words[where.host + SHOWN_IN + at], words[where.host + MET_IN + at] = shootdowns, shootdowns
    for holders, (many, ns) in enumerate(((613, 1_500), (901, 2_900), (3_486, 4_100))):
        start, least = where.histograms + holders * HIST_WORDS, ns + 170 * more
        words[start : start + HIST_WORDS] = counted(*range(least, least + 3 * (many + more), 3))
    told: dict[str, Any] = {
        "ending": Ending.finished, "notes": (), "seconds": 2.5, "faults": (),
        "interrupts": {"TLB": 4_211, "CAL": 4_507}, "steal_share": 0.0,
    }  # fmt: skip
    return real_record(RealFacts(arm=arm, **{**told, **facts}), words, where)


def a_real(*races: Run) -> dict[str, Any]:
    """The document of these races."""
    runs = [race.json for race in races]
    caveats = real_caveats({**HOST, "cpus_allowed": 2}, {"vcpus": 2}, runs)
    arms = [run["ordering"] for run in runs]
    sizes = {"vcpus": 2, "zappers": 1, "pages": 8}
    return {
        "schema": SCHEMA, "command": ["tdx-stress", "run", "real"], "version": "0.1.0", "commit": None,
        "started": "2026-11-22T14:41:49Z", "host": HOST, "seed": 7, "caveats": caveats,
        "scenario": {"name": "real", "title": "both ways", "arms": arms, **sizes, "faults": []}, "runs": runs,
    }  # fmt: skip


def both() -> tuple[Run, Run]:
    """A right one, and one that was caught, on a machine that tells no TLB shootdowns."""
    return a_race(), a_race("munmap", 19, 7, faults=("published_early",), interrupts={"CAL": 97}, seconds=3.25)
