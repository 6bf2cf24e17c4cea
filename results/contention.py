"""Lock contention as KVM and TDX developers write it by hand: which SEAMCALL failed at which lock, and which held it.

Pure, from the heads of the tallies; see `kernels/tdx/lock_contention.py` for how the holder is known.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.tdx.counters import (
    COLUMNS,
    CONTENTION,
    GONE,
    HOST_PRIORITY,
    LEAVES,
    LONGEST_NS,
    MOST_TRIES,
    SEVERAL,
    TIMES,
    TRIES,
    WAIT_FIELDS,
    WAITED_NS,
    WAITING,
    ModuleLock,
)
from kernels.tdx.statuses import LEAF_NAMES, Leaf

LOCK_NAMES = {
    ModuleLock.EPOCH: "epoch",
    ModuleLock.TREE: "S-EPT tree",
    ModuleLock.ENTRY: "S-EPT entry",
    ModuleLock.TDR: "TDR",
}
# Who held the lock, where it was not one SEAMCALL.
OTHERS = {SEVERAL: "several", GONE: "gone", HOST_PRIORITY: "host priority"}


def lock_contention(heads: NDArray[np.int64]) -> list[dict[str, Any]]:
    """An entry for each lock and SEAMCALL that failed to get it; `heads` is of all actors, shape (actors, HEAD_WORDS).

    `failed` tries by `held_by`; of the waits that ended with the lock how many, the failed tries of one and how long it
    took from the first of them, on average and at most.
    """
    rows = (len(ModuleLock), LEAVES)
    counts = heads[:, CONTENTION:WAITING].sum(axis=0).reshape(*rows, COLUMNS)
    waits = heads[:, WAITING : WAITING + rows[0] * LEAVES * WAIT_FIELDS].reshape(-1, *rows, WAIT_FIELDS)
    return [
        _entry(lock, leaf, counts[lock, leaf], waits[:, lock, leaf])
        for lock in ModuleLock
        for leaf in Leaf
        if counts[lock, leaf].any()
    ]


def _entry(lock: ModuleLock, leaf: Leaf, columns: NDArray[np.int64], waits: NDArray[np.int64]) -> dict[str, Any]:
    names: dict[int, str] = {**{int(one): name for one, name in LEAF_NAMES.items()}, **OTHERS}
    summed, most = waits.sum(axis=0), waits.max(axis=0)
    times = int(summed[TIMES])
    return {
        "lock": LOCK_NAMES[lock],
        "seamcall": LEAF_NAMES[leaf],
        "failed": int(columns.sum()),
        "held_by": {names[column]: int(columns[column]) for column in names if columns[column]},
        "got_at_last": times,
        "tries": {"mean": round(int(summed[TRIES]) / times, 3), "max": int(most[MOST_TRIES])} if times else None,
        "got_after_ns": {"mean": round(int(summed[WAITED_NS]) / times), "max": int(most[LONGEST_NS])}
        if times
        else None,
    }
