"""What an ordering is known for on a machine that asks more of KVM than the order of steps, or does not check it.

`expect` says what an ordering shows on the TDX module. Without the module the statuses by which it refuses an order are
never given, and what they kept from happening happens: the page is someone else's while a CPU can still reach it.
Where a fault is retried by entering again, with the SPTE frozen for as long as a zap takes, the module's 0-step filter
soon lists a page, and TDX_1.5.01 lets nobody in who has still to accept it: in time every vCPU. So it is where a fault
meets a memslot that is being deleted; and KVM before v6.18, which retries that in the host, waits for whoever deletes
it, who waits for the vCPU. Where a memslot comes to a page that a guest has touched KVM leaves the MMIO SPTE there; and
a TD with SEPT_VE_DISABLE, as Linux has it, KVM kills where a page comes back and is touched before it is accepted.
Where a TD is built ioctls that take the TDR exclusive meet calls that share it and may not fail, as long as no lock
keeps them apart.
"""

from kernels.tdx.outcomes import Outcome
from kernels.tdx.rules import Flow
from scenarios.models import Ordering, Scenario

STALE, NO_PROGRESS = Outcome.use_after_remove.name, Outcome.no_progress.name
VE_ON_MEMORY, ACCESS_BEFORE_ACCEPT = Outcome.ve_on_memory.name, Outcome.access_before_accept.name
BUSY_GIVEN_UP = Outcome.busy_given_up.name
# What takes the place of a refusal. TRACK is refused while a vCPU runs in the epoch before, as two reference counts
# tell no more than two epochs apart: who waits for every vCPU after its own TRACK is right all the same, so that an
# ordering known for this alone is safe.
WITHOUT_MODULE = {
    Outcome.tracking_not_done.name: (STALE,),
    Outcome.not_blocked.name: (STALE,),
    Outcome.previous_epoch_busy.name: (),
    Outcome.metadata_incorrect.name: (),
}


def expecting(ordering: Ordering, scenario: Scenario) -> Ordering:
    """The ordering with what it is known for under this scenario's module. Doing so again changes nothing."""
    if isinstance(ordering.expect, str):
        known = _known_here(ordering, scenario)
        return ordering.model_copy(update={"expect": known}) if known else ordering
    if scenario.module != "none":
        return ordering
    if _flushes_by_request(ordering):
        of_module = {*WITHOUT_MODULE, *([STALE] if ordering.on_error == "free_page" else [])}
        shown = [outcome for outcome in ordering.expect if outcome not in of_module]
    else:
        shown = [now for outcome in ordering.expect for now in WITHOUT_MODULE.get(outcome, (outcome,))]
    return ordering.model_copy(update={"expect": tuple(dict.fromkeys(shown)) or "safe"})


def otherwise_safe(ordering: Ordering, scenario: Scenario) -> bool:
    """Whether all that it is known for is what a right order shows here: whatever else is forbidden fails it."""
    # Behind a BUSY that is given up whatever an order shows is not its own.
    return not ordering.safe and not scenario.has(Flow.BUILD) and ordering.expect == _known_here(ordering, scenario)


def _known_here(ordering: Ordering, scenario: Scenario) -> tuple[str, ...]:
    """What a right order shows all the same."""
    reenters = ordering.fault_retry == "reenter" and not ordering.serialized
    slots = scenario.has(Flow.MEMSLOTS)
    of_filter = (reenters or slots) and not scenario.sept_ve_disable and scenario.module == "tdx"
    of_memslot = slots and ordering.fault_retry == "local"
    known = {
        ACCESS_BEFORE_ACCEPT: scenario.sept_ve_disable,
        VE_ON_MEMORY: scenario.has(Flow.MMIO) and scenario.memslot_zap == "none" and not scenario.sept_ve_disable,
        NO_PROGRESS: scenario.has(Flow.ZERO_STEP) and (of_filter or of_memslot),
        BUSY_GIVEN_UP: scenario.has(Flow.BUILD) and _meet_at_tdr(ordering, scenario),
    }
    return tuple(outcome for outcome, shows in known.items() if shows)


def _meet_at_tdr(ordering: Ordering, scenario: Scenario) -> bool:
    """Whether an ioctl takes the TDR exclusive beside a zap, or beside a vCPU that is loaded."""
    ioctls = set(scenario.ioctls.split("+"))
    if ordering.guard == "all":
        return {"finalize", "punch_hole"} <= ioctls
    return ordering.guard == "own" and not ioctls <= {"punch_hole", "delete_slot"}


def _flushes_by_request(ordering: Ordering) -> bool:
    """Whether it shoots down as KVM does on plain EPT, whatever it does beside: BLOCK, a kick whose request flushes and
    that waits, REMOVE.
    """
    kick, steps = ordering.kick, ordering.shootdown
    if kick is None or kick.request != "tlb_flush" or "block" not in steps or "remove" not in steps:
        return False
    # Whole kicks that wait, and waits for a request that came behind BLOCK, before REMOVE.
    asked, blocked, removed = -1, steps.index("block"), steps.index("remove")
    for place, step in enumerate(steps[:removed]):
        asked = place if step in ("kick", "request") else asked
        if asked > blocked and ((step == "kick" and kick.wait) or step == "wait"):
            return True
    return False
