"""What the steps of a machine look at under one ordering's rules."""

from pathlib import Path

import kernels
from kernels.tdx.part import has_tables
from kernels.tdx.reads import Reads, reads
from kernels.tdx.rules import FLOWS, Busy, Fault, FaultRetry, Flow, FlushAt, Guard, HkidFree, Module, Rules, SharedFlush
from kernels.tests.orders import (
    BLOCK,
    FLUSH,
    KICK,
    PROTECT,
    REMOVE,
    REQUESTS,
    SPEC,
    V6_16,
    V18,
    busy,
    order,
    two_levels,
)

# What a race alone looks at: its clock, its pace, how many CPUs there are.
OF_RACES = {"gap", "period", "start_offset", "start_offsets", "shared_cpus", "clock", "ticks_to_ns"}


def of(rules: Rules, flow: Flow = Flow.SHOOTDOWN, **fields: int) -> Reads:
    its = two_levels(rules, flow) if has_tables(flow) else rules._replace(flow=int(flow))
    return reads(its._replace(**fields))


def looks_for(its: Reads, fault: Fault) -> bool:
    return bool(its.faults & fault)


def test_every_rule_is_looked_at_in_some_flow_and_every_fault_is_looked_for() -> None:
    orders = (
        SPEC._replace(fault_for_write=1),
        V18,
        V6_16,
        V6_16._replace(hkid_free=int(HkidFree.TERMINATE)),
        V6_16._replace(fault_retry=int(FaultRetry.LOCAL_VALID)),
    )
    found = [
        of(rules, flow, batch=2, shared_pages=1, lps=2, guard=int(Guard.ALL))
        for rules in orders
        for flow in (*FLOWS, Flow.MEMSLOTS | Flow.ZERO_STEP)
    ]
    found.append(
        of(order(PROTECT, FLUSH, **REQUESTS), Flow.WRITES, module=int(Module.NONE), flush_at=int(FlushAt.ENTRY))
    )
    found.append(of(SPEC._replace(entry_lock=1)))

    fields = frozenset().union(*(one.fields for one in found))
    assert set(Rules._fields) - fields == {"faults", *OF_RACES}
    assert {fault for fault in Fault if not any(looks_for(one, fault) for one in found)} == set()


def test_what_a_race_alone_looks_at_stands_in_the_source() -> None:
    folder = Path(kernels.__file__).parent
    files = [path for path in folder.rglob("*.py") if "tests" not in path.relative_to(folder).parts]
    source = "".join(path.read_text() for path in files)

    assert {name for name in OF_RACES if f"rules.{name}" not in source} == set()


def test_what_a_step_behind_an_undecided_test_looks_at_is_read_and_what_the_rules_decide_against_is_not() -> None:
    assert "entry_gate" in of(V18).fields
    assert "entry_gate" not in of(SPEC).fields
    assert looks_for(of(V6_16), Fault.LET_IN_TOO_EARLY)
    assert not looks_for(of(SPEC), Fault.LET_IN_TOO_EARLY)
    assert not looks_for(of(V6_16._replace(**busy(Busy.BUG) | busy(Busy.SPIN, "track"))), Fault.LET_IN_TOO_EARLY)


def test_a_step_that_the_order_does_not_have_reads_nothing() -> None:
    without_track = of(order(BLOCK, KICK, REMOVE))

    assert "track_busy_write" not in without_track.fields
    assert "track_busy_write" in of(SPEC).fields
    assert not looks_for(without_track, Fault.TRACK_IGNORES_REFCOUNT)
    assert "wait" not in of(order(BLOCK, REMOVE)).fields


def test_a_word_that_nobody_writes_is_zero() -> None:
    looks_only = of(order(BLOCK, KICK, REMOVE, entry_requests=1))
    asks = of(order(BLOCK, KICK, REMOVE, **REQUESTS))

    assert not looks_for(looks_only, Fault.REQUEST_CLEARED_LATE)
    assert looks_for(asks, Fault.REQUEST_CLEARED_LATE)


def test_how_a_race_kicks_is_looked_at_where_an_ipi_is_sent() -> None:
    assert "kick_by" in of(SPEC).fields
    assert "kick_by" not in of(order(BLOCK, REMOVE)).fields


def test_a_kick_that_does_not_wait_and_one_that_does_differ_in_whom_they_await() -> None:
    assert looks_for(of(SPEC), Fault.EXITING_NOT_AWAITED)
    assert not looks_for(of(SPEC, wait=0), Fault.EXITING_NOT_AWAITED)


def test_without_the_module_nobody_looks_for_faults_of_what_it_checks() -> None:
    plain = of(SPEC, module=int(Module.NONE))

    assert not looks_for(plain, Fault.REMOVE_WITHOUT_TRACKING)
    assert not looks_for(plain, Fault.REMOVE_IGNORES_REFCOUNT)
    assert looks_for(plain, Fault.NO_FLUSH_AT_ENTRY)


def test_what_a_fault_leaves_out_is_not_looked_at_beside_it() -> None:
    assert "entry_wait_for_sept_zap" in of(SPEC).fields
    assert "entry_wait_for_sept_zap" not in of(SPEC, faults=int(Fault.ENTRY_UNCHECKED)).fields


def test_the_shared_root_is_flushed_by_a_request_alone() -> None:
    shared = {"shared_pages": 1, "entry_requests": 1}
    request, track = int(SharedFlush.REQUEST), int(SharedFlush.TRACK)

    assert looks_for(of(SPEC, Flow.SHARED_EPT, **shared, shared_flush=request), Fault.INVEPT_SHARED_ROOT)
    assert not looks_for(of(V18, Flow.SHARED_EPT, **shared, shared_flush=track), Fault.INVEPT_SHARED_ROOT)


def test_only_a_page_table_page_that_goes_is_removed_without_tracking() -> None:
    fault = Fault.SEPT_REMOVE_WITHOUT_TRACKING

    assert [flow for flow in FLOWS if looks_for(of(SPEC, flow, batch=2), fault)] == [Flow.SEPT_PAGES]
