"""What an ordering and a scenario tell the kernels: integers only. Kernels know no ordering by name."""

from enum import EnumMeta, IntEnum, IntFlag
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

_Member = TypeVar("_Member")


class Lock(IntEnum):
    """A lock that steps of a shootdown take: the ordering's own, and then KVM's mmu_lock, which every machine has. The
    lower-case name stands in TOML.
    """

    # Those of a proposal for zaps under mmu_lock held for read (RFC thread on TDX huge pages, May 2025).
    SEPT_LOCK = 0
    TRACK_LOCK = 1
    # What hosts have around a page table, and Linux 2.4 had around a flush.
    PAGE_TABLE_LOCK = 2
    TLBSTATE_LOCK = 3
    MMU_LOCK = 4


# The steps of locks begin here, so many of each.
FIRST_LOCK_STEP, STEPS_OF_LOCK = 16, 3


class _Derived(EnumMeta):
    """What a type checker is told: members are made of what else there is, a lock or a file."""

    if TYPE_CHECKING:

        def __getattr__(cls: type[_Member], name: str) -> _Member: ...  # type: ignore[misc]


class Step(IntEnum, metaclass=_Derived):
    """A step of a shootdown; the lower-case name stands in TOML."""

    BLOCK = 1
    GATE_RAISE = 2
    KICK = 3
    TRACK = 4
    GATE_LOWER = 5
    REMOVE = 6
    FLUSH = 7  # kvm_flush_remote_tlbs(): another kick, with KVM_REQ_TLB_FLUSH, that is waited for
    REQUEST = 8  # KICK in its parts: each vCPU is asked to leave, and looked at whether it is in the guest
    SEND = 9  # an IPI to each that was
    WAIT = 10  # until they have answered
    UNBLOCK = 11  # the page is mapped again as it was: an end in the place of REMOVE, or the undoing of BLOCK
    PROTECT = 12  # an SPTE of KVM's own lets nobody write any more; the part `writes` has it
    WBINVD = 13  # TDH.PHYMEM.PAGE.WBINVD: dirty cache lines of a page that no TD has any more go to memory
    # Of each lock three, in the order of `Lock`: it is taken for write, for read, and given back.
    _ignore_ = "lock place step"
    for lock in Lock:
        for place, step in enumerate(("LOCK_{}", "LOCK_{}_READ", "UNLOCK_{}")):
            vars()[step.format(lock.name)] = FIRST_LOCK_STEP + STEPS_OF_LOCK * lock + place


class Gate(IntEnum):
    """v18's tdh_mem_track: a counter, the bool of v9, or none."""

    NONE = 0
    COUNTER = 1
    FLAG = 2


class Busy(IntEnum):
    """What KVM does where a SEAMCALL answers TDX_OPERAND_BUSY: what it makes of it once it gives up (two bits), whether
    it knows BUSY of the S-EPT tree alone, and above these how many tries it has, 0 for no end.
    """

    SPIN = 0  # try again until it is not
    SPIN_EXACT = 4  # TDX_ERROR_SEPT_BUSY, compared exactly, as v18 did: any other BUSY is KVM_BUG_ON
    BUG = 1 << 3  # KVM_BUG_ON
    HAND_UP = 1 << 3 | 1  # -EAGAIN to the caller, which begins again
    SKIP = 1 << 3 | 2  # go on as if it were done
    RETRY_WITHOUT_VCPUS = 1 << 3 | 3  # v6.16: keep vCPUs out, try once more; then KVM_BUG_ON
    HAND_UP_EXACT = 1 << 3 | 5  # v18's AUG, which also hands up a page that it finds pending already


TRIES_SHIFT, MOST_TRIES = 3, 1000


def tries(number: int, exact: bool = False) -> int:
    """The policy of so many tries, the last of which is KVM_BUG_ON."""
    return number << TRIES_SHIFT | int(Busy.SPIN_EXACT) * exact


class OnError(IntEnum):
    """What the zapper does after a status that is KVM_BUG_ON."""

    STOP = 0  # the VM is dead: this zapper ends
    LEAK_PAGE = 1  # the page is not reused; a second, complete shootdown clears the way for the next
    FREE_PAGE = 2  # the bug: ignore the status, hand the page to someone else


class Pattern(IntEnum):
    """Which page a guest reads next."""

    UNIFORM = 0
    SEQUENTIAL = 1
    HOT_SET = 2  # nine reads of ten go to the first eighth of the pages


PARTS = sorted(path.stem for path in (Path(__file__).parent / "parts").glob("[!_]*.py"))


class Flow(IntFlag, metaclass=_Derived):
    """What a machine has beside the bare shootdown: parts, a bit for each file of `kernels/tdx/parts`, which says what
    it is (`kernels/tdx/part.py`). In TOML lower-case names with a + between two. Nothing is stored by these numbers.
    """

    _ignore_ = "place found"
    SHOOTDOWN = 0
    for place, found in enumerate(PARTS):
        vars()[found.upper()] = 1 << place


# The bare shootdown and each part by itself, in the order in which they are told.
FLOWS = (Flow.SHOOTDOWN, *Flow)


def flow_name(flow: int) -> str:
    """Parts as TOML has them: "batch+shared_ept"."""
    return "+".join(str(part.name).lower() for part in Flow(flow)) or "shootdown"


def flow_named(name: str) -> Flow:
    """The parts of such a name. Raises KeyError for one that is none."""
    made = Flow.SHOOTDOWN
    for part in name.split("+"):
        made |= Flow[part.upper()]
    return made


def has_part(name: str, parts: Flow) -> bool:
    """Whether a flow of this name has any of these parts."""
    return bool(flow_named(name) & parts)


class Module(IntEnum):
    """What checks the host's order of steps. The lower-case name stands in TOML."""

    TDX = 0
    NONE = 1  # plain EPT: the epoch is the host's own TLB generation, and nobody refuses TRACK or REMOVE
    TDX_1_5_24 = 2  # and later ones; TDX is 1.5.01


class KickBy(IntEnum):
    """What takes a vCPU's CPU in a race's kick, beside the word that it acknowledges. The lower-case name is TOML's."""

    WORD = 0  # nothing: the guest looks at the word between reads
    MEMBARRIER = 1  # the kernel's own smp_call_function_many() with hardly a handler, which waits for all to answer
    SIGNAL = 2  # one to each vCPU that is sent an IPI, with a handler that does nothing


class SharedFlush(IntEnum):
    """How KVM flushes a translation of the shared EPT. The lower-case name stands in TOML."""

    REQUEST = 0  # the way that VMX does: KVM_REQ_TLB_FLUSH, whose handler INVEPTs
    # tdx_track(), v18's hook flush_remote_tlbs, which is compiled only with CONFIG_HYPERV: the flush at the next entry,
    # in a new epoch, covers shared translations too.
    TRACK = 1


class FlushAt(IntEnum):
    """Where the flush is done that KVM_REQ_TLB_FLUSH asks for. The lower-case name stands in TOML."""

    REQUEST = 0  # its handler INVEPTs: VMX
    ENTRY = 1  # its handler leaves a mark, by which the next entry flushes


class MemslotZap(IntEnum):
    """What KVM zaps where it creates a memslot. The lower-case name stands in TOML."""

    NONE = 0  # as it is: kvm_arch_memslots_updated() zaps MMIO SPTEs only where their generation wraps
    MMIO = 1  # a proposal: the MMIO SPTE where the memslot is


class SeptFree(IntEnum):
    """When KVM frees a page-table page of a TD. The lower-case name stands in TOML."""

    LIVE = 0  # as it is zapped
    AFTER_HKID = 1  # not before the TD's HKID is released: until then it zaps what is below


class HkidFree(IntEnum):
    """When a TD that is torn down gives its HKID up. The lower-case name stands in TOML."""

    FIRST = 0  # v18: then guest pages are reclaimed as they stand
    LAST = 1  # v6.16: guest pages are blocked, tracked and removed before; reclaimed are those of the S-EPT alone
    TERMINATE = 2  # KVM_TDX_TERMINATE_VM, a proposal: first, while the files of vCPUs are open


class Guard(IntEnum):
    """The locks of the ioctls that build a TD. The lower-case name stands in TOML."""

    OWN = 0  # v6.16: INIT_VCPU and INIT_MEM_REGION the vCPU's mutex, FINALIZE kvm->lock, the last two slots_lock
    ALL = 1  # v6.19: all kvm->lock, every vCPU's mutex and slots_lock; TDH.VP.INIT is inside mmu_lock
    ALL_AND_FINALIZE = 2  # a proposal: TDH.MR.FINALIZE is inside mmu_lock as well


class Ioctl(IntFlag):
    """What a VMM's threads do in the flow `build`. In TOML lower-case names with a + between two."""

    INIT_VCPU = 1
    INIT_MEM_REGION = 2
    FINALIZE = 4
    PUNCH_HOLE = 8  # fallocate() of guest_memfd
    DELETE_SLOT = 16


class FaultRetry(IntEnum):
    """What KVM does on RET_PF_RETRY. The lower-case name stands in TOML."""

    REENTER = 0  # go back to the guest, which faults again at the same instruction
    LOCAL = 1  # v6.16: try again within the host, until an event is pending
    LOCAL_VALID = 2  # v6.18: the same, and go back where the memslot is being deleted


class Fault(IntFlag):
    """Ways to break the module, or KVM, on purpose; `scenarios/faults.py` says what each breaks."""

    NO_FLUSH_AT_ENTRY = 1  # TDH.VP.ENTER sees a new epoch and does not INVEPT
    REMOVE_WITHOUT_TRACKING = 2  # TDH.MEM.PAGE.REMOVE does not ask whether TLB tracking is done
    FLUSH_DROPPED_AT_YIELD = 4  # a batch that yields does not flush what is pending, and forgets it
    INVEPT_SHARED_ROOT = 8  # KVM_REQ_TLB_FLUSH: INVEPT names the shared EPT's root, which no translation is tagged with
    NO_GRACE_PERIOD = 32  # KVM changes memslots and does not wait for the readers of the old ones (synchronize_srcu)
    POPULATE_UNFROZEN = 64  # KVM populates without freezing the mirror SPTE: two vCPUs may populate one page
    UNFREEZE_EARLY = 128  # KVM makes the mirror SPTE present before TDH.MEM.SEPT.ADD or TDH.MEM.PAGE.AUG
    ACCEPT_WITHOUT_ZEROING = 256  # TDG.MEM.PAGE.ACCEPT leaves in the page what it held
    MOVE_WITHOUT_VP_FLUSH = 512  # KVM moves a vCPU to another processor without TDH.VP.FLUSH
    NO_FLUSH_ON_SWITCH = 1024  # TDH.VP.ENTER does not INVEPT where another vCPU was entered last on this processor
    VP_FLUSH_WITHOUT_INVEPT = 2048  # TDH.VP.FLUSH leaves the processor's TLB as it is
    VP_FLUSH_KEEPS_LAST = 4096  # TDH.VP.FLUSH does not forget which vCPU was entered last
    ENTRY_WITHOUT_EPOCH_LOCK = 1 << 13  # TDH.VP.ENTER samples the epoch and counts itself in, and TRACK comes between
    REMOVE_IGNORES_REFCOUNT = 1 << 14  # TLB tracking is done as soon as the epoch has advanced
    TRACK_IGNORES_REFCOUNT = 1 << 15  # TDH.MEM.TRACK advances the epoch while a vCPU runs in the previous one
    BLOCK_STORES_EPOCH_FIRST = 1 << 16  # TDH.MEM.RANGE.BLOCK samples the epoch before the entry is blocked
    EXIT_LOWERS_CURRENT_EPOCH = 1 << 17  # TD exit takes its reference from td_epoch's count, not from its own epoch's
    TORN_EPOCH_READ = 1 << 18  # is_tlb_tracked() reads refcount[2], then td_epoch, not both as one unit
    LOST_KICK = 1 << 19  # no barrier behind the store of IN_GUEST_MODE: loads before TDH.VP.ENTER may pass it
    OUTSIDE_TOO_EARLY = 1 << 20  # OUTSIDE_GUEST_MODE is stored before TD exit: a kick is skipped (CVE-2022-39189)
    ACKNOWLEDGED_TOO_EARLY = 1 << 21  # the IPI is acknowledged before TD exit
    ENTRY_UNCHECKED = 1 << 22  # behind IN_GUEST_MODE nothing is looked at again
    EXITING_NOT_AWAITED = 1 << 23  # a kick with WAIT sends and awaits no IPI where another kicker was first
    REQUEST_CLEARED_LATE = 1 << 24  # kvm_check_request() clears the bit behind the handler
    GATE_WITHOUT_INTERRUPTS = 1 << 25  # the wait at the gate acknowledges no IPI
    LET_IN_TOO_EARLY = 1 << 26  # wait_for_sept_zap is cleared before the SEAMCALL is tried again
    SEPT_REMOVE_WITHOUT_TRACKING = 1 << 27  # TDH.MEM.SEPT.REMOVE does not ask whether TLB tracking is done
    FREEZE_CHILD_ONCE = 1 << 28  # handle_removed_pt() takes an SPTE that a fault has frozen for frozen by itself
    RECLAIM_EARLY = 1 << 29  # KVM reclaims pages without asking is_hkid_assigned()
    RECLAIM_IGNORES_STATE = 1 << 30  # TDH.PHYMEM.PAGE.RECLAIM does not ask whether the TD is being torn down
    VCPUS_COME_BACK = 1 << 31  # KVM kicks and flushes vCPUs and does not keep them from entering again
    ENTER_IGNORES_STATE = 1 << 32  # TDH.VP.ENTER does not ask whether the TD can run
    KEEP_VCPUS = 1 << 33  # KVM tears a TD down without TDH.VP.FLUSH of its vCPUs
    FLUSHDONE_IGNORES_VCPUS = 1 << 34  # TDH.MNG.VPFLUSHDONE does not ask whether a vCPU is associated
    TAKEN_FOR_UNFINALIZED = 1 << 35  # KVM removes a page of a finalized TD without TDH.MEM.RANGE.BLOCK and TRACK
    REMOVE_IGNORES_STATE = 1 << 36  # TDH.MEM.PAGE.REMOVE takes a finalized TD for one that does not run yet
    FASTPATH_REENTER = 1 << 37  # where KVM has to leave the fast path it re-enters, interrupts off, IN_GUEST_MODE
    ZERO_STEP_KEEPS_TREE = 1 << 38  # TDH.VP.ENTER's 0-step filter enters with the S-EPT tree locked, and leaves it so
    ZERO_STEP_KEEPS_REFERENCE = 1 << 39  # where that filter fails, TDH.VP.ENTER leaves its reference in the epoch
    GUARD_WITHOUT_KVM_LOCK = 1 << 40  # the guard of a TD's state leaves kvm->lock out
    GUARD_WITHOUT_VCPU_MUTEXES = 1 << 41  # it leaves the other vCPUs' mutexes out
    GUARD_WITHOUT_SLOTS_LOCK = 1 << 42  # it leaves slots_lock out
    VP_INIT_UNLOCKED = 1 << 43  # TDH.VP.INIT is not inside mmu_lock
    VM_DEAD_UNCHECKED = 1 << 44  # a vCPU's ioctl does not look for a dead VM again behind the vCPU's mutex
    DEFERRED_FLUSH_LOST = 1 << 45  # KVM takes the flush that it has handed to an entry for done where that entry fails
    INVALID_SLOT_RETRIED = 1 << 46  # the local retry of a fault goes on where the memslot is being deleted
    WBINVD_IGNORES_OWNER = 1 << 47  # TDH.PHYMEM.PAGE.WBINVD does not ask whether the page is a TD's


MAX_VCPUS, MAX_ZAPPERS, MAX_PAGES, MAX_TLB_ENTRIES, MAX_LPS = 512, 62, 65536, 4096, 64
KVM_REQ_TLB_FLUSH = 1
AT_ONCE, LATER = 1, 2
STEP_BITS, MOST_STEPS = 5, 12  # of an ordering
STEP_MASK = (1 << STEP_BITS) - 1
UNLIMITED = 1 << 60


class Rules(NamedTuple):
    """One ordering under one scenario, compiled. Every field is an int64; 0 and 1 where it says yes or no.

    `shootdown` holds the steps, STEP_BITS each, first step lowest. `tick`, `period` are in clock ticks,
    `ticks_to_ns` is nanoseconds a tick times 2**NS_SHIFT.
    """

    flow: int
    module: int
    batch: int  # pages of one shootdown, in the flow of that name
    resched: int  # a batch yields once
    shared_pages: int  # the last so many pages are shared, in the flow of shared EPT
    shared_flush: int
    memslot_zap: int  # in the flow `mmio`
    shootdown: int
    table: int  # the same of a page-table page, 0 where that takes the steps of a guest page
    undo: int  # what takes a BLOCK back where BUSY is handed up behind it
    request: int  # KVM_REQ_TLB_FLUSH, or 0 for a kick without a request (KVM_REQUEST_NO_ACTION)
    wait: int  # for IPIs to be answered: 0, AT_ONCE behind the last, or LATER, with other steps in between
    gate: int
    entry_requests: int
    entry_gate: int
    entry_wait_for_sept_zap: int
    flush_at: int  # where a request's flush is done: by its handler, or by the next entry that succeeds
    fault_lock: int  # the lock of its own that is held around AUG and SEPT.ADD, and 1; 0 for none
    entry_lock: int  # the same around a vCPU's look at what keeps it from entering
    spin_locks: int  # of its own locks, a bit each: those that a vCPU takes for write, not for read
    irq_locks: int  # and with interrupts off
    fault_for_write: int  # a fault holds mmu_lock for write, not for read
    no_entry_lock: int  # a lock is held while wait_for_sept_zap is raised
    # Policies for BUSY: with mmu_lock held for write, and for read or not at all.
    block_busy_write: int
    block_busy_read: int
    track_busy_write: int
    track_busy_read: int
    remove_busy_write: int
    remove_busy_read: int
    aug_busy_write: int
    aug_busy_read: int
    sept_add_busy_write: int
    sept_add_busy_read: int
    serialized: int
    mmu_lock_steps: int  # a step takes it for write: a page is mapped again with it held for read, as if `serialized`
    zap_for_write: int  # in a two-level flow, in place of `serialized`: mmu_lock held for write, not for read
    sept_free: int
    hkid_free: int  # in the flow `teardown`
    guard: int  # in the flow `build`, as is the next
    ioctls: int
    elide_flush: int  # in the flow `writes`: none where PROTECT found nothing writable
    on_error: int
    fault_retry: int  # in the flow `zero_step`
    epf_threshold: int  # EPT violations at one instruction that are not listed yet
    hp_lock_timeout: int  # TDCALLs in a row that stand back for the host before one is a TD exit
    faults: int
    lps: int  # logical processors, where TLBs are theirs
    aging: int  # zappers age pages beside, in the flow `writes`
    sept_ve_disable: int  # a TD attribute: no #VE on a pending page, but a TD exit
    pattern: int
    shootdowns: int  # for each zapper
    gap: int  # pauses between two shootdowns of one zapper
    period: int  # open loop: ticks between intended starts of one zapper; 0 for a closed loop
    start_offset: int  # ticks, the least, behind a multiple of `period` on the clock that all zappers share
    start_offsets: int  # how many lengths, from that one on; 0 where each zapper's starts count from its own arrival
    tick: int  # ticks between host timer ticks; 0 where every actor has a CPU of its own
    shared_cpus: int  # more actors than CPUs: waits yield
    clock: int
    ticks_to_ns: int
    kick_by: int


def pack_steps(steps: list[Step]) -> int:
    """The steps as digits of STEP_BITS, first step lowest. Raises ValueError for more than MOST_STEPS."""
    if len(steps) > MOST_STEPS:
        raise ValueError(f"steps: expected at most {MOST_STEPS}, found {len(steps)}")
    return sum(int(step) << (STEP_BITS * place) for place, step in enumerate(steps))


def steps_taken(rules: Rules) -> set[int]:
    """Every step that stands in an ordering."""
    places = range(0, STEP_BITS * MOST_STEPS, STEP_BITS)
    return {order >> place & STEP_MASK for order in (rules.shootdown, rules.table, rules.undo) for place in places}


def writes_back(rules: Rules) -> int:
    """Whether an ordering says what becomes of a page's dirty cache lines; without the module they are the host's."""
    return int(rules.module != Module.NONE and Step.WBINVD in steps_taken(rules))


def own_locks(rules: Rules) -> int:
    """How many locks of its own an ordering's machine has: up to the last that it takes."""
    taken = [(step - FIRST_LOCK_STEP) // STEPS_OF_LOCK for step in steps_taken(rules) if step >= FIRST_LOCK_STEP]
    return max(
        rules.fault_lock, rules.entry_lock, rules.no_entry_lock, *(lock + 1 for lock in taken if lock != Lock.MMU_LOCK)
    )
