"""Counts of failed tries as entries of result.json, and as tables."""

import json

from kernels.tdx.counters import COLUMNS, CONTENTION, GONE, LEAVES, WAIT_FIELDS, WAITING, ModuleLock
from kernels.tdx.statuses import Leaf
from results.kinds.run.tables import run_tables
from results.tests.builders.run import Machine, a_result, a_run, recorded

ENTRY = {
    "lock": "S-EPT tree", "seamcall": "TDH.MEM.PAGE.REMOVE", "failed": 7,
    "held_by": {"TDH.MEM.RANGE.BLOCK": 2, "gone": 5}, "got_at_last": 4, "tries": {"mean": 1.75, "max": 3},
    "got_after_ns": {"mean": 358, "max": 1210},
}  # fmt: skip


def test_counts_of_all_actors_come_together_by_lock_seamcall_and_holder():
    machine = Machine(vcpus=2, zappers=2)
    failed = ModuleLock.TREE * LEAVES + Leaf.TDH_MEM_PAGE_REMOVE
    machine.zapper(0, CONTENTION + failed * COLUMNS + Leaf.TDH_MEM_RANGE_BLOCK, 2)
    machine.zapper(1, CONTENTION + failed * COLUMNS + GONE, 5)
    for zapper, waits in enumerate(([1, 3, 3, 1210, 1210], [3, 4, 2, 222, 100])):
        for place, value in enumerate(waits):
            machine.zapper(zapper, WAITING + failed * WAIT_FIELDS + place, value)
    found = recorded(machine).json["lock_contention"]

    assert json.loads(json.dumps(found)) == [ENTRY]
    assert recorded(Machine()).json["lock_contention"] == []


def test_a_run_without_contention_has_no_table_of_it() -> None:
    tables = [list(run_tables(a_result(a_run(lock_contention=found)))) for found in ([], [ENTRY])]

    assert ["held by" in table.head for table in tables[0]] == [False, False, False]
    assert ["held by" in table.head for table in tables[1]] == [False, True, False, False]
