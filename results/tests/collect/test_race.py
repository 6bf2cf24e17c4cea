"""From words in shared memory to the entry in result.json."""

import json
from typing import Any

import numpy as np
import pytest

from kernels.layout import OUTCOME_COUNTS
from kernels.tdx.counters import (
    AGES,
    BUG_ON,
    COLUMNS,
    CONTENTION,
    ENTRIES,
    GONE,
    KICKS_MET,
    LEAVES,
    OUT_OF_GUEST_NS,
    OUTCOME_MET,
    OUTCOME_SHOOTDOWNS,
    READS,
    SHOOTDOWNS,
    SHOOTDOWNS_MET,
    STATUS_COUNTS,
    STATUSES,
    TRACK_RETRIES,
    TRACK_RETRIES_MAX,
    WAIT_FIELDS,
    WAITING,
    ModuleLock,
)
from kernels.tdx.outcomes import OUTCOMES, Outcome
from kernels.tdx.rules import Flow
from kernels.tdx.statuses import Leaf, Status
from results.collect.race import RunFacts, run_record
from results.collect.tally import Series, snapshot
from results.tests.builders.run import Machine, recorded
from results.verdict import declared


def entry(run: dict, name: str) -> dict:
    return next(o for o in run["outcomes"] if o["id"] == name)


def test_a_snapshot_is_a_copy_of_counters_and_histograms_summed_over_actors():
    machine = Machine(vcpus=3, zappers=2)
    before = machine.snapshot()
    machine.zapper(0, {SHOOTDOWNS: 7})
    machine.zapper(1, {SHOOTDOWNS: 5})
    machine.vcpu(0, {READS: 100})
    machine.vcpu(2, {READS: 10, ENTRIES: 1})
    machine.record("track", 50, index=0)
    machine.record("track", 50, 60, index=1)
    now = machine.snapshot()
    counts = now.histograms["track"]

    assert (now.shootdowns, now.reads, now.vcpus_entered, before.shootdowns) == (12, 110, 1, 0)
    assert (counts[50], counts[60], counts.sum()) == (2, 1, 3)
    assert snapshot(machine.words, machine.lay, histograms=False).histograms == {}  # a frequent one leaves them out


STALE, BUSY = Outcome.stale_in_window, Outcome.operand_busy
NEVER, BROKEN = Outcome.stale_after_done, Outcome.refcount_broken
# By what is shown: an outcome, words of a zapper, of a vCPU and of pages, and what its entry says.
ENTRY: dict[str, tuple[Outcome, dict[int, int], dict[int, int], dict[int, int], dict[str, Any]]] = {
    "shootdowns with an outcome include the last one of each page": (
        STALE,
        {SHOOTDOWNS: 10, SHOOTDOWNS_MET: 5, OUTCOME_SHOOTDOWNS + STALE: 4, OUTCOME_MET + STALE: 4},
        {OUTCOME_COUNTS + STALE: 900}, {3: 1 << STALE, 63: 1 << STALE | 1 << Outcome.fault},
        {"count": 900, "shootdowns": 6, "met": 6, "of": 7, "rate": 0.857143, "ci95": [0.4213, 0.9964]},
    ),
    "a page whose kick met a vCPU or that was read stale counts as met, and another does not": (
        BUSY, {SHOOTDOWNS: 9, KICKS_MET: 8, SHOOTDOWNS_MET: 3}, {},
        {1: 1 << OUTCOMES, 2: 1 << OUTCOMES | 1 << BUSY, 4: 1 << STALE, 5: 1 << BUSY},
        {"shootdowns": 2, "met": 1, "of": 6},
    ),
    "of shootdowns that met nobody alone there is no bound": (
        BUSY, {SHOOTDOWNS: 900, SHOOTDOWNS_MET: 400, OUTCOME_SHOOTDOWNS + BUSY: 6}, {OUTCOME_COUNTS + BUSY: 7}, {},
        {"count": 7, "shootdowns": 6, "met": 0, "of": 400, "rate": 0.0, "would_have_caught": None},
    ),
    "what was never seen says what rate would have been caught": (
        NEVER, {SHOOTDOWNS: 2500, SHOOTDOWNS_MET: 1000}, {}, {},
        {
            "count": 0, "shootdowns": 0, "met": 0, "of": 1000, "rate": 0.0, "ci95": [0.0, 0.0029913],
            "would_have_caught": 0.0029913,
        },
    ),
    "reads are of no shootdown": (
        Outcome.fresh, {}, {OUTCOME_COUNTS + Outcome.fresh: 1000}, {},
        {"count": 1000, "shootdowns": None, "rate": None, "ci95": None},
    ),
    "what was seen in no known shootdown has no rate of zero": (
        BROKEN, {SHOOTDOWNS: 10}, {OUTCOME_COUNTS + BROKEN: 1}, {},
        {"count": 1, "shootdowns": None, "rate": None, "would_have_caught": None},
    ),
    "a shootdown still in hand counts among the tries": (
        STALE, {}, {OUTCOME_COUNTS + STALE: 1}, {0: 1 << STALE}, {"shootdowns": 1, "of": 1, "rate": 1.0},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("outcome", "of_zapper", "of_vcpu", "of_pages", "says"), ENTRY.values(), ids=ENTRY)
def test_an_outcome_has_the_shootdowns_that_showed_it(outcome, of_zapper, of_vcpu, of_pages, says):
    machine = Machine()
    machine.zapper(0, of_zapper)
    machine.vcpu(0, of_vcpu)
    for page, flags in of_pages.items():
        machine.words[machine.lay.page_flags + page] = flags
    run = recorded(machine).json

    found = entry(run, outcome.name)
    assert {key: found[key] for key in says} == {
        key: value if value is None else pytest.approx(value, abs=1e-4 if key == "ci95" else 1e-6)
        for key, value in says.items()
    }
    assert run["met"]["kicks"] == of_zapper.get(KICKS_MET, 0)


def test_every_outcome_that_the_flow_declares_stands_in_the_record_even_at_zero():
    run = recorded(Machine()).json

    assert [o["id"] for o in run["outcomes"]] == [o.name for o in declared(Flow.SHOOTDOWN)]
    assert Outcome.ve_on_memory in declared(Flow.MMIO)
    assert Outcome.ve_on_memory not in declared(Flow.SHOOTDOWN)


def test_references_that_nobody_gave_back_and_a_standstill_are_outcomes_of_no_shootdown():
    machine = Machine()
    machine.zapper(0, {SHOOTDOWNS: 10})
    run = recorded(machine, references_left=2, ending="hung", notes=("no progress for 5 s: zapper 0",)).json
    found = entry(run, "refcount_broken")

    assert (found["count"], found["shootdowns"], found["grade"]) == (2, None, "forbidden")
    assert entry(run, "no_progress")["count"] == 1
    assert (run["verdict"], run["reason"].partition(";")[0]) == ("hung", "no progress for 5 s: zapper 0")


def test_latency_and_throughput_leave_the_warm_up_out_and_evidence_does_not():
    machine = Machine()
    bad = Outcome.tracking_not_done
    machine.zapper(0, {SHOOTDOWNS: 100, SHOOTDOWNS_MET: 90, OUTCOME_COUNTS + bad: 1, OUTCOME_SHOOTDOWNS + bad: 1})
    machine.vcpu(0, {READS: 1000})
    machine.record("shootdown", *[5000] * 100)
    machine.record("shootdown_met", *[5000] * 90)
    warm = machine.snapshot()
    machine.zapper(0, {SHOOTDOWNS: 50, SHOOTDOWNS_MET: 30})
    machine.vcpu(0, {READS: 500})
    machine.record("shootdown", *[200] * 30, *[80] * 20)
    machine.record("shootdown_met", *[200] * 30)
    run = recorded(machine, warm, seconds=2.0).json

    assert json.loads(json.dumps(run, allow_nan=False)) == run  # neither NaN nor a number of numpy's
    assert (run["shootdowns"], run["reads"]) == (50, 500)
    assert (run["shootdowns_per_s"], run["reads_per_s"]) == (25.0, 250.0)
    assert (run["latency_ns"]["shootdown"]["n"], run["latency_ns"]["shootdown"]["max"]) == (50, 200)
    assert (run["latency_ns"]["shootdown_met"]["n"], run["latency_ns"]["shootdown_met"]["max"]) == (30, 200)
    assert (run["latency_ns"]["shootdown_empty"]["n"], run["latency_ns"]["shootdown_empty"]["max"]) == (20, 80)
    assert (run["all_shootdowns"], run["all_reads"], run["met"]["shootdowns"]) == (150, 1500, 120)
    assert entry(run, "tracking_not_done")["of"] == 120
    assert run["verdict"] == "failed"


def test_a_race_that_ended_in_its_warm_up_has_evidence_and_no_measurement():
    machine = Machine()
    machine.zapper(0, {SHOOTDOWNS: 3})
    machine.record("shootdown", 700, 700, 700)
    facts = RunFacts("v18", "A title", "safe", ending="crashed", notes=("vcpu 0 was killed",), seconds=1.5)
    run = run_record(facts, None, machine.snapshot(), Series()).json

    assert (run["shootdowns"], run["seconds"], run["shootdowns_per_s"]) == (0, 0.0, 0.0)
    assert run["latency_ns"]["shootdown"]["n"] == 0
    assert (run["all_shootdowns"], run["verdict"], run["reason"]) == (3, "crashed", "vcpu 0 was killed")


def test_statuses_are_counted_in_all_and_by_seamcall():
    machine = Machine()
    track = STATUS_COUNTS + Leaf.TDH_MEM_TRACK * STATUSES
    enter = STATUS_COUNTS + Leaf.TDH_VP_ENTER * STATUSES
    machine.zapper(0, {track + Status.SUCCESS: 10, track + Status.BUSY_TD_EPOCH: 2})
    machine.vcpu(0, {enter + Status.SUCCESS: 30})
    machine.vcpu(1, {enter + Status.BUSY_TD_EPOCH: 3})
    machine.zapper(0, {STATUS_COUNTS + Leaf.TDH_MEM_PAGE_REMOVE * STATUSES + Status.BUSY_RCX: 4})
    run = recorded(machine).json

    assert (run["status"]["SUCCESS"], run["status"]["OPERAND_BUSY|TD_EPOCH"], run["status"]["OTHER"]) == (40, 5, 0)
    assert run["seamcalls"]["TDH.MEM.TRACK"] == {"SUCCESS": 10, "OPERAND_BUSY|TD_EPOCH": 2}
    assert run["seamcalls"]["TDH.MEM.RANGE.BLOCK"] == {"SUCCESS": 0}


def test_a_status_in_a_slot_that_nobody_declared_is_unknown():
    machine = Machine()
    machine.zapper(0, {SHOOTDOWNS: 10, STATUS_COUNTS + Leaf.TDH_MEM_TRACK * STATUSES + 14: 1})
    run = recorded(machine).json

    assert run["seamcalls"]["TDH.MEM.TRACK"]["UNDECLARED_14"] == 1
    assert entry(run, "unknown_status")["count"] == 1
    assert run["verdict"] == "failed"


def test_failed_tries_of_all_actors_come_together_by_lock_seamcall_and_holder():
    machine = Machine(vcpus=2, zappers=2)
    failed = ModuleLock.TREE * LEAVES + Leaf.TDH_MEM_PAGE_REMOVE
    machine.zapper(0, {CONTENTION + failed * COLUMNS + Leaf.TDH_MEM_RANGE_BLOCK: 2})
    machine.zapper(1, {CONTENTION + failed * COLUMNS + GONE: 5})
    for zapper, waits in enumerate(([1, 3, 3, 1210, 1210], [3, 4, 2, 222, 100])):
        machine.zapper(zapper, dict(enumerate(waits, start=WAITING + failed * WAIT_FIELDS)))

    assert recorded(machine).json["lock_contention"] == [
        {
            "lock": "S-EPT tree", "seamcall": "TDH.MEM.PAGE.REMOVE", "failed": 7,
            "held_by": {"TDH.MEM.RANGE.BLOCK": 2, "gone": 5}, "got_at_last": 4, "tries": {"mean": 1.75, "max": 3},
            "got_after_ns": {"mean": 358, "max": 1210},
        }
    ]  # fmt: skip
    assert recorded(Machine()).json["lock_contention"] == []


def test_ages_retries_and_bugs_are_summed_over_actors():
    machine = Machine(vcpus=2, zappers=2)
    machine.vcpu(0, {AGES: 5})
    machine.vcpu(1, {AGES: 6, AGES + 15: 1})
    machine.zapper(0, {SHOOTDOWNS: 10, TRACK_RETRIES: 3, TRACK_RETRIES_MAX: 3})
    machine.zapper(1, {TRACK_RETRIES: 2, TRACK_RETRIES_MAX: 2, BUG_ON: 1})
    run = recorded(machine).json

    assert (run["stale_age_epochs"]["0"], run["stale_age_epochs"]["1"], run["stale_age_epochs"]["15"]) == (11, 0, 1)
    assert run["track_retries"] == {"max": 3, "mean": 0.5}
    assert run["bug_on"] == 1


def test_response_time_stands_only_where_a_rate_was_asked_for():
    closed, opened = Machine(), Machine()
    closed.record("shootdown", 700)
    opened.record("response", 900)

    assert "response" not in recorded(closed).json["latency_ns"]
    assert recorded(opened).json["latency_ns"]["response"]["n"] == 1


def test_percentiles_carry_intervals_of_this_run():
    machine = Machine()
    machine.record("track", 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
    track = recorded(machine).json["latency_ns"]["track"]

    assert (track["p50"], track["ci95"]["p50"]) == (5, [2, 9])
    assert (track["p99"], track["ci95"]["p99"]) == (None, None)


def test_arrays_stand_under_the_name_of_their_ordering():
    machine = Machine()
    machine.record("stale_window", 500)
    series = Series()
    series.append(machine.snapshot())
    arrays = recorded(machine, series=series, ordering="spec").arrays

    assert arrays["spec/hist/stale_window"].sum() == 1
    assert arrays["spec/series/outcomes"].shape == (1, OUTCOMES)
    assert arrays["spec/ages"].shape == (16,)
    assert all(array.dtype in (np.int64, np.float64) for array in arrays.values())


def test_a_series_keeps_time_and_counters():
    machine, series = Machine(), Series()
    series.append(machine.snapshot())
    machine.zapper(0, {SHOOTDOWNS: 5})
    machine.vcpu(0, {OUTCOME_COUNTS + Outcome.stale_in_window: 2})
    series.append(machine.snapshot())
    arrays = series.arrays()

    assert arrays["time_s"][0] == 0.0
    assert arrays["time_s"][1] > 0.0
    assert arrays["shootdowns"].tolist() == [0, 5]
    assert arrays["outcomes"][:, Outcome.stale_in_window].tolist() == [0, 2]
    assert Series().arrays()["outcomes"].shape == (0, OUTCOMES)


def test_a_long_series_is_thinned_evenly(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Series, "MOST", 8)
    machine, series = Machine(), Series()
    for _ in range(50):
        series.append(machine.snapshot())
        machine.zapper(0, {SHOOTDOWNS: 1})

    assert series.arrays()["shootdowns"].tolist() == [0, 8, 16, 24, 32, 40, 48]


def test_the_share_of_time_outside_the_guest_is_the_mean_over_vcpus_of_the_measured_time():
    machine = Machine()
    machine.vcpu(0, {OUT_OF_GUEST_NS: 5_000_000_000})
    warm = machine.snapshot()
    machine.vcpu(0, {OUT_OF_GUEST_NS: 1_000_000_000})

    # One second of one vCPU, of two seconds of two.
    assert recorded(machine, warm).json["out_of_guest_share"] == 0.25
