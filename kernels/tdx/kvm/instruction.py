"""A guest that goes on with the instruction at which it was left: RIP is what it was until it is done.

Source: arch/x86/kvm/vmx/tdx.c tdx_handle_ept_violation(). Elsewhere (`kernels/tdx/guest.py`) a guest turns to
another page behind each exit, which a search has fewer states for.
"""

from kernels.language.atomics import store_release
from kernels.language.steps import steps
from kernels.tdx.guest import NEXT, PAGE_SHIFT, instruction_of, next_instruction, page_of_end
from kernels.tdx.outcomes import Outcome
from kernels.tdx.spans import DECLARED_DEAD
from kernels.tdx.tally import note


@steps(labelled=False)
def turn_to_same(td, lay, rules, me, at):
    """The page of the instruction at hand, another one where the last is done."""
    if at != NEXT:
        return at >> PAGE_SHIFT
    return (yield from next_instruction(td, lay, rules, me))


@steps(in_place=True)
def same_instruction(td, lay, rules, me, ended):
    return instruction_of(ended)


@steps(span=DECLARED_DEAD)
def kill_for_pending(td, lay, rules, me, ended):
    """tdx_handle_ept_violation(): an unexpected pending page; kvm_vm_dead()."""
    note(td, lay, me, page_of_end(ended), Outcome.access_before_accept)
    yield store_release(td, lay.vm_bugged, 1)
    return 0
