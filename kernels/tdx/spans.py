"""What a story calls the time that an actor spends in a function of steps, where several are called the same, and how a
SEAMCALL is marked.

    @seamcall(Leaf.TDH_MEM_TRACK)
    def mem_track(td, lay, rules, me):
"""

from collections.abc import Callable
from typing import Any

from kernels.language.steps import steps
from kernels.language.syntax import Steps
from kernels.story.events import Kind, Turn
from kernels.story.spans import Deed, host, wait
from kernels.tdx.statuses import LEAF_NAMES, NAMES, Leaf, Status

CLAIM, ENTRY = host("claim", "claims a page"), host("entry", "enters")
REQUESTS, FAULTING = host("requests", "handles requests"), host("fault", "handles the fault")
FREE, NEXT = host("free", "gives a page away"), host("next", "goes on to the next page")
UNLOCK, DEAD = host("unlock", "gives mmu_lock back"), host("dead", "KVM_BUG_ON")
DECLARED_DEAD = host("dead", "declares the VM dead")
VCPUS_OUT, VCPUS_IN = host("out", "keeps vCPUs out"), host("in", "lets vCPUs in")
READ_LOCK, WRITE_LOCK = (wait("mmu_lock", f"takes mmu_lock for {mode}") for mode in ("read", "write"))
LOCK, UNLOCKED = wait("lock {word}", "takes {word}"), host("unlock {word}", "gives {word} back")
# Of a lock of the ordering's own.
FOR_WRITE, FOR_READ = (wait(f"{mode} {{word}}", f"takes {{actor}} for {mode}") for mode in ("write", "read"))
GIVEN_BACK = host("unlock {word}", "gives {actor} back")
ACKNOWLEDGED = wait("ack {word}", "waits for {actor}")
SHOOTDOWN = Deed("shootdown", "shootdown", Kind.shootdown)
KICKING = Deed("kick", "kick", Kind.kick)
GUEST = Deed("guest", "in the guest", Kind.guest)
EXIT = Deed("exit", "TD exit", Kind.exit)
# Of an actor's own loop; and its acknowledgement, with interrupts on again behind an exit.
OWN = {
    "store_seq_cst_mode": ENTRY,
    "store_release_mode": Deed("exit", "backs out", Kind.exit),
    "store_release_vm_bugged": DEAD,
}
AWAKE = EXIT._replace(outermost=True)
# Where a guest's CPU walks to a page's entry, and where the guest reads the page, or writes to it.
CPU_WALK, GUEST_READ, GUEST_WRITE = "walk", "read", "write"
TO_A_VCPU = Turn("vcpu", "turns to a vCPU", "no vCPU is left")

ADD = Deed("add", "SEPT.ADD or AUG", Kind.seamcall)  # of a page-table page or of a guest page

# The leaf of a SEAMCALL or TDCALL, as an expression in its function.
LEAF_OF = {ADD: f"({int(Leaf.TDH_MEM_PAGE_AUG)} if node < lay.pages else {int(Leaf.TDH_MEM_SEPT_ADD)})"}


def leaf_span(leaf: Leaf, kind: Kind = Kind.seamcall, *, table: Leaf | None = None) -> Deed:
    """What a call of this leaf is called; of a page-table page it may be another."""
    name, then = LEAF_NAMES[leaf], (NAMES[Status.SUCCESS], GUEST) if leaf == Leaf.TDH_VP_ENTER else None
    key, text = name, str(int(leaf))
    if table is not None:
        key, text = f"{name} or {LEAF_NAMES[table]}", f"({int(leaf)} if gpa < lay.pages else {int(table)})"
    made = Deed(key, name, kind, then)
    LEAF_OF[made] = text
    return made


def seamcall(leaf: Leaf, **said: Any) -> Callable[[Any], Steps]:
    """Mark a function of steps as this SEAMCALL: its stretch bears the name of the leaf and ends with its status, and a
    race keeps which of the module's locks it holds (`kernels/tdx/lock_contention.py`). For the rest see `leaf_span`.
    """
    return steps(span=leaf_span(leaf, **said))  # type: ignore[no-any-return]


def tdcall(leaf: Leaf) -> Callable[[Any], Steps]:
    """The same of a TDCALL."""
    return steps(span=leaf_span(leaf, Kind.tdcall))  # type: ignore[no-any-return]
