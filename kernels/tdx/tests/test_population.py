"""Two page tables in step: vCPUs that fault populate, zappers zap. Every search here also looks in every state whether
mirror and S-EPT agree, and who owns a page.
"""

import pytest

from kernels.tdx.protocol import Size
from kernels.tdx.rules import Busy, Fault, Flow
from kernels.tests.orders import SPEC, V6_16, V18, busy, two_levels
from kernels.tests.witnesses import ONE, shows, whole

ALWAYS, RETRIED = {"fault", "operand_busy"}, {"fault_retried"}
ORDERS = {name: two_levels(rules, Flow.POPULATE) for name, rules in (("spec", SPEC), ("v18", V18), ("v6_16", V6_16))}
UNZAPPED, TWO_VCPUS = ORDERS["spec"]._replace(shootdowns=0), Size(2, 1)


@pytest.mark.parametrize(
    ("rules", "size", "shown", "states"),
    [
        (ORDERS["spec"], ONE, {"stale_in_window"}, 3_068),
        (ORDERS["v18"], ONE, {"stale_in_window"} | RETRIED, 3_907),
        (ORDERS["v6_16"], ONE, {"stale_in_window"}, 4_105),
        (UNZAPPED, TWO_VCPUS, {"page_already_accepted"} | RETRIED, 2_705),
    ],
)
def test_a_zapper_may_zap_what_a_vcpu_populates_and_of_two_vcpus_that_fault_on_one_page_one_retries(
    rules, size, shown, states
):
    found = whole(rules, size)

    assert (set(found.outcomes), found.states, found.deadlocks) == (ALWAYS | shown, states, 0)


UNFROZEN, EARLY = (UNZAPPED._replace(faults=int(one)) for one in (Fault.POPULATE_UNFROZEN, Fault.UNFREEZE_EARLY))
test_what_breaks_it_is_seen = shows({
    "unfrozen": (UNFROZEN, TWO_VCPUS, "entry_state_incorrect mirror_in_step", 15_818),
    "present too early": (EARLY, TWO_VCPUS, "ept_walk_failed mirror_in_step", 3_298),
    "not zeroed": (ORDERS["spec"]._replace(faults=int(Fault.ACCEPT_WITHOUT_ZEROING)), ONE, "not_zeroed", 2_886),
    # TDX_ERROR_SEPT_BUSY is that of the tree; BLOCK meets ACCEPT and is told OPERAND_BUSY|RCX.
    "BUSY compared exactly": (
        ORDERS["v18"]._replace(**busy(Busy.SPIN_EXACT, "block", "remove")), ONE, "busy_given_up", 3_982,
    ),
})  # fmt: skip
