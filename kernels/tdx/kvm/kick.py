"""KVM's side: requests, the kick with its IPI and acknowledgement, the gate, and SEAMCALLs that answer BUSY.

Source: virt/kvm/kvm_main.c (kvm_make_all_cpus_request, kvm_request_needs_ipi), arch/x86/kvm/x86.c (vcpu_enter_guest),
arch/x86/kvm/vmx/tdx.c of v18 (tdx_track, tdx_flush_tlb) and of v6.16 (tdx_track, tdx_no_vcpus_enter_start),
Documentation/virt/kvm/vcpu-requests.rst.
"""

from kernels.language.atomics import (
    compare_exchange_seq_cst,
    exchange_seq_cst,
    fetch_and_seq_cst,
    fetch_or_seq_cst,
    load_acquire,
    load_seq_cst,
    own,
    set_own,
    store_release,
    store_seq_cst,
)
from kernels.language.naming import OfMe, OneOf, SetOf
from kernels.language.steps import choice, local, op, steps
from kernels.race.tally import count, now, relax, stamp
from kernels.story.spans import wait
from kernels.tdx.bits import Mode, bits_in
from kernels.tdx.counters import GATE_WAIT_NS, IPIS, KICKS_MET, VCPU_HISTS
from kernels.tdx.kvm.busy import answer_of, gives_up, has_one_try, has_some_tries, is_busy, is_known, keeps_vcpus_out
from kernels.tdx.kvm.interrupt import interrupt, interrupt_all
from kernels.tdx.kvm.zap_locks import give_back, has_interrupts_off, lock_no_entry, mode_of_vcpu, take_lock
from kernels.tdx.module.lifecycle import phymem_page_wbinvd
from kernels.tdx.module.locks import write_unlock
from kernels.tdx.module.mem import invept, mem_page_remove, mem_range_block, mem_range_unblock, mem_track
from kernels.tdx.outcomes import Outcome
from kernels.tdx.rules import KVM_REQ_TLB_FLUSH, Fault, Flow, FlushAt, KickBy, Module, SharedFlush
from kernels.tdx.spans import (
    ACKNOWLEDGED,
    AWAKE,
    ENTRY,
    GIVEN_BACK,
    KICKING,
    REQUESTS,
    TO_A_VCPU,
    UNLOCKED,
    VCPUS_IN,
    VCPUS_OUT,
)
from kernels.tdx.statuses import Leaf
from kernels.tdx.tally import count_call, count_retries, note, record
from kernels.tdx.words import VCPU, awaiting, ipi, mode, own_lock, requests, vcpu_epoch

IPI_TO_SEND, IPI_SENT = 1, 2
# The parts of a kick, a bit each, in the order of their steps.
ASKS, SENDS, WAITS, WHOLE = 1, 2, 4, 7
EXIT_REQUESTED, HELD_OUT = 1, 2
GATE_WAIT = VCPU_HISTS.index("gate_wait")


@local
def needs_ipi(rules, was, wait):
    """kvm_request_needs_ipi(): with KVM_REQUEST_WAIT also where another kicker got it out of IN_GUEST_MODE first."""
    return was == Mode.IN_GUEST_MODE or (
        wait and was != Mode.OUTSIDE_GUEST_MODE and not rules.faults & Fault.EXITING_NOT_AWAITED
    )


@local
def nth_vcpu(lay, mask, number):
    """The one with this number of those that have a bit in `mask`; `lay.vcpus` behind the last."""
    for vcpu in range(lay.vcpus):
        if mask >> vcpu & 1:
            if number == 0:
                return vcpu
            number -= 1
    return lay.vcpus


@local
def not_visited(td, lay, rules, me, visited):
    """How many vCPUs the kick has still to visit; `visited` is a bit each."""
    return lay.vcpus - bits_in(visited)


@local
def nth_not_visited(td, lay, rules, me, number, visited):
    return nth_vcpu(lay, ~visited, number)


@choice(not_visited, nth_not_visited, says=TO_A_VCPU)
def next_vcpu(td, lay, rules, me, visited, place):
    """kvm_for_each_vcpu(): in the order of their indices. A search takes every order, so that vCPUs are alike."""
    return place


@local
def marked(td, lay, me, mark):
    """The vCPUs that bear this mark in `awaiting`, a bit each."""
    found = 0
    for vcpu in range(lay.vcpus):
        found |= (own(td, awaiting(lay, me.index, vcpu)) == mark) << vcpu
    return found


@local
def still_marked(td, lay, rules, me, mark):
    """How many these are; 1 where there is none, as the loop ends one way."""
    return max(1, bits_in(marked(td, lay, me, mark)))


@local
def nth_marked(td, lay, rules, me, number, mark):
    return nth_vcpu(lay, marked(td, lay, me, mark), number)


@choice(still_marked, nth_marked, says=TO_A_VCPU)
def next_marked(td, lay, rules, me, mark, after):
    """The next vCPU with this mark, `lay.vcpus` behind the last: IPIs go by CPU number, which is any order of vCPUs."""
    vcpu = after + 1
    while vcpu < lay.vcpus and own(td, awaiting(lay, me.index, vcpu)) != mark:
        vcpu += 1
    return vcpu


@op
def exiting_guest_mode(td, mode_word):
    """kvm_vcpu_exiting_guest_mode(): a full barrier, then IN to EXITING; returns the mode before."""
    return compare_exchange_seq_cst(td, mode_word, Mode.IN_GUEST_MODE, Mode.EXITING_GUEST_MODE)


@steps(span=KICKING, at={"load_acquire_ipi": ACKNOWLEDGED})
def kick(td, lay, rules, me, parts, request, wait, stamped):
    """kvm_make_all_cpus_request(), or some of its `parts`: the request's bit and who is in guest mode, an IPI to each
    of them, and the wait for its handler. `wait`: some part waits, now or later.

    Returns the ticks at which the last IPI was sent, where `stamped`.
    """
    visited: SetOf[VCPU] = 0
    if parts & ASKS:
        for place in range(lay.vcpus):
            vcpu: OneOf[VCPU] = yield next_vcpu(td, lay, rules, me, visited, place)
            visited |= 1 << vcpu
            if request:
                yield fetch_or_seq_cst(td, requests(lay, vcpu), request)
            # Pairs with the vCPU's store of IN_GUEST_MODE and its loads behind it: one of the two sees the other.
            was = yield exiting_guest_mode(td, mode(lay, vcpu))
            count(td, me, KICKS_MET, was != Mode.OUTSIDE_GUEST_MODE)
            if needs_ipi(rules, was, wait):
                set_own(td, awaiting(lay, me.index, vcpu), IPI_TO_SEND)
    mine: OfMe = 1 << me.index
    vcpu = -1
    while parts & SENDS:
        vcpu = yield next_marked(td, lay, rules, me, IPI_TO_SEND, vcpu)
        if vcpu == lay.vcpus:
            break
        yield fetch_or_seq_cst(td, ipi(lay, vcpu), mine)
        set_own(td, awaiting(lay, me.index, vcpu), IPI_SENT if wait else 0)
        count(td, me, IPIS, 1)
        if rules.kick_by != KickBy.WORD:
            interrupt(td, lay, rules, vcpu)
    if rules.kick_by != KickBy.WORD:
        interrupt_all(td, rules, me)
    sent = stamp(rules, stamped)
    vcpu = -1
    while wait and parts & WAITS:
        vcpu = yield next_marked(td, lay, rules, me, IPI_SENT, vcpu)
        if vcpu == lay.vcpus:
            break
        # Acquire pairs with the exchange in acknowledge(): what the vCPU did in the guest is over.
        while (yield load_acquire(td, ipi(lay, vcpu))) & mine:
            relax(td, rules, me)
        set_own(td, awaiting(lay, me.index, vcpu), 0)
    return sent


@steps(in_place=True)
def kick_out(td, lay, rules, me):
    """A whole kick that makes no request, and is waited for."""
    yield from kick(td, lay, rules, me, WHOLE, 0, 1, 0)
    return 0


@steps(span=AWAKE)
def acknowledge(td, lay, rules, me):
    """ack_kick(), the IPI's empty handler: interrupts are on, the TD exit is behind. Answers every sender."""
    if (yield load_acquire(td, ipi(lay, me.index))) != 0:
        yield exchange_seq_cst(td, ipi(lay, me.index), 0)
    return 0


@steps(span=wait("own lock", "waits for a lock of the ordering's own"))
def take_lock_as_vcpu(td, lay, rules, me, lock):
    """Wait for a lock of the ordering's own; with interrupts off no IPI is answered meanwhile."""
    mode = mode_of_vcpu(rules, lock)
    answers = not has_interrupts_off(rules, lock)
    yield from take_lock(td, lay, rules, me, lock, mode, answers)
    return 0


@steps(at={"give_back_own_lock": GIVEN_BACK})
def give_lock_back_as_vcpu(td, lay, rules, me, lock):
    mode = mode_of_vcpu(rules, lock)
    yield give_back(td, own_lock(lay, lock), mode)
    return 0


@steps(span=wait("gate", "waits at the gate"))
def flush_tlb(td, lay, rules, me):
    """v18's tdx_flush_tlb(): wait for TDH.MEM.TRACK; the flush itself is the next VP.ENTER's. Interrupts are on."""
    started = now(rules)
    waited = 0
    while (yield load_acquire(td, lay.gate)) != 0:
        waited = 1
        if not rules.faults & Fault.GATE_WITHOUT_INTERRUPTS:
            yield from acknowledge(td, lay, rules, me)
        relax(td, rules, me)
    if waited:
        spent = record(td, rules, me, GATE_WAIT, now(rules) - started)
        count(td, me, GATE_WAIT_NS, spent)
    return 0


@local
def flushes_shared_ept(rules):
    """tdx_flush_tlb_all(): INVEPT for what a shared EPT maps; as it tells none apart, private translations go, too."""
    return (
        rules.shared_pages and rules.shared_flush == SharedFlush.REQUEST and not rules.faults & Fault.INVEPT_SHARED_ROOT
    )


@local
def invepts_on_request(rules):
    """Whether a vCPU's translations go where it handles KVM_REQ_TLB_FLUSH: on plain EPT they do (vmx_flush_tlb_all());
    of a TD only for a shared EPT (ept_sync_global()), as private ones go at its next entry.
    """
    return rules.module == Module.NONE or flushes_shared_ept(rules) or rules.flow & Flow.MMIO


@local
def defers_flush(rules):
    """Whether the handler of a request hands its flush to the next entry."""
    return rules.flush_at == FlushAt.ENTRY and invepts_on_request(rules)


@local
def defer_flush(td, lay, me):
    """The mark that the next entry flushes by: an epoch in which none can be."""
    flushed = own(td, vcpu_epoch(lay, me.index))
    if flushed > 0:
        set_own(td, vcpu_epoch(lay, me.index), -flushed)


@local
def entry_failed(td, lay, rules, me):
    """An entry that fails leaves the mark where it is, unless it was taken from there before."""
    flushed = own(td, vcpu_epoch(lay, me.index))
    if defers_flush(rules) and rules.faults & Fault.DEFERRED_FLUSH_LOST and flushed < 0:
        set_own(td, vcpu_epoch(lay, me.index), -flushed)


@local
def looks_at_requests(rules):
    """Whether a vCPU does, before it enters: by the ordering, or because what is shared is flushed by one."""
    by_request = rules.flow & Flow.SHARED_EPT and rules.shared_flush == SharedFlush.REQUEST
    return rules.entry_requests or rules.flow & Flow.MMIO or by_request


@steps(span=REQUESTS)
def process_requests(td, lay, rules, me):
    """The head of vcpu_enter_guest(): interrupts are on."""
    if (yield load_acquire(td, requests(lay, me.index))) & KVM_REQ_TLB_FLUSH:
        # kvm_check_request(): clear the bit, then a full barrier, so that the handler sees what was set before the bit.
        if not rules.faults & Fault.REQUEST_CLEARED_LATE:
            yield fetch_and_seq_cst(td, requests(lay, me.index), ~KVM_REQ_TLB_FLUSH)
        if defers_flush(rules):
            defer_flush(td, lay, me)
        elif invepts_on_request(rules):
            invept(td, lay, me)
        if rules.entry_gate:
            yield from flush_tlb(td, lay, rules, me)
        if rules.faults & Fault.REQUEST_CLEARED_LATE:
            yield fetch_and_seq_cst(td, requests(lay, me.index), ~KVM_REQ_TLB_FLUSH)
    return 0


@steps(in_place=True)
def also_asked(td, lay, rules, me):
    """Whether anything else keeps the vCPU from entering: EXIT_REQUESTED, or 0."""
    return 0


@steps(span=ENTRY)
def exit_requested(td, lay, rules, me):
    """What vcpu_enter_guest() checks again behind IN_GUEST_MODE and a full barrier, interrupts off, and tdx_vcpu_run()
    behind that. Returns EXIT_REQUESTED, HELD_OUT by wait_for_sept_zap, or 0.
    """
    if rules.faults & Fault.ENTRY_UNCHECKED:
        return 0
    # seq_cst, as the store of IN_GUEST_MODE before: on aarch64 an acquire load may pass that store.
    if (yield load_seq_cst(td, mode(lay, me.index))) == Mode.EXITING_GUEST_MODE:
        return EXIT_REQUESTED
    if looks_at_requests(rules):
        if (yield load_seq_cst(td, requests(lay, me.index))) != 0:
            return EXIT_REQUESTED
    if rules.entry_wait_for_sept_zap:
        if (yield load_seq_cst(td, lay.wait_for_sept_zap)) != 0:
            return HELD_OUT
    return (yield from also_asked(td, lay, rules, me))


@steps(in_place=True)
def seamcall(td, lay, rules, me, leaf, gpa):
    if leaf == Leaf.TDH_MEM_RANGE_BLOCK:
        status = yield from mem_range_block(td, lay, rules, me, gpa)
    elif leaf == Leaf.TDH_MEM_TRACK:
        status = yield from mem_track(td, lay, rules, me)
    elif leaf == Leaf.TDH_MEM_RANGE_UNBLOCK:
        status = yield from mem_range_unblock(td, lay, rules, me, gpa)
    elif leaf == Leaf.TDH_PHYMEM_PAGE_WBINVD:
        status = yield from phymem_page_wbinvd(td, lay, rules, me, gpa)
    else:
        status = yield from mem_page_remove(td, lay, rules, me, gpa)
    return status


@steps(
    at={
        "store_seq_cst_wait_for_sept_zap": VCPUS_OUT,
        "store_release_wait_for_sept_zap": VCPUS_IN,
        "write_unlock_no_entry_lock": UNLOCKED,
    }
)
def seamcall_until(td, lay, rules, me, leaf, gpa, policy, quiet):
    """The SEAMCALL under a policy for BUSY; returns what is made of its last status. `quiet` counts nothing."""
    without_vcpus = 0
    retries = 0
    while True:
        status = yield from seamcall(td, lay, rules, me, leaf, gpa)
        if not quiet:
            yield from count_call(td, lay, rules, me, leaf, gpa, status)
        if without_vcpus or not is_known(policy, status) or has_one_try(policy):
            break
        if has_some_tries(policy):
            if (yield gives_up(td, lay, rules, me, retries, policy)):
                break
        if keeps_vcpus_out(policy):
            without_vcpus = 1
            if rules.no_entry_lock:
                yield from lock_no_entry(td, lay, rules, me)
            # Pairs with exit_requested(): a vCPU that the kick finds outside sees the flag at its next entry.
            yield store_seq_cst(td, lay.wait_for_sept_zap, 1)
            yield from kick_out(td, lay, rules, me)
            if rules.faults & Fault.LET_IN_TOO_EARLY:
                yield store_release(td, lay.wait_for_sept_zap, 0)
        retries += 1
        relax(td, rules, me)
    if without_vcpus:
        yield store_release(td, lay.wait_for_sept_zap, 0)
        if rules.no_entry_lock:
            yield write_unlock(td, lay.no_entry_lock)
    answer = answer_of(policy, status)
    if is_busy(answer) and not quiet:
        note(td, lay, me, gpa, Outcome.busy_given_up)
    if leaf == Leaf.TDH_MEM_TRACK:
        count_retries(td, me, retries)
    return answer
