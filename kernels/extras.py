"""Words of the state that one flow alone has, by what they belong to. Where the flow is off they take no room.

Each name is a field of `kernels.layout.Layout` and a function of `kernels.words`, where there are several.
"""

from kernels.rules import Flow

SINGLES = {
    "slots_lock": Flow.MMIO,  # kvm->slots_lock, a mutex
}
OF_PAGE = {
    "content": Flow.POPULATE,  # what a guest page holds
    "memslot": Flow.MMIO,  # the memslot of a shared guest page
    "shared_spte": Flow.MMIO,  # its entry in the shared EPT
    "shared_owner": Flow.MMIO,  # the oracle's word of the memory behind it
}
# Of a vCPU, and others write them too.
OF_VCPU = {
    "srcu": Flow.MMIO,  # whether its thread is inside kvm->srcu
}


def words_of(names: dict[str, Flow], flow: int) -> tuple[tuple[str, int], ...]:
    """How many words each of these has under a flow: one, or none."""
    return tuple((name, int(owner == flow)) for name, owner in names.items())
