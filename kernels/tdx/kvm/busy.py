"""What KVM makes of a SEAMCALL that answers TDX_OPERAND_BUSY: a policy for each SEAMCALL, by how mmu_lock is held.

Source: arch/x86/kvm/vmx/tdx.c of v18 (TDX_ERROR_SEPT_BUSY, tdx_seamcall_sept(), the loops around TDH.MEM.TRACK and
TDH.MEM.PAGE.REMOVE) and of v6.16 (tdx_operand_busy(), -EBUSY of TDH.MEM.PAGE.AUG), tdh_do_no_vcpus() of v6.19.
"""

from kernels.language.steps import choice, local
from kernels.race.tally import two
from kernels.tdx.rules import TRIES_SHIFT, Busy
from kernels.tdx.statuses import HANDED_UP, OPERAND_BUSY, SEPT_TREE, SKIPPED, STATUS_MASK

IN_THE_END = 3
HAND_UP, SKIP = int(Busy.HAND_UP) & IN_THE_END, int(Busy.SKIP) & IN_THE_END
WITHOUT_VCPUS = int(Busy.RETRY_WITHOUT_VCPUS) & IN_THE_END


@local
def is_busy(status):
    """v6.16's tdx_operand_busy(): the operand id is masked off."""
    return status & STATUS_MASK == OPERAND_BUSY


@local
def is_known(policy, status):
    """Whether KVM takes this status for BUSY; v18 knew BUSY of the S-EPT tree alone."""
    return is_busy(status) and (not policy & Busy.SPIN_EXACT or status == OPERAND_BUSY | SEPT_TREE)


@local
def keeps_vcpus_out(policy):
    return policy & IN_THE_END == WITHOUT_VCPUS


@local
def has_one_try(policy):
    """Whether the first try is the last."""
    return policy >> TRIES_SHIFT == 1 and not keeps_vcpus_out(policy)


@local
def has_some_tries(policy):
    return policy >> TRIES_SHIFT > 1


@local
def answer_of(policy, status):
    """What the caller is told of the last try: its status, or what the policy makes of BUSY in the end."""
    if is_known(policy, status):
        if policy & IN_THE_END == HAND_UP:
            return HANDED_UP
        if policy & IN_THE_END == SKIP:
            return SKIPPED
    return status


@choice(two, says=("tries again", "gives up"))
def gives_up(td, lay, rules, me, retries, policy):
    """Whether the tries are used up. A search gives up behind any of them where there are two or more: so many may come
    in a row while nobody else moves.
    """
    return retries + 1 >= policy >> TRIES_SHIFT
