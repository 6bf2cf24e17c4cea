"""Orderings at random: any order of any of the steps that a file could ask for, with all that belongs to it."""

from hypothesis import assume
from hypothesis import strategies as st

from kernels.search.explore import explore
from kernels.tdx.protocol import Size, of_flow
from kernels.tdx.rules import KVM_REQ_TLB_FLUSH, Busy, Fault, Gate, OnError, Rules, Step, tries
from kernels.tests.orders import busy, order

FAULTS = sorted(Fault)
MIDDLE = (Step.BLOCK, Step.KICK, Step.TRACK)
# Machines with more than one of a kind, and how many steps before REMOVE Python can afford there.
SIZES = {Size(1, 1, 2, 2): 3, Size(1, 2): 2, Size(2, 1): 1}


@st.composite
def orderings(
    draw: st.DrawFn, most_shootdowns: int = 1, steps: tuple[Step, ...] = MIDDLE, may_gate: bool = True
) -> Rules:
    """REMOVE stands once, of the other steps no others than these, the gate's together or not at all; a request or a
    gate is looked at where there is one; who keeps vCPUs out relies on their looking; everything else is free.
    """
    gated = may_gate and draw(st.booleans())
    gate = [Step.GATE_RAISE, Step.GATE_LOWER] if gated else []
    shootdown = draw(st.permutations([*steps, *gate]))
    left_out = draw(st.sampled_from([None, None, Step.BLOCK, Step.KICK, Step.TRACK]))
    shootdown = [step for step in shootdown if step != left_out]
    # Most often at the end: too early it is refused, and nothing else comes to pass.
    shootdown.insert(draw(st.sampled_from([len(shootdown)] * 4 + [*range(len(shootdown))])), Step.REMOVE)
    kicks = Step.KICK in shootdown
    request = draw(st.sampled_from([0, KVM_REQ_TLB_FLUSH])) if kicks else 0
    entry_requests = 1 if request else draw(st.integers(0, 1))
    wait_for_sept_zap = draw(st.integers(0, 1))
    on_error = draw(st.sampled_from([OnError.STOP, OnError.FREE_PAGE]))
    # Who begins again and goes on after an error tracks without end.
    handed_up = [Busy.HAND_UP] * (on_error == OnError.STOP)
    exact = [Busy.BUG, Busy.SPIN, Busy.SPIN_EXACT, *handed_up, Busy.SKIP, tries(2)]
    policy = st.sampled_from([*exact, *[Busy.RETRY_WITHOUT_VCPUS] * 3 * wait_for_sept_zap])
    return order(
        " ".join(step.name.lower() for step in shootdown),
        request=request,
        wait=draw(st.integers(0, 1)) if kicks else 0,
        gate=int(draw(st.sampled_from([Gate.COUNTER, Gate.FLAG]))) if gated else int(Gate.NONE),
        entry_requests=entry_requests,
        entry_gate=draw(st.integers(0, 1)) if gated and entry_requests else 0,
        entry_wait_for_sept_zap=wait_for_sept_zap,
        **busy(draw(policy), "track"),
        **busy(draw(policy), "block", "remove"),
        serialized=draw(st.integers(0, 1)),
        on_error=int(on_error),
        faults=sum(int(fault) for fault in draw(st.lists(st.sampled_from(FAULTS), unique=True, max_size=1))),
        shootdowns=draw(st.integers(1, most_shootdowns)),
    )


@st.composite
def small_enough(draw: st.DrawFn, size: Size, most_states: int = 15_000) -> Rules:
    """An ordering for a machine with more than one of a kind, no larger than Python comes to the end of."""
    steps = draw(st.permutations(MIDDLE))[: SIZES[size]]
    rules = draw(orderings(steps=tuple(steps), may_gate=len(steps) > 1))
    whole = explore(*of_flow(rules), size, symmetry=False, reduction=False, threads=1, liveness=False)
    assume(whole.states <= most_states)
    return rules
