"""An ordering in full: every key with its value and what it does, shorthands written out."""

from collections.abc import Iterator

from scenarios.busy import OF_FAULTS, in_force
from scenarios.models import TABLES, Ordering
from scenarios.wording import shown

DOES = {
    "block": "TDH.MEM.RANGE.BLOCK: no new translation of the page",
    "gate_raise": "raises the gate, at which kicked vCPUs wait",
    "kick": 'the steps "request", "send" and, where kick.wait is true, "wait"',
    "track": "TDH.MEM.TRACK: a new epoch, with a flush at each entry into it",
    "gate_lower": "lowers the gate",
    "remove": "TDH.MEM.PAGE.REMOVE: the page is given away",
    "unblock": "TDH.MEM.RANGE.UNBLOCK: the page is mapped again as it was",
    "wbinvd": "TDH.PHYMEM.PAGE.WBINVD: what caches hold of the page is written back, before it is anybody else's",
    "protect": "takes the write permission from an SPTE of KVM's own, for a dirty log",
    "flush": "kvm_flush_remote_tlbs(): a kick with the request tlb_flush, which is waited for",
    "request": "asks every vCPU to leave, and finds out who is inside",
    "send": "sends an IPI to each that is",
    "wait": "waits until they have answered",
    "lock": "takes {lock} for {mode}",
    "unlock": "gives {lock} back",
}
STEPS_OF = ("shootdown", "table", "undo")
LOCKS = {
    "sept_lock": "the ordering's own lock of the S-EPT",
    "track_lock": "the ordering's own lock of TRACK and kick",
    "page_table_lock": "the ordering's own lock of a page table",
    "tlbstate_lock": "the ordering's own lock of flushes",
    "mmu_lock": "KVM's mmu_lock",
}


def in_full(ordering: Ordering) -> Iterator[str]:
    """Lines for people; what the file leaves out is said to be."""
    for key, field in Ordering.model_fields.items():
        if field.title is None or (key == "kick" and ordering.kick is None):
            continue
        left_out = "" if key in ordering.model_fields_set else " (left out)"
        yield f"{key} = {_value(ordering, key)}{left_out}: {field.title}"
        if key in STEPS_OF:
            yield from (f"  {step}: {_does(step)}" for step in getattr(ordering, key))


def _does(step: str) -> str:
    what, _, taken = step.partition(" ")
    lock, _, mode = taken.partition(" ")
    return DOES[what].format(lock=LOCKS.get(lock), mode=mode or "write")


def _value(ordering: Ordering, key: str) -> str:
    if key == "busy":
        made = {
            seamcall: by_mode if len(set(by_mode.values())) > 1 else by_mode["write"]
            for seamcall, by_mode in in_force(ordering).items()
            if seamcall in (*ordering.every_step, *OF_FAULTS)
        }
        return f"{{ {', '.join(f'{seamcall} = {shown(policy)}' for seamcall, policy in made.items())} }}"
    if key in STEPS_OF and (steps := getattr(ordering, key)):
        return f"{len(steps)} steps"
    value = getattr(ordering, key)
    return shown(value.model_dump(exclude_none=True, exclude_defaults=key == "locks") if key in TABLES else value)
