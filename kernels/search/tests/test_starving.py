"""Who is kept for ever, by any schedule or by a fair but unlucky one: what the compiled graph says of orders that are
known. That the slow search says the same of these and of others is looked at wherever the two are compared.
"""

import pytest

from kernels.search.explore import explore
from kernels.tdx.protocol import Size, of_flow
from kernels.tdx.rules import Fault, Flow
from kernels.tests.orders import GATED, NO_KICK, SAFE, SPEC, V6_16, V18, order, two_levels
from kernels.tests.slow_search import found_alike
from kernels.tests.witnesses import machine

ONE, TWO_ZAPPERS, TWO_VCPUS = Size(1, 1), Size(1, 2), Size(2, 1)
DEAF = V18._replace(faults=int(Fault.GATE_WITHOUT_INTERRUPTS))
RAISED = order("block gate_raise kick track remove", serialized=1, **GATED)
STEPPED = two_levels(SPEC, Flow.ZERO_STEP, hp_lock_timeout=1)
# By what is shown: the rules, a machine, who can be kept, and whom some states let in no more.
KEPT = {
    # Where TRACK is not tried again without end: nobody is in its way behind the gate, or without vCPUs, or at all.
    "nobody behind the gate": (V18, ONE, "", ""),
    "nobody where vCPUs are kept out": (V6_16, ONE, "", ""),
    "nobody who does not track": (order("kick remove"), ONE, "", ""),
    "neither of two zappers": (order("remove"), TWO_ZAPPERS, "", ""),
    "a zapper beside two vCPUs": (order("remove"), TWO_VCPUS, "", ""),
    # A vCPU enters whenever TRACK is tried; it never acknowledges a kick.
    "a zapper that tracks": (SPEC, ONE, "zapper 0", ""),
    "both that track": (NO_KICK, TWO_ZAPPERS, "zapper 0, zapper 1", ""),
    "who waits for a deaf vCPU, and that": (DEAF, ONE, "vcpu 0, zapper 0", "vcpu 0"),
    # A fault waits for mmu_lock, which its zapper takes again and again.
    "a fault": (two_levels(SPEC, Flow.POPULATE), ONE, "vcpu 0, zapper 0", ""),
    "a vCPU behind a gate that stays up": (RAISED, ONE, "vcpu 0", "vcpu 0"),
    # As TDX_1.5.01 has it: PENDING still faults for its filter, and nobody else accepts the page. The zapper goes on.
    "a vCPU that the zero-step filter has listed": (STEPPED, ONE, "vcpu 0, zapper 0", "vcpu 0"),
}


@pytest.mark.parametrize(("rules", "size", "starving", "refused"), KEPT.values(), ids=KEPT)
def test_can_be_kept(rules, size, starving, refused):
    live = found_alike(rules, size).liveness

    assert live is not None
    assert ", ".join(sorted(live.starving)) == starving
    assert ", ".join(live.refused or {}) == refused


@pytest.mark.parametrize("size", [ONE, TWO_VCPUS])
def test_a_vcpu_behind_a_gate_that_is_never_lowered_is_kept_out_though_the_zapper_finishes(size):
    """At the end of the schedule the gate is up and a vCPU is told to stop there: its request is set."""
    found = explore(*of_flow(RAISED), size, threads=1)

    assert found.liveness is not None
    assert found.liveness.refused is not None
    assert set(found.liveness.refused) == {f"vcpu {index}" for index in range(size.vcpus)}
    assert found.deadlocks == 0
    assert found.outcomes["no_progress"] == found.liveness.livelock
    run = machine(RAISED, size)
    for move in found.liveness.livelock:
        run.step(move.actor, move.chosen)
    assert run.words[run.lay.gate] and run.words[run.lay.requests]


def test_a_zapper_that_takes_a_lock_twice_is_kept():
    live = explore(*of_flow(order("lock_sept_lock lock_sept_lock")), ONE, threads=1).liveness

    assert live is not None
    assert (live.starving.keys(), live.refused) == ({"zapper 0"}, {})


def test_of_a_vcpu_that_nobody_lets_in_every_state_is_counted():
    live = explore(*of_flow(STEPPED), ONE, threads=1).liveness

    assert live is not None
    assert (live.states, live.livelocks, live.refused) == (1134, 1050, {"vcpu 0": 1050})


@pytest.mark.parametrize("size", [ONE, TWO_ZAPPERS, TWO_VCPUS])
@pytest.mark.parametrize("rules", SAFE.values(), ids=SAFE)
def test_in_no_safe_ordering_is_a_vcpu_kept_out(rules, size):
    live = explore(*of_flow(rules), size, threads=1).liveness

    assert live is not None
    assert (live.livelocks, live.refused) == (0, {})
    assert not [name for name in live.starving if name.startswith("vcpu")]
