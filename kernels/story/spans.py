"""What actors are doing: the steps of a schedule gathered into calls, kicks, stays in the guest and waits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from kernels.story.events import Event, Kind, Span
from kernels.tdx.statuses import LEAF_NAMES, NAMES, Leaf, Status


class Deed(NamedTuple):
    """A stretch of time before it has ends. Two steps side by side with equal keys are part of one."""

    key: str
    name: str
    kind: Kind


def _leaf(leaf: Leaf, kind: Kind = Kind.seamcall) -> Deed:
    return Deed(LEAF_NAMES[leaf], LEAF_NAMES[leaf], kind)


# By function of steps. What stands in none of these is part of the call around it.
DEEDS = {
    "claim_page": Deed("claim", "claims a page", Kind.host),
    "claim_range": Deed("claim", "claims a range", Kind.host),
    "cond_resched": Deed("resched", "yields", Kind.host),
    "shoot_range": Deed("shootdown", "shootdown", Kind.shootdown),
    "zap_shared": Deed("shootdown", "zaps a shared page", Kind.shootdown),
    "map_shared": Deed("populate", "maps the shared page again", Kind.host),
    "shootdown": Deed("shootdown", "shootdown", Kind.shootdown),
    "write_lock_mmu": Deed("mmu_lock", "takes mmu_lock for write", Kind.wait),
    "read_lock_mmu": Deed("mmu_lock", "takes mmu_lock for read", Kind.wait),
    "raise_gate": Deed("raise", "raises the gate", Kind.host),
    "lower_gate": Deed("lower", "lowers the gate", Kind.host),
    "kick": Deed("kick", "kick", Kind.kick),
    "kick_as_vcpu": Deed("kick", "kick", Kind.kick),
    "load_root": Deed("root", "loads a root", Kind.host),
    "tdx_flush_tlb_current": Deed("flush", "flushes for its new root", Kind.host),
    "mem_range_block": _leaf(Leaf.TDH_MEM_RANGE_BLOCK),
    "mem_track": _leaf(Leaf.TDH_MEM_TRACK),
    "mem_page_remove": _leaf(Leaf.TDH_MEM_PAGE_REMOVE),
    "populate": Deed("populate", "maps the page again", Kind.host),
    "mem_page_aug": _leaf(Leaf.TDH_MEM_PAGE_AUG),
    "process_requests": Deed("requests", "handles requests", Kind.host),
    "flush_tlb": Deed("gate", "waits at the gate", Kind.wait),
    "exit_requested": Deed("entry", "enters", Kind.host),
    "vp_enter": _leaf(Leaf.TDH_VP_ENTER),
    "guest": Deed("guest", "in the guest", Kind.guest),
    "enter_unfenced": Deed("entry", "enters", Kind.host),
    "leave_too_early": Deed("early", "is seen to have left, early", Kind.exit),
    "mem_page_accept": _leaf(Leaf.TDG_MEM_PAGE_ACCEPT, Kind.tdcall),
    "before_entry": Deed("entry", "enters", Kind.host),
    "guest_with_faults": Deed("guest", "in the guest", Kind.guest),
    "mem_accept": _leaf(Leaf.TDG_MEM_PAGE_ACCEPT, Kind.tdcall),
    "handle_ept_violation": Deed("fault", "handles the fault", Kind.host),
    "fault_of_the_living": Deed("fault", "handles the fault", Kind.host),
    "mem_add": Deed("add", "SEPT.ADD or AUG", Kind.seamcall),
    "read_lock_with_interrupts": Deed("mmu_lock", "takes mmu_lock for read", Kind.wait),
    "take_page": Deed("claim", "takes a page", Kind.host),
    "take_table": Deed("claim", "takes the page-table page", Kind.host),
    "freeze_child": Deed("freeze", "freezes a page", Kind.host),
    "look": Deed("look", "looks whether the S-EPT agrees", Kind.host),
    "left_behind": Deed("free", "gives a page away", Kind.host),
    "give_away": Deed("free", "gives a page away", Kind.host),
    "new_td": Deed("create", "creates a TD", Kind.host),
    "live": Deed("live", "lets the TD run", Kind.host),
    "add_page": Deed("add page", "adds a page", Kind.host),
    "mem_page_add": _leaf(Leaf.TDH_MEM_PAGE_ADD),
    "mem_page_remove_alive": _leaf(Leaf.TDH_MEM_PAGE_REMOVE),
    "flush_vps": Deed("flush", "has every vCPU flushed", Kind.wait),
    "flush_vp": Deed("flush", "answers an IPI", Kind.host),
    "vp_flush_own": _leaf(Leaf.TDH_VP_FLUSH),
    "vp_enter_alive": _leaf(Leaf.TDH_VP_ENTER),
    "td_exit_alive": Deed("exit", "TD exit", Kind.exit),
    "stays_out": Deed("entry", "enters", Kind.host),
    "block_td": _leaf(Leaf.TDH_MNG_VPFLUSHDONE),
    "mng_key_freeid": _leaf(Leaf.TDH_MNG_KEY_FREEID),
    "phymem_page_reclaim": _leaf(Leaf.TDH_PHYMEM_PAGE_RECLAIM),
    "reclaim": Deed("reclaim", "reclaims a page", Kind.host),
    "zero_step_filter": _leaf(Leaf.TDH_VP_ENTER),
    "stepping_guest": Deed("guest", "in the guest", Kind.guest),
    "retry_fault": Deed("fault", "handles the fault", Kind.host),
    "run_fast_path": Deed("entry", "enters", Kind.host),
    "td_exit": Deed("exit", "TD exit", Kind.exit),
    "vp_enter_here": _leaf(Leaf.TDH_VP_ENTER),
    "vp_flush": _leaf(Leaf.TDH_VP_FLUSH),
    "mng_vpflushdone": _leaf(Leaf.TDH_MNG_VPFLUSHDONE),
    "guest_here": Deed("guest", "in the guest", Kind.guest),
    "take_processor": Deed("schedule", "waits for the processor", Kind.wait),
    "flush_vp_on_cpu": Deed("flush", "has itself flushed where it was", Kind.host),
    "shared_requests": Deed("requests", "handles requests", Kind.host),
    "shared_exit_requested": Deed("entry", "enters", Kind.host),
    "mmio_guest": Deed("guest", "in the guest", Kind.guest),
    "shared_fault": Deed("fault", "handles an EPT violation on a shared page", Kind.host),
    "change_memslot": Deed("memslot", "changes a memslot", Kind.host),
    "synchronize_srcu": Deed("srcu", "waits for the readers of the old memslots", Kind.wait),
    "zap_mmio_spte": Deed("zap", "zaps the shared SPTE", Kind.host),
    "srcu_read_lock": Deed("srcu", "enters kvm->srcu", Kind.host),
    "srcu_read_unlock": Deed("srcu", "leaves kvm->srcu", Kind.host),
    "unlock_mmu": Deed("unlock", "gives mmu_lock back", Kind.host),
    "vm_dead": Deed("dead", "declares the VM dead", Kind.host),
    "remove_pages": Deed("remove", "removes every guest page", Kind.host),
}
# Steps that a function takes itself, where they belong to another stretch than the function does.
STEPS = {
    "destroying_zapper.load_acquire_vm_bugged": Deed("next", "goes on to the next TD", Kind.host),
    "stepping_vcpu.load_acquire_vm_bugged": Deed("entry", "enters", Kind.host),
    "mmio_vcpu.load_acquire_vm_bugged": Deed("entry", "enters", Kind.host),
    "mmio_zapper.load_acquire_vm_bugged": Deed("next", "goes on to the next page", Kind.host),
    "mmio_zapper.private_or_shared": Deed("next", "goes on to the next page", Kind.host),
    "mmio_zapper.any_page": Deed("next", "goes on to the next page", Kind.host),
    "handle_exit.store_release_vm_bugged": Deed("dead", "declares the VM dead", Kind.host),
    "migrating_vcpu.next_lp": Deed("schedule", "is scheduled", Kind.host),
    "migrating_vcpu.store_release_occupant": Deed("exit", "leaves the processor", Kind.exit),
    "handle_removed_pt.store_release_mirror": Deed("zap", "zaps the page-table page", Kind.host),
    "reclaim_pages.load_acquire_mirror": Deed("reclaim", "reclaims a page", Kind.host),
    "reclaim_pages.write_unlock_mmu_lock": Deed("unlock", "gives mmu_lock back", Kind.host),
    "seamcall_until.store_seq_cst_wait_for_sept_zap": Deed("out", "keeps vCPUs out", Kind.host),
    "seamcall_until.store_release_wait_for_sept_zap": Deed("in", "lets vCPUs in", Kind.host),
    "track_as_vcpu.store_seq_cst_wait_for_sept_zap": Deed("out", "keeps vCPUs out", Kind.host),
    "track_as_vcpu.store_release_wait_for_sept_zap": Deed("in", "lets vCPUs in", Kind.host),
    "tdx_flush_tlb_current.store_release_vm_bugged": Deed("dead", "KVM_BUG_ON", Kind.host),
}
# The same of an actor's own loop, whichever flow's; and its acknowledgement, with interrupts on again behind an exit.
OWN_STEPS = {
    "store_seq_cst_mode": Deed("entry", "enters", Kind.host),
    "store_release_mode": Deed("exit", "backs out", Kind.exit),
    "store_release_vm_bugged": Deed("dead", "KVM_BUG_ON", Kind.host),
}
AWAKE = ("acknowledge",)
ACKNOWLEDGEMENTS = ("kick.load_acquire_ipi", "kick_as_vcpu.load_acquire_ipi")
# Where a guest's CPU walks to a page's entry, the entry itself first, and where the guest reads the page.
WALKS = (
    "walk_to_leaf.load_acquire_sept",
    "walk_both_levels.load_acquire_sept",
    "walk_to_table.load_acquire_sept",
    "walk.load_acquire_sept_2",
    "walk.load_acquire_sept",
    "read_here.load_acquire_sept",
    "read_private.load_acquire_sept",
    "read_shared.load_acquire_shared_spte",
)
READS = (
    "guest.load_relaxed_owner",
    "guest_with_faults.load_relaxed_owner",
    "stepping_guest.load_relaxed_owner",
    "fill_and_read.load_relaxed_owner",
    "first_read.load_relaxed_owner",
    "read_here.load_relaxed_owner",
    "read_here.load_relaxed_owner_2",
    "read_private.load_relaxed_owner",
    "read_private.load_relaxed_owner_2",
    "read_shared.load_relaxed_shared_owner",
    "read_shared.load_relaxed_shared_owner_2",
)
ENTER, SUCCESS = LEAF_NAMES[Leaf.TDH_VP_ENTER], NAMES[Status.SUCCESS]


def path(calls: tuple[str, ...], name: str, word: str) -> list[Deed]:
    """The stretches that a step is part of, outermost first; `name` is the site's."""
    found = [DEEDS[call] for call in calls if call in DEEDS]
    if name in STEPS:
        found.append(STEPS[name])
    elif len(calls) == 1 and (own := OWN_STEPS.get(name.partition(".")[2])):
        found.append(own)
    elif calls[1:] == AWAKE:
        found.append(DEEDS["td_exit"])
    elif name in ACKNOWLEDGEMENTS:
        found.append(Deed(f"ack {word}", f"waits for {word.partition('[')[2].rstrip(']')}", Kind.wait))
    return found


@dataclass(slots=True)
class _Open:
    """A stretch that has begun: its place among the spans, and the name of its first step."""

    deed: Deed
    place: int
    start: int
    depth: int
    first: str


class Gatherer:
    """Takes events one by one; `spans` is complete once `finish` was called."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.deeds: list[int] = []
        self._open: dict[str, list[_Open]] = {}
        self._behind: dict[str, int] = {}  # where the actor's last step ended

    def add(self, event: Event) -> None:
        """The next step of the schedule."""
        here, now = len(self.deeds), self._open.setdefault(event.actor, [])
        deeds = path(event.calls, event.name, event.access.word if event.access else "")
        if not deeds:
            deeds = [Deed(event.function, event.function, Kind.host)]
        self._close(event.actor, self._shared(event, now, deeds), here)
        for deed in deeds[len(now) :]:
            self._begin(event, deed, here)
        self.deeds.append(now[-1].place)
        self._behind[event.actor] = here + 1
        if event.status and now[-1].deed.name == event.leaf:
            self._end(event.actor, here + 1, event.status)
            if (event.leaf, event.status) == (ENTER, SUCCESS):
                self._begin(event, DEEDS["guest"], here + 1)

    def finish(self, ahead: dict[str, tuple[tuple[str, ...], str, str]]) -> None:
        """The schedule is over. `ahead`: calls, site name and word of the next step of all who have not returned."""
        end = len(self.deeds)
        for actor, now in self._open.items():
            deeds = path(*ahead[actor]) if actor in ahead else []
            shared = 0
            while shared < min(len(now), len(deeds)) and now[shared].deed.key == deeds[shared].key:
                shared += 1
            self._close(actor, shared, end)
            for opened in now:
                self._put(opened, actor, end, whole=False)

    def _shared(self, event: Event, now: list[_Open], deeds: list[Deed]) -> int:
        """How many of the stretches that are open go on: a SEAMCALL that is back at its first step is another one."""
        shared = 0
        for opened, deed in zip(now, deeds, strict=False):
            again = deed.kind in (Kind.seamcall, Kind.tdcall) and opened.first == event.name
            if opened.deed.key != deed.key or again:
                break
            shared += 1
        return shared

    def _begin(self, event: Event, deed: Deed, at: int) -> None:
        now = self._open[event.actor]
        # What is waited for was waited for since the step before.
        start = max(self._behind.get(event.actor, at), now[-1].start if now else 0) if deed.kind is Kind.wait else at
        now.append(_Open(deed, len(self.spans), start, len(now), event.name))
        self.spans.append(Span(event.actor, deed.name, deed.kind, start, start, len(now) - 1))

    def _close(self, actor: str, keep: int, here: int) -> None:
        """End what is open above the first `keep`; a stay in the guest lasts until the step that ends it."""
        now = self._open.get(actor, [])
        while len(now) > keep:
            self._end(actor, here if now[-1].deed.kind is Kind.guest else self._behind[actor])

    def _end(self, actor: str, end: int, status: str = "") -> None:
        self._put(self._open[actor].pop(), actor, end, status=status)

    def _put(self, opened: _Open, actor: str, end: int, *, whole: bool = True, status: str = "") -> None:
        deed = opened.deed
        self.spans[opened.place] = Span(
            actor, deed.name, deed.kind, opened.start, end, opened.depth, whole=whole, status=status
        )


def gathered(
    events: Sequence[Event], ahead: dict[str, tuple[tuple[str, ...], str, str]]
) -> tuple[tuple[Span, ...], tuple[int, ...]]:
    """All spans, in the order in which they begin, and for each event the innermost one that it is part of."""
    gatherer = Gatherer()
    for event in events:
        gatherer.add(event)
    gatherer.finish(ahead)
    return tuple(gatherer.spans), tuple(gatherer.deeds)
