"""The faults: what each breaks, in which source, and an ordering under which that shows.

Most faults of the module show only where the kernel's order is wrong too, most of KVM's only in an order that relies on
what they break; `explore --matrix` has every pair.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kernels.rules import Fault, OnError
from scenarios.loader import load_ordering
from scenarios.models import Ordering

MODULE, KVM_MAIN = "intel/tdx-module TDX_1.5.01", "Linux virt/kvm/kvm_main.c"
ENTER_GUEST, TDX = "Linux arch/x86/kvm/x86.c, vcpu_enter_guest()", "arch/x86/kvm/vmx/tdx.c"

BEFORE_TRACK = "mem_track.try_lock_exclusive_epoch_lock"
BEFORE_EXIT = "td_exit.fetch_add_seq_cst_epoch_tracking"


@dataclass(frozen=True, slots=True)
class Shown:
    """A fault in words, the source that it breaks, and the shipped ordering with the forbidden outcome that it adds.

    `yields`: where an actor has to lose its CPU for a race to see it soon, with the odds; none: as in `wrong`.
    `on_error`: whether a race goes on after an error; not where no second shootdown clears the way.
    `raced`: whether races see it at all; what takes a TRACK and an entry between two loads was never seen in one.
    """

    title: str
    source: str
    ordering: str
    outcome: str
    yields: Mapping[str, float] = field(default_factory=dict)
    raced: bool = True
    on_error: str = OnError.LEAK_PAGE.name.lower()


FAULTS: dict[Fault, Shown] = {
    Fault.NO_FLUSH_AT_ENTRY: Shown(
        "TDH.VP.ENTER sees a new epoch and does not flush the TLB",
        f"{MODULE}, adjust_tlb_tracking_state(), without its INVEPT",
        "spec",
        "use_after_remove",
    ),
    Fault.REMOVE_WITHOUT_TRACKING: Shown(
        "TDH.MEM.PAGE.REMOVE does not ask whether TLB tracking is done",
        f"{MODULE}, tdh_mem_page_remove.c, without its call of is_tlb_tracked()",
        "kick_then_track",
        "use_after_remove",
    ),
    Fault.ENTRY_WITHOUT_EPOCH_LOCK: Shown(
        "TDH.VP.ENTER does not lock the epoch: TRACK comes between its sample and its reference",
        f"{MODULE}, adjust_tlb_tracking_state(), without epoch_lock",
        "no_kick",
        "use_after_remove",
    ),
    Fault.REMOVE_IGNORES_REFCOUNT: Shown(
        "TDH.MEM.PAGE.REMOVE asks for a newer epoch, not for whoever still runs in the old one",
        f"{MODULE}, is_tlb_tracked(), without the reference count",
        "no_kick",
        "use_after_remove",
    ),
    Fault.TRACK_IGNORES_REFCOUNT: Shown(
        "TDH.MEM.TRACK goes on while a vCPU runs in the previous epoch: nobody counts it any more",
        f"{MODULE}, tdh_mem_track.c, without TDX_PREVIOUS_TLB_EPOCH_BUSY",
        "no_kick",
        "use_after_remove",
        {"write_lock_mmu.try_lock_exclusive_mmu_lock": 0.5},
    ),
    Fault.BLOCK_STORES_EPOCH_FIRST: Shown(
        "TDH.MEM.RANGE.BLOCK samples the epoch before it blocks: a TRACK between them makes it one too old",
        f"{MODULE}, tdh_mem_range_block.c, bepoch before the S-EPT entry",
        "gate_lowered_early",
        "use_after_remove",
        {"mem_range_block.store_release_sept": 0.3, BEFORE_TRACK: 0.5},
    ),
    Fault.EXIT_LOWERS_CURRENT_EPOCH: Shown(
        "TD exit lowers the current epoch's count, not that of the epoch in which it entered",
        f"{MODULE}, td_exit.c, td_epoch in place of the TDVPS's vcpu_epoch",
        "spec",
        "refcount_broken",
        {BEFORE_TRACK: 0.5},
        on_error="stop",
    ),
    Fault.TORN_EPOCH_READ: Shown(
        "is_tlb_tracked() reads the reference counts, then the epoch: a vCPU and a TRACK come between",
        f"{MODULE}, is_tlb_tracked(), two loads in place of one of 128 bits",
        "track_then_block_unserialized",
        "use_after_remove",
        raced=False,
    ),
    Fault.LOST_KICK: Shown(
        "the store of IN_GUEST_MODE is seen late: the kicker finds the vCPU outside and sends no IPI",
        f"{ENTER_GUEST}, without the barrier behind the store",
        "spec",
        "tracking_not_done",
        {"vcpu.store_seq_cst_mode": 0.05},
    ),
    Fault.OUTSIDE_TOO_EARLY: Shown(
        "a vCPU is reported outside before its TD exit: the kick is skipped",
        f"{ENTER_GUEST}; of the kind of CVE-2022-39189",
        "spec",
        "tracking_not_done",
        {BEFORE_EXIT: 0.05},
    ),
    Fault.ACKNOWLEDGED_TOO_EARLY: Shown(
        "the IPI is acknowledged before TD exit: the kicker waits for nothing",
        f"{KVM_MAIN}, ack_kick(); Documentation/virt/kvm/vcpu-requests.rst",
        "spec",
        "tracking_not_done",
        {BEFORE_EXIT: 0.05},
    ),
    Fault.ENTRY_UNCHECKED: Shown(
        "behind IN_GUEST_MODE neither mode nor requests nor wait_for_sept_zap are looked at again",
        f"{ENTER_GUEST}, without kvm_vcpu_exit_request()",
        "flag_gate",
        "tracking_not_done",
        {"vcpu.store_seq_cst_mode": 0.2, BEFORE_TRACK: 0.5},
    ),
    Fault.EXITING_NOT_AWAITED: Shown(
        "a kick that waits does not wait for a vCPU that another kicker found in the guest first",
        f"{KVM_MAIN}, kvm_request_needs_ipi(), without KVM_REQUEST_WAIT's case",
        "v18",
        "tracking_not_done",
        {"kick.fetch_or_seq_cst_ipi": 0.5},
    ),
    Fault.REQUEST_CLEARED_LATE: Shown(
        "a request is cleared behind its handler: one that was made meanwhile is lost",
        "Linux include/linux/kvm_host.h, kvm_check_request(), clear_bit() behind the handler",
        "flag_gate",
        "tracking_not_done",
        {"process_requests.fetch_and_seq_cst_requests": 0.1, BEFORE_TRACK: 0.1},
    ),
    Fault.GATE_WITHOUT_INTERRUPTS: Shown(
        "the wait at the gate acknowledges no IPI, for which the one who shut the gate waits",
        "[PATCH v18 060/121] tdx_flush_tlb(), with interrupts off",
        "v18",
        "no_progress",
        {"kick.fetch_or_seq_cst_ipi": 0.1},
    ),
    Fault.LET_IN_TOO_EARLY: Shown(
        "wait_for_sept_zap is cleared before the SEAMCALL is tried again: it can be BUSY a second time",
        f"Linux v6.16, {TDX}, tdx_no_vcpus_enter_stop() before the retry",
        "v6_16",
        "busy_given_up",
        {
            "vp_enter.fetch_add_seq_cst_epoch_tracking": 0.02,
            "seamcall_until.store_release_wait_for_sept_zap": 0.5,
            BEFORE_TRACK: 0.5,
        },
    ),
}


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A fault of a flow that is not the default one, in words, and the source that it breaks."""

    flow: str
    title: str
    source: str


ELSEWHERE: dict[Fault, Elsewhere] = {
    Fault.FLUSH_DROPPED_AT_YIELD: Elsewhere(
        "batch",
        "a zap yields without its pending flush, and forgets it",
        "Linux a835429cda91, tdp_mmu_iter_cond_resched() in a GFN range zap, and its kin",
    ),
    Fault.INVEPT_SHARED_ROOT: Elsewhere(
        "shared_ept",
        "INVEPT names the shared EPT's root, which no translation is tagged with",
        "Linux v6.16, arch/x86/kvm/vmx/tdx.c: tdx_flush_tlb_current(), why it does not do so",
    ),
    Fault.KEEP_MMIO_SPTE: Elsewhere(
        "mmio",
        "KVM creates a memslot and does not zap the MMIO SPTE there",
        "Linux arch/x86/kvm/mmu, a TD's MMIO SPTE: #VE is the CPU's own, no generation is looked at",
    ),
    Fault.NO_GRACE_PERIOD: Elsewhere(
        "mmio",
        "KVM changes memslots and does not wait for the readers of the old ones",
        "Linux virt/kvm/kvm_main.c, kvm_swap_active_memslots() without its synchronize_srcu_expedited()",
    ),
    Fault.POPULATE_UNFROZEN: Elsewhere(
        "populate",
        "KVM populates without freezing the mirror SPTE",
        "arch/x86/kvm/mmu/tdp_mmu.c, set_external_spte_present() without its try_cmpxchg64()",
    ),
    Fault.UNFREEZE_EARLY: Elsewhere(
        "populate",
        "KVM makes the mirror SPTE present before TDH.MEM.SEPT.ADD or TDH.MEM.PAGE.AUG",
        "arch/x86/kvm/mmu/tdp_mmu.c, set_external_spte_present() with its last store first",
    ),
    Fault.ACCEPT_WITHOUT_ZEROING: Elsewhere(
        "populate",
        "TDG.MEM.PAGE.ACCEPT leaves in the page what it held",
        "intel/tdx-module TDX_1.5.01, tdg_mem_page_accept.c, without its zeroing of the page",
    ),
    Fault.SEPT_REMOVE_WITHOUT_TRACKING: Elsewhere(
        "sept_pages",
        "TDH.MEM.SEPT.REMOVE does not ask whether TLB tracking is done",
        "intel/tdx-module TDX_1.5.01, tdh_mem_sept_remove.c, without its call of is_tlb_tracked()",
    ),
    Fault.FREEZE_CHILD_ONCE: Elsewhere(
        "sept_pages",
        "handle_removed_pt() takes an SPTE that a fault has frozen for one that nobody changes any more",
        "Linux arch/x86/kvm/mmu/tdp_mmu.c, handle_removed_pt() without its loop around the exchange",
    ),
    Fault.RECLAIM_EARLY: Elsewhere(
        "teardown",
        "KVM reclaims pages of a TD that has its HKID still",
        "arch/x86/kvm/vmx/tdx.c, tdx_sept_drop_private_spte() without is_hkid_assigned()",
    ),
    Fault.RECLAIM_IGNORES_STATE: Elsewhere(
        "teardown",
        "TDH.PHYMEM.PAGE.RECLAIM does not ask whether the TD is being torn down",
        "intel/tdx-module TDX_1.5.01, tdh_phymem_page_reclaim.c, without its look at lifecycle_state",
    ),
    Fault.VCPUS_COME_BACK: Elsewhere(
        "teardown",
        "KVM kicks and flushes vCPUs, and lets them enter again",
        "Linux virt/kvm/kvm_main.c, kvm_vm_dead() without kvm->vm_dead and KVM_REQ_VM_DEAD",
    ),
    Fault.ENTER_IGNORES_STATE: Elsewhere(
        "teardown",
        "TDH.VP.ENTER does not ask whether the TD can run",
        "intel/tdx-module TDX_1.5.01, tdh_vp_enter.c, without check_state_map_tdcs_and_lock()",
    ),
    Fault.KEEP_VCPUS: Elsewhere(
        "teardown",
        "KVM tears a TD down without TDH.VP.FLUSH of its vCPUs",
        "arch/x86/kvm/vmx/tdx.c, tdx_mmu_release_hkid() without tdx_flush_vp_on_cpu()",
    ),
    Fault.FLUSHDONE_IGNORES_VCPUS: Elsewhere(
        "teardown",
        "TDH.MNG.VPFLUSHDONE does not ask whether a vCPU is associated",
        "intel/tdx-module TDX_1.5.01, tdh_mng_vpflushdone.c, without num_assoc_vcpus",
    ),
    Fault.TAKEN_FOR_UNFINALIZED: Elsewhere(
        "teardown",
        "KVM removes a page of a finalized TD without BLOCK, TRACK and kick",
        "arch/x86/kvm/vmx/tdx.c, tdx_track() with is_td_finalized() the wrong way round",
    ),
    Fault.REMOVE_IGNORES_STATE: Elsewhere(
        "teardown",
        "TDH.MEM.PAGE.REMOVE takes a finalized TD for one that does not run yet",
        "intel/tdx-module TDX_1.5.01, op_state_is_tlb_tracking_required()",
    ),
    Fault.MOVE_WITHOUT_VP_FLUSH: Elsewhere(
        "migrate",
        "KVM moves a vCPU to another processor without TDH.VP.FLUSH",
        "Linux arch/x86/kvm/vmx/tdx.c, tdx_vcpu_load() without tdx_flush_vp_on_cpu()",
    ),
    Fault.NO_FLUSH_ON_SWITCH: Elsewhere(
        "migrate",
        "TDH.VP.ENTER does not flush where another vCPU was entered last",
        "intel/tdx-module TDX_1.5.01, tdh_vp_enter.c, without its comparison of last_tdvpr_pa",
    ),
    Fault.VP_FLUSH_WITHOUT_INVEPT: Elsewhere(
        "migrate",
        "TDH.VP.FLUSH leaves the processor's TLB as it is",
        "intel/tdx-module TDX_1.5.01, tdh_vp_flush.c, without its INVEPT",
    ),
    Fault.VP_FLUSH_KEEPS_LAST: Elsewhere(
        "migrate",
        "TDH.VP.FLUSH does not forget which vCPU was entered last",
        "intel/tdx-module TDX_1.5.01, tdh_vp_flush.c, without its reset of last_tdvpr_pa",
    ),
    Fault.FASTPATH_REENTER: Elsewhere(
        "zero_step",
        "where TDH.VP.ENTER is busy or held out KVM enters again in the fast path, with interrupts off",
        f"Linux v6.16, {TDX}, tdx_exit_handlers_fastpath(): EXIT_FASTPATH_REENTER_GUEST, why it does not do so",
    ),
    Fault.ZERO_STEP_KEEPS_TREE: Elsewhere(
        "zero_step",
        "TDH.VP.ENTER's 0-step filter enters the guest with the S-EPT tree locked, for ever",
        f"{MODULE}, tdh_vp_enter.c, without the release before VMLAUNCH",
    ),
    Fault.ZERO_STEP_KEEPS_REFERENCE: Elsewhere(
        "zero_step",
        "where TDH.VP.ENTER's 0-step filter fails, the reference in the epoch stays",
        f"{MODULE}, tdh_vp_enter.c, without revert_tlb_tracking_state()",
    ),
}


def broken_orderings() -> list[Ordering]:
    """For each fault the ordering under which it shows, known for that and named after the fault."""
    return [
        load_ordering(shown.ordering).model_copy(
            update={
                "name": name_of(fault),
                "title": shown.title,
                "source": shown.source,
                "faults": (name_of(fault),),
                "on_error": shown.on_error,
                "expect": (shown.outcome,),
            }
        )
        for fault, shown in FAULTS.items()
    ]


def name_of(fault: Fault) -> str:
    """As it stands in TOML and on the command line."""
    return str(fault.name).lower()


def shown_by(ordering: Ordering) -> Shown | None:
    """What one of `broken_orderings` shows; None for any other ordering."""
    return next((shown for fault, shown in FAULTS.items() if name_of(fault) == ordering.name), None)
