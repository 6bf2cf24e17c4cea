"""What the steps of a machine look at under one ordering's rules."""

from pathlib import Path

import pytest

import kernels
from kernels.tdx.part import has_tables
from kernels.tdx.reads import Reads, reads
from kernels.tdx.rules import FLOWS, Busy, Fault, FaultRetry, Flow, FlushAt, Guard, HkidFree, Module, Rules, SharedFlush
from kernels.tests.orders import PAIR, REQUESTS, SPEC, V6_16, V18, busy, order, two_levels

# What a race alone looks at: its clock, its pace, how many CPUs there are.
OF_RACES = {"gap", "period", "start_offset", "start_offsets", "shared_cpus", "clock", "ticks_to_ns"}


def of(rules: Rules, flow: Flow = Flow.SHOOTDOWN, **fields: int) -> Reads:
    its = two_levels(rules, flow) if has_tables(flow) else rules._replace(flow=int(flow))
    return reads(its._replace(**fields))


def looks_for(its: Reads, what: Fault | str) -> bool:
    """Whether some step looks for this fault, or at this field of the rules."""
    return bool(its.faults & what) if isinstance(what, Fault) else what in its.fields


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
        of(order("protect flush", **REQUESTS), Flow.WRITES, module=int(Module.NONE), flush_at=int(FlushAt.ENTRY))
    )
    found.append(of(SPEC._replace(entry_lock=1)))
    found.append(of(order("block remove wbinvd", **busy(Busy.HAND_UP))))

    fields = frozenset().union(*(one.fields for one in found))
    assert set(Rules._fields) - fields == {"faults", *OF_RACES}
    assert {fault for fault in Fault if not any(looks_for(one, fault) for one in found)} == set()


def test_what_a_race_alone_looks_at_stands_in_the_source() -> None:
    folder = Path(kernels.__file__).parent
    files = [path for path in folder.rglob("*.py") if "tests" not in path.relative_to(folder).parts]
    source = "".join(path.read_text() for path in files)

    assert {name for name in OF_RACES if f"rules.{name}" not in source} == set()


UNTRACKED, UNKICKED = order("block kick remove"), order("block remove")
HANDS_UP = V6_16._replace(**busy(Busy.BUG) | busy(Busy.SPIN, "track"))
PLAIN = SPEC._replace(module=int(Module.NONE))
SHARED = {"flow": int(Flow.SHARED_EPT), "shared_pages": 1, "entry_requests": 1}
BY_REQUEST, BY_TRACK = ({**SHARED, "shared_flush": int(by)} for by in (SharedFlush.REQUEST, SharedFlush.TRACK))


@pytest.mark.parametrize(
    ("what", "looking", "not_looking"),
    [
        # Behind a test that is undecided all is read, and what the rules decide against is not.
        ("entry_gate", [V18], [SPEC]),
        (Fault.LET_IN_TOO_EARLY, [V6_16], [SPEC, HANDS_UP]),
        # A step that the order does not have reads nothing.
        ("track_busy_write", [SPEC], [UNTRACKED]),
        (Fault.TRACK_IGNORES_REFCOUNT, [SPEC], [UNTRACKED]),
        ("wait", [SPEC], [UNKICKED]),
        ("kick_by", [SPEC], [UNKICKED]),
        ("gate", [V18._replace(**PAIR)], [SPEC._replace(**PAIR)]),
        # A word that nobody writes is zero.
        (Fault.REQUEST_CLEARED_LATE, [UNTRACKED._replace(**REQUESTS)], [UNTRACKED._replace(entry_requests=1)]),
        # A kick that does not wait and one that does differ in whom they await.
        (Fault.EXITING_NOT_AWAITED, [SPEC], [SPEC._replace(wait=0)]),
        # Without the module nobody looks for faults of what it checks.
        (Fault.REMOVE_WITHOUT_TRACKING, [SPEC], [PLAIN]),
        (Fault.REMOVE_IGNORES_REFCOUNT, [SPEC], [PLAIN]),
        (Fault.NO_FLUSH_AT_ENTRY, [PLAIN], []),
        # What a fault leaves out is not looked at beside it.
        ("entry_wait_for_sept_zap", [SPEC], [SPEC._replace(faults=int(Fault.ENTRY_UNCHECKED))]),
        # The shared root is flushed by a request alone.
        (Fault.INVEPT_SHARED_ROOT, [SPEC._replace(**BY_REQUEST)], [V18._replace(**BY_TRACK)]),
    ],
)
def test_what_is_looked_at_follows_from_the_rules(what, looking, not_looking) -> None:
    assert [looks_for(reads(rules), what) for rules in looking] == [True] * len(looking)
    assert [looks_for(reads(rules), what) for rules in not_looking] == [False] * len(not_looking)


def test_only_a_page_table_page_that_goes_is_removed_without_tracking() -> None:
    fault = Fault.SEPT_REMOVE_WITHOUT_TRACKING

    assert [flow for flow in FLOWS if looks_for(of(SPEC, flow, batch=2), fault)] == [Flow.SEPT_PAGES]
