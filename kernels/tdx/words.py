"""The shared words, a row each: whose a word is, how it reads, whom it names. What its bits are stands in `bits.py`."""

import functools
from collections.abc import Callable
from enum import IntEnum

from kernels import layout
from kernels.layout import Actor, ActorKind, Group, Layout, Sizes, Words, actor
from kernels.protocol import declare
from kernels.tdx import bits
from kernels.tdx.bits import Mirror, Mode, Phase, Sept, Slot, Srcu, Stage, TdState
from kernels.tdx.counters import ZAPPER_HISTS, tally_words, vcpu_hists
from kernels.tdx.part import has_tables
from kernels.tdx.rules import MAX_LPS, MAX_PAGES, MAX_TLB_ENTRIES, MAX_VCPUS, MAX_ZAPPERS, Flow, Lock

SPTES = {Mirror.NONPRESENT: "nonpresent", Mirror.PRESENT: "present", Mirror.FROZEN: "FROZEN"}


def member(of: type[IntEnum], value: int, form: str = "d") -> str:
    """The name of a member of an enumeration, or in this form the number that is none's."""
    return next((one.name for one in of if one == value), format(value, form))


def epochs(value: int) -> str:
    """TDCS.epoch_tracking: the TD epoch and both reference counts."""
    return f"E={bits.epoch_of(value)} R={{{bits.refcount_of(value, 0)},{bits.refcount_of(value, 1)}}}"


def lock(value: int) -> str:
    """A sharex lock, or mmu_lock: who holds it. A failed shared acquire leaves its count behind until the release."""
    exclusive, shared = value & 1, value >> 1
    if exclusive:
        return "exclusive" + (f" (+{shared} shared)" if shared else "")
    return f"shared by {shared}" if shared else "free"


def entry(value: int) -> str:
    """An S-EPT entry: state, host page, lock bit and the host's priority."""
    state = bits.state_of(value)
    page = "" if state == Sept.FREE else f" hpa {(value & bits.HPA_MASK) >> bits.HPA_SHIFT}"
    marks = " locked" * bool(value & bits.TDEL) + " HP" * bool(value & bits.HP)
    if state == Sept.MAPPED and value & bits.RWX != bits.RWX:
        marks += " read-only" if value & bits.RWX else " inaccessible"
    return member(Sept, state, "#x") + page + marks


def page(value: int) -> str:
    """The oracle's word of a guest page: which host page stands behind it, and what becomes of it."""
    phases = {Phase.IN_USE: "in use", Phase.BLOCKED: f"blocked by zapper {bits.shooter_of(value)}", Phase.FREE: "free"}
    return f"hpa {bits.generation_of(value)} {phases.get(bits.phase_of(value), '?')}"


def tlb_entry(value: int) -> str:
    """A TLB entry: guest page and host page."""
    page, writable = bits.generation_of(bits.content_of(value)), ", writable" * bool(value & bits.WRITABLE)
    return f"page {(value & bits.TAG_MASK) - 1} at hpa {page}{writable}" if value else "empty"


def progress(value: int) -> str:
    """How far a zapper's shootdown has come, for the oracle."""
    return f"page {((value >> 2) & bits.TAG_MASK) - 1} {member(Stage, value & 3).lower()}" if value else "none"


def senders(value: int) -> str:
    """The zappers whose IPI is pending, and whether one of vCPUs' is."""
    zappers = value & ~bits.BY_VCPU
    named = [f"zapper {bit}" for bit in range(zappers.bit_length()) if zappers >> bit & 1]
    return ", ".join([*named, *["a vcpu"] * bool(value & bits.BY_VCPU)]) or "none"


def vcpu_and_1(value: int) -> str:
    """Which vCPU a word names that holds 0 for none."""
    return f"vcpu {value - 1}" if value else "none"


def shared_entry(value: int) -> str:
    """A shared SPTE: memory, an MMIO SPTE, or neither with #VE suppressed."""
    if value & bits.RWX:
        return f"hpa {(value & bits.HPA_MASK) >> bits.HPA_SHIFT}"
    return "nonpresent, #VE suppressed" if value < 0 else f"MMIO SPTE of page {(value >> bits.SPTE_GFN_SHIFT) - 1}"


def slot(value: int) -> str:
    """A memslot, and whether a change of it is under way."""
    memory = f"hpa {value >> bits.SLOT_PAGE_SHIFT}" if value >> bits.SLOT_PAGE_SHIFT else "there"
    states: dict[int, str] = {Slot.NONE: "none", Slot.VALID: memory, Slot.INVALID: "invalid"}
    return states.get(value & 3, "?") + ("" if value & bits.SLOT_SETTLED else ", changing")


def inside(value: int) -> str:
    """Whether a vCPU's thread is inside kvm->srcu."""
    return "inside" if value == Srcu.READING else "inside, awaited" if value == Srcu.AWAITED else "outside"


def with_any(parts: Flow) -> Callable[[Sizes], bool]:
    """Where a word is there with any of these parts alone: elsewhere it takes no room."""
    return lambda sizes: sizes["flow"] & parts != 0


def pending(value: int) -> str:
    return "pending" if value else "none"


def yes_or_no(value: int) -> str:
    return "yes" if value else "no"


VCPU = ActorKind("vcpu", endless=True)
ZAPPER = ActorKind("zapper")
# Page-table pages stand behind the guest pages.
PAGE = Group(
    "page",
    count=lambda sizes: sizes["pages"] + sizes["tables"],
    called=lambda sizes, page: f"page {page}" if page < sizes["pages"] else f"table {page - sizes['pages']}",
)
LP = Group("lp", count=lambda sizes: sizes["lps"])
LOCK = Group("lock", count=lambda sizes: sizes["locks"], called=lambda _, lock: Lock(lock).name.lower())
# `tables`: page-table pages above the guest pages, 0 where a flow has leaves alone. `lps`: logical processors, 0 where
# TLBs belong to vCPUs. `locks`: how many the ordering has of its own. `wbinvd`: 1 where it writes dirty lines back.
WORDS = Words(
    sizes=("vcpus", "zappers", "pages", "tables", "tlb_entries", "flow", "lps", "locks", "wbinvd"),
    kinds={
        VCPU: lambda sizes: tally_words(vcpu_hists(sizes["flow"])),
        ZAPPER: lambda sizes: tally_words(ZAPPER_HISTS),
    },
)
word = functools.partial(declare, WORDS)
mmio, migrate, teardown = with_any(Flow.MMIO), with_any(Flow.MIGRATE), with_any(Flow.TEARDOWN)
zero_step, build, of_a_life = with_any(Flow.ZERO_STEP), with_any(Flow.BUILD), with_any(Flow.TEARDOWN | Flow.BUILD)

# One structure in the module, and whoever takes the lock goes on to the epoch: the line travels once.
word("epoch_tracking", reads=epochs)
word("epoch_lock", beside=True, reads=lock)
word("tree_lock", reads=lock)
word("mmu_lock", reads=lock)
word("gate")
word("wait_for_sept_zap", reads=yes_or_no)
word("vm_bugged")
word("no_entry_lock", there=lambda sizes: bool(sizes["locks"]), reads=lock)
word("slots_lock", there=with_any(Flow.MMIO | Flow.MEMSLOTS | Flow.BUILD), reads=lock)  # kvm->slots_lock, a mutex
word("kvm_lock", there=build, reads=lock)  # kvm->lock
word("invalidate_lock", there=build, reads=lock)  # of the file that guest_memfd has
word("num_assoc_vcpus", there=with_any(Flow.MIGRATE | Flow.TEARDOWN | Flow.BUILD))  # TDCS.num_assoc_vcpus
word("tdr_lock", there=of_a_life, reads=lock)
# TDR.lifecycle_state and TDCS.op_state
word("td_state", there=of_a_life, reads=functools.partial(member, TdState))
word("runnable", there=of_a_life, reads=yes_or_no)  # KVM: the TD is finalized, and the VM is not dead

own_lock = word("own_lock", LOCK, reads=lock)
sept = word("sept", PAGE, reads=entry)
bepoch = word("bepoch", PAGE, beside=True)  # whoever blocks or removes the page uses both
owner = word("owner", PAGE, names=ZAPPER, reads=page)
mirror = word("mirror", PAGE, reads=lambda value: SPTES.get(value, str(value)))
content = word(
    "content", PAGE, there=lambda sizes: sizes["tables"] > 0, reads=lambda value: "left behind" if value else "zeroes"
)
# Of a shared guest page, or of a private one.
memslot = word("memslot", PAGE, there=with_any(Flow.MMIO | Flow.MEMSLOTS), reads=slot)
shared_spte = word("shared_spte", PAGE, there=mmio, reads=shared_entry)  # its entry in the shared EPT
shared_owner = word("shared_owner", PAGE, there=mmio, reads=page)  # the oracle's word of the memory behind it

occupant = word("occupant", LP, there=migrate, names=VCPU, reads=vcpu_and_1)  # the vCPU that runs there and 1, or 0
lp_ipi = word("lp_ipi", LP, there=migrate, reads=pending)
last_tdvpr = word("last_tdvpr", LP, there=migrate, names=VCPU, reads=vcpu_and_1)  # the vCPU that was entered there last
lp_tlb = word("lp_tlb", LP, there=migrate, table="tlb_entries", reads=tlb_entry)

mode = word("mode", VCPU, reads=functools.partial(member, Mode))
requests = word("requests", VCPU, reads=lambda value: "TLB_FLUSH" if value else "none")
ipi = word("ipi", VCPU, names=ZAPPER, reads=senders)
# Whether its thread is inside kvm->srcu.
srcu = word("srcu", VCPU, there=with_any(Flow.MMIO | Flow.MEMSLOTS), reads=inside)
# TDVPS.assoc_lpid: the processor that it is associated with and 1, or 0
assoc_lpid = word(
    "assoc_lpid",
    VCPU,
    there=with_any(Flow.MIGRATE | Flow.TEARDOWN | Flow.BUILD),
    names=VCPU,
    reads=lambda value: f"lp {value - 1}" if value else "none",
)
vcpu_mutex = word("vcpu_mutex", VCPU, there=of_a_life, reads=lock)  # vcpu->mutex
# An IPI is on its way to its processor whose function is TDH.VP.FLUSH.
flush_ipi = word("flush_ipi", VCPU, there=teardown, reads=pending)
# vcpu->cpu and 1: the processor that its thread was loaded on, or 0
cpu = word("cpu", VCPU, there=migrate, private=True, reads=lambda value: f"lp {value - 1}" if value else "none")
reloads = word("reloads", VCPU, there=with_any(Flow.FLUSH_CURRENT))  # how often it has loaded a root
# Of TDVPS: EPT violations at the instruction at hand; the guest page and 1 on the list that the 0-step filter goes
# through, or 0; TDCALLs in a row that stood back for the host.
possibly_epf_stepping = word("possibly_epf_stepping", VCPU, there=zero_step)
last_epf_gpa = word("last_epf_gpa", VCPU, there=zero_step, reads=lambda value: f"page {value - 1}" if value else "none")
hp_lock_busy = word("hp_lock_busy", VCPU, there=zero_step)
vcpu_epoch = word("vcpu_epoch", VCPU, private=True)
tlb = word("tlb", VCPU, private=True, table="tlb_entries", reads=tlb_entry)

stage = word("stage", ZAPPER, names=ZAPPER, reads=progress)
awaiting = word("awaiting", ZAPPER, private=True, each=VCPU, reads=lambda value: "ack" if value else "none")

# Of the tally.
word("page_flags", counts=PAGE.count)
word("page_blocked_at", counts=PAGE.count)
word("lp_cpus", counts=LP.count)
# Of the threads in a race that builds one TD after the other: who has it open, waits for vCPUs' mutexes, changes it.
for name in ("td_users", "td_waiting", "td_changing"):
    word(name, counts=lambda sizes: int(of_a_life(sizes)))
word("threads", counts=lambda sizes: sizes["vcpus"])  # of each vCPU, as `signal_thread` takes it; 0 without signals


def sizes(
    vcpus: int, zappers: int, pages: int, tlb_entries: int, *, flow: int, lps: int, locks: int, wbinvd: int
) -> Sizes:
    """The sizes of a layout. Raises ValueError where one is out of range, or `tlb_entries` is not a power of two."""
    for name, value, most in (
        ("vcpus", vcpus, MAX_VCPUS),
        ("zappers", zappers, MAX_ZAPPERS),
        ("pages", pages, MAX_PAGES),
        ("tlb_entries", tlb_entries, MAX_TLB_ENTRIES),
        ("lps", lps, MAX_LPS),
    ):
        if not 1 <= value <= most:
            raise ValueError(f"{name}: expected 1 to {most}, found {value}")
    if tlb_entries & (tlb_entries - 1):
        raise ValueError(f"tlb_entries: expected a power of two, found {tlb_entries}")
    tables = (pages - 1 >> bits.LEAVES_SHIFT) + 1 if has_tables(flow) else 0
    found = vcpus, zappers, pages, tables, tlb_entries, int(flow), lps * (flow & Flow.MIGRATE != 0), locks, wbinvd
    return dict(zip(WORDS.sizes, found, strict=True))


def plan(
    vcpus: int,
    zappers: int,
    pages: int,
    tlb_entries: int,
    *,
    flow: int = Flow.SHOOTDOWN,
    lps: int = 1,
    locks: int = 0,
    wbinvd: int = 0,
    packed: bool = False,
    trace: int = 0,
    **registers: int,
) -> Layout:
    """The layout of a machine of this size; see `kernels.layout.plan`."""
    made = sizes(vcpus, zappers, pages, tlb_entries, flow=flow, lps=lps, locks=locks, wbinvd=wbinvd)
    of = {name.removesuffix("_registers"): count for name, count in registers.items()}
    return layout.plan(WORDS, made, packed=packed, registers=of, trace=trace)


def vcpu_actor(lay: Layout, index: int) -> Actor:
    return actor(lay, VCPU, index)


def zapper_actor(lay: Layout, index: int) -> Actor:
    return actor(lay, ZAPPER, index)
