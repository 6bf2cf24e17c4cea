"""What a word of the state holds, in the protocol's words: `E=2 R={0,1}`, `BLOCKED hpa 1 locked`, `IN_GUEST_MODE`."""

from collections.abc import Callable

from kernels.layout import Layout, name_of
from kernels.tdx.words import (
    BLOCKED,
    BY_VCPU,
    DONE,
    EXITING_GUEST_MODE,
    FREE,
    HP,
    HPA_MASK,
    HPA_SHIFT,
    IN_GUEST_MODE,
    KICKED,
    MAPPED,
    NL_BLOCKED,
    NL_MAPPED,
    OUTSIDE_GUEST_MODE,
    PAGE_BLOCKED,
    PAGE_FREE,
    PAGE_IN_USE,
    PENDING,
    PENDING_BLOCKED,
    RWX,
    SLOT_INVALID,
    SLOT_NONE,
    SLOT_PAGE_SHIFT,
    SLOT_SETTLED,
    SLOT_VALID,
    SPTE_FROZEN,
    SPTE_GFN_SHIFT,
    SPTE_PRESENT,
    SRCU_AWAITED,
    SRCU_READING,
    TAG_MASK,
    TD_BLOCKED,
    TD_INITIALIZED,
    TD_RUNNABLE,
    TD_TEARDOWN,
    TDEL,
    content_of,
    epoch_of,
    generation_of,
    phase_of,
    refcount_of,
    shooter_of,
    state_of,
)

MODES = {
    OUTSIDE_GUEST_MODE: "OUTSIDE_GUEST_MODE",
    IN_GUEST_MODE: "IN_GUEST_MODE",
    EXITING_GUEST_MODE: "EXITING_GUEST_MODE",
}
ENTRIES = {
    FREE: "FREE",
    MAPPED: "MAPPED",
    BLOCKED: "BLOCKED",
    PENDING: "PENDING",
    PENDING_BLOCKED: "PENDING_BLOCKED",
    NL_MAPPED: "NL_MAPPED",
    NL_BLOCKED: "NL_BLOCKED",
}
TD_STATES = {
    TD_INITIALIZED: "INITIALIZED",
    TD_RUNNABLE: "RUNNABLE",
    TD_BLOCKED: "TD_BLOCKED",
    TD_TEARDOWN: "TD_TEARDOWN",
}
SPTES = {0: "nonpresent", SPTE_PRESENT: "present", SPTE_FROZEN: "FROZEN"}


def family_of(name: str) -> str:
    """The kind of word behind a name: `sept` of `sept[page 7]`."""
    return name.partition("[")[0]


def reading(lay: Layout, word: int, value: int) -> str:
    """What a value means in this word of the state. A value that means nothing there is shown as a number."""
    return READINGS.get(family_of(name_of(lay, word)), str)(value)


def epochs(value: int) -> str:
    """TDCS.epoch_tracking: the TD epoch and both reference counts."""
    return f"E={epoch_of(value)} R={{{refcount_of(value, 0)},{refcount_of(value, 1)}}}"


def lock(value: int) -> str:
    """A sharex lock, or mmu_lock: who holds it. A failed shared acquire leaves its count behind until the release."""
    exclusive, shared = value & 1, value >> 1
    if exclusive:
        return "exclusive" + (f" (+{shared} shared)" if shared else "")
    return f"shared by {shared}" if shared else "free"


def entry(value: int) -> str:
    """An S-EPT entry: state, host page, lock bit and the host's priority."""
    state = state_of(value)
    page = "" if state == FREE else f" hpa {(value & HPA_MASK) >> HPA_SHIFT}"
    bits = " locked" * bool(value & TDEL) + " HP" * bool(value & HP)
    return ENTRIES.get(state, f"{state:#x}") + page + bits


def page(value: int) -> str:
    """The oracle's word of a guest page: which host page stands behind it, and what becomes of it."""
    phases = {PAGE_IN_USE: "in use", PAGE_BLOCKED: f"blocked by zapper {shooter_of(value)}", PAGE_FREE: "free"}
    return f"hpa {generation_of(value)} {phases.get(phase_of(value), '?')}"


def translation(value: int) -> str:
    """A TLB entry: guest page and host page."""
    return f"page {(value & TAG_MASK) - 1} at hpa {generation_of(content_of(value))}" if value else "empty"


def progress(value: int) -> str:
    """How far a zapper's shootdown has come, for the oracle."""
    how_far = {KICKED: "kicked", DONE: "done"}.get(value & 3, "?")
    return f"page {((value >> 2) & TAG_MASK) - 1} {how_far}" if value else "none"


def senders(value: int) -> str:
    """The zappers whose IPI is pending, and whether one of vCPUs' is."""
    zappers = value & ~BY_VCPU
    named = [f"zapper {bit}" for bit in range(zappers.bit_length()) if zappers >> bit & 1]
    return ", ".join([*named, *["a vcpu"] * bool(value & BY_VCPU)]) or "none"


def vcpu_and_1(value: int) -> str:
    """Which vCPU a word names that holds 0 for none."""
    return f"vcpu {value - 1}" if value else "none"


def shared_entry(value: int) -> str:
    """A shared SPTE: memory, an MMIO SPTE, or neither with #VE suppressed."""
    if value & RWX:
        return f"hpa {(value & HPA_MASK) >> HPA_SHIFT}"
    return "nonpresent, #VE suppressed" if value < 0 else f"MMIO SPTE of page {(value >> SPTE_GFN_SHIFT) - 1}"


def slot(value: int) -> str:
    """A memslot, and whether a change of it is under way."""
    states = {SLOT_NONE: "none", SLOT_VALID: f"hpa {value >> SLOT_PAGE_SHIFT}", SLOT_INVALID: "invalid"}
    return states.get(value & 3, "?") + ("" if value & SLOT_SETTLED else ", changing")


READINGS: dict[str, Callable[[int], str]] = {
    "epoch_tracking": epochs,
    "epoch_lock": lock,
    "tree_lock": lock,
    "mmu_lock": lock,
    "wait_for_sept_zap": lambda value: "yes" if value else "no",
    "sept": entry,
    "owner": page,
    "mirror": lambda value: SPTES.get(value, str(value)),
    "content": lambda value: "left behind" if value else "zeroes",
    "mode": lambda value: MODES.get(value, str(value)),
    "requests": lambda value: "TLB_FLUSH" if value else "none",
    "ipi": senders,
    "tlb": translation,
    "stage": progress,
    "occupant": vcpu_and_1,
    "last_tdvpr": vcpu_and_1,
    "assoc_lpid": lambda value: f"lp {value - 1}" if value else "none",
    "lp_ipi": lambda value: "pending" if value else "none",
    "lp_tlb": translation,
    "last_epf_gpa": lambda value: f"page {value - 1}" if value else "none",
    "slots_lock": lock,
    "tdr_lock": lock,
    "td_state": lambda value: TD_STATES.get(value, str(value)),
    "runnable": lambda value: "yes" if value else "no",
    "reloads": str,
    "flush_ipi": lambda value: "pending" if value else "none",
    "memslot": slot,
    "shared_spte": shared_entry,
    "shared_owner": page,
    "srcu": lambda value: {SRCU_READING: "inside", SRCU_AWAITED: "inside, awaited"}.get(value, "outside"),
    "awaiting": lambda value: "ack" if value else "none",
}
