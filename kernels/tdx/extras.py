"""Words of the state that a flow or two alone have, by what they belong to. Elsewhere they take no room.

Each name is a field of `kernels.layout.Layout` and a function of `kernels.tdx.words`, where there are several.
"""

from kernels.tdx.rules import TWO_LEVELS, Flow

Owners = Flow | tuple[Flow, ...]

SINGLES: dict[str, Owners] = {
    "slots_lock": Flow.MMIO,  # kvm->slots_lock, a mutex
    "num_assoc_vcpus": (Flow.MIGRATE, Flow.TEARDOWN),  # TDCS.num_assoc_vcpus
    "tdr_lock": Flow.TEARDOWN,
    "td_state": Flow.TEARDOWN,  # TDR.lifecycle_state and TDCS.op_state
    "runnable": Flow.TEARDOWN,  # KVM: the TD is finalized, and the VM is not dead
}
OF_PAGE: dict[str, Owners] = {
    "content": TWO_LEVELS,  # what a guest page holds
    "memslot": Flow.MMIO,  # the memslot of a shared guest page
    "shared_spte": Flow.MMIO,  # its entry in the shared EPT
    "shared_owner": Flow.MMIO,  # the oracle's word of the memory behind it
}
OF_VCPU: dict[str, Owners] = {
    "srcu": Flow.MMIO,  # whether its thread is inside kvm->srcu
    "assoc_lpid": (
        Flow.MIGRATE,
        Flow.TEARDOWN,
    ),  # TDVPS.assoc_lpid: the processor that it is associated with and 1, or 0
    "flush_ipi": Flow.TEARDOWN,  # an IPI is on its way to its processor whose function is TDH.VP.FLUSH
    "reloads": Flow.FLUSH_CURRENT,  # how often it has loaded a root; its own
    # Of TDVPS, its own:
    "possibly_epf_stepping": Flow.ZERO_STEP,  # EPT violations at the instruction at hand
    "last_epf_gpa": Flow.ZERO_STEP,  # the guest page and 1 on the list that the 0-step filter goes through, or 0
    "hp_lock_busy": Flow.ZERO_STEP,  # TDCALLs in a row that stood back for the host
}
# Of a logical processor; `lp_tlb` has as many words as the TLB has entries.
OF_LP: dict[str, Owners] = {
    "occupant": Flow.MIGRATE,  # the vCPU that runs there and 1, or 0
    "lp_ipi": Flow.MIGRATE,  # an IPI is on its way there
    "last_tdvpr": Flow.MIGRATE,  # the vCPU that was entered there last and 1, or 0
    "lp_tlb": Flow.MIGRATE,
}


def words_of(names: dict[str, Owners], flow: int) -> tuple[tuple[str, int], ...]:
    """How many words each of these has under a flow: one, or none."""
    return tuple(
        (name, int(flow in owner if isinstance(owner, tuple) else flow == owner)) for name, owner in names.items()
    )
