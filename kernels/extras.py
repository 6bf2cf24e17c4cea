"""Words of the state that some flows alone have, by what they belong to. Where these are off they take no room.

Each name is a field of `kernels.layout.Layout` and a function of `kernels.words`, where there are several.
"""

from collections.abc import Mapping

from kernels.rules import TWO_LEVELS, Flow

SINGLES = {
    "slots_lock": (Flow.MMIO,),  # kvm->slots_lock, a mutex
    "num_assoc_vcpus": (Flow.MIGRATE,),  # TDCS.num_assoc_vcpus
}
OF_PAGE = {
    "content": TWO_LEVELS,  # what a guest page holds
    "memslot": (Flow.MMIO,),  # the memslot of a shared guest page
    "shared_spte": (Flow.MMIO,),  # its entry in the shared EPT
    "shared_owner": (Flow.MMIO,),  # the oracle's word of the memory behind it
}
OF_VCPU = {
    "srcu": (Flow.MMIO,),  # whether its thread is inside kvm->srcu
    "assoc_lpid": (Flow.MIGRATE,),  # TDVPS.assoc_lpid: the processor that it is associated with and 1, or 0
    # Of TDVPS, its own:
    "possibly_epf_stepping": (Flow.ZERO_STEP,),  # EPT violations at the instruction at hand
    "last_epf_gpa": (Flow.ZERO_STEP,),  # the guest page and 1 on the list that the 0-step filter goes through, or 0
    "hp_lock_busy": (Flow.ZERO_STEP,),  # TDCALLs in a row that stood back for the host
}
# Of a logical processor; `lp_tlb` has as many words as the TLB has entries.
OF_LP = {
    "occupant": (Flow.MIGRATE,),  # the vCPU that runs there and 1, or 0
    "lp_ipi": (Flow.MIGRATE,),  # an IPI is on its way there
    "last_tdvpr": (Flow.MIGRATE,),  # the vCPU that was entered there last and 1, or 0
    "lp_tlb": (Flow.MIGRATE,),
}


def words_of(names: Mapping[str, tuple[Flow, ...]], flow: int) -> tuple[tuple[str, int], ...]:
    """How many words each of these has under a flow: one, or none."""
    return tuple((name, int(flow in owners)) for name, owners in names.items())
