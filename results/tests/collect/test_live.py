"""What happened between two snapshots, as the live view shows it."""

from dataclasses import replace

from kernels.layout import OUTCOME_COUNTS
from kernels.tdx.counters import READS, SHOOTDOWNS
from kernels.tdx.outcomes import Outcome
from results.collect.live import live_view
from results.tests.builders.run import Machine


def test_rates_are_of_the_time_between_the_snapshots():
    machine = Machine()
    before = replace(machine.snapshot(), at_ns=1_000_000_000)
    machine.zapper(0, {SHOOTDOWNS: 10})
    machine.vcpu(1, {READS: 4000})
    live = live_view("v18", before, replace(machine.snapshot(), at_ns=3_000_000_000), safe=True, left_s=4.4)

    assert (live.shootdowns, live.shootdowns_per_s, live.reads_per_s, live.left) == (10, 5.0, 2000.0, "4 s")


def test_percentiles_are_of_what_is_new_and_met_a_vcpu():
    machine = Machine()
    machine.record("shootdown_met", *[9000] * 100)
    before = machine.snapshot()
    machine.record("shootdown_met", *[100] * 10)
    machine.record("shootdown", *[100] * 10, *[40] * 90)
    live = live_view("v18", before, machine.snapshot(), safe=True)

    assert (live.p50_ns, live.p99_ns) == (100, None)


def test_outcomes_that_matter_are_shown_and_others_only_when_seen():
    machine = Machine()
    before = machine.snapshot()
    machine.vcpu(0, {OUTCOME_COUNTS + Outcome.not_blocked: 3})
    live = live_view("v18", before, machine.snapshot(), safe=True)

    assert live.outcomes["not_blocked"] == 3
    assert live.outcomes["tracking_not_done"] == 0
    assert "refcount_broken" not in live.outcomes
