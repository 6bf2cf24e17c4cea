"""What each outcome means for an ordering: its grade, and one line of why. results/README.md has them as tables."""

from enum import StrEnum

from kernels.tdx.outcomes import Outcome
from kernels.tdx.rules import Flow


class Grade(StrEnum):
    """How bad an outcome is; `unknown` fails a run as `forbidden` does."""

    acceptable = "acceptable"
    interesting = "interesting"
    forbidden = "forbidden"
    unknown = "unknown"


GRADES: dict[Outcome, tuple[Grade, str]] = {
    Outcome.fresh: (Grade.acceptable, "the translation was current"),
    Outcome.fault: (Grade.acceptable, "blocked or free: KVM's fault path ran"),
    Outcome.stale_in_window: (Grade.acceptable, "old translation after BLOCK, before done"),
    Outcome.stale_after_kick: (Grade.interesting, "old translation after the ack, before done"),
    Outcome.stale_after_done: (Grade.forbidden, "old translation after the flush was done"),
    Outcome.use_after_remove: (Grade.forbidden, "the page already belongs to someone else"),
    Outcome.operand_busy: (Grade.acceptable, "a try-lock was taken: tried again"),
    Outcome.previous_epoch_busy: (Grade.forbidden, "TRACK, a vCPU still in the epoch before"),
    Outcome.tracking_not_done: (Grade.forbidden, "REMOVE refused: KVM_BUG_ON"),
    Outcome.not_blocked: (Grade.forbidden, "REMOVE of a page not blocked: KVM_BUG_ON"),
    Outcome.already_blocked: (Grade.forbidden, "BLOCK of a blocked page: KVM_BUG_ON"),
    Outcome.entry_state_incorrect: (Grade.forbidden, "S-EPT entry in no such state: KVM_BUG_ON"),
    Outcome.page_already_accepted: (Grade.acceptable, "two vCPUs accepted one page: no error bit"),
    Outcome.refcount_broken: (Grade.forbidden, "refcounts differ from the vCPUs inside"),
    Outcome.busy_given_up: (Grade.forbidden, "BUSY taken for an error: KVM_BUG_ON"),
    Outcome.fault_retried: (Grade.acceptable, "RET_PF_RETRY: the entry is frozen, or BUSY"),
    Outcome.ept_walk_failed: (Grade.forbidden, "AUG below no page-table page: KVM_BUG_ON"),
    Outcome.mirror_disagrees: (Grade.forbidden, "mirror SPTE present, S-EPT entry not mapped"),
    Outcome.two_owners: (Grade.forbidden, "the S-EPT maps a page that the host gave away"),
    Outcome.not_zeroed: (Grade.forbidden, "accepted page with its last owner's content"),
    Outcome.no_progress: (Grade.forbidden, "livelock or deadlock: nobody moves"),
    Outcome.mmio_installed: (Grade.acceptable, "EPT violation, no memslot: MMIO SPTE installed"),
    Outcome.ve_in_guest: (Grade.acceptable, "#VE in the guest: an MMIO SPTE, or a pending page"),
    Outcome.mmio_emulated: (Grade.acceptable, "TDG.VP.VMCALL<#VE.RequestMMIO>: emulated"),
    Outcome.ve_on_memory: (Grade.forbidden, "#VE on a page that a memslot backs: for ever"),
    Outcome.access_before_accept: (Grade.forbidden, "pending page, SEPT_VE_DISABLE: VM killed"),
    Outcome.vcpu_associated: (Grade.forbidden, "VP.ENTER: the vCPU is another processor's still"),
    Outcome.vcpu_not_associated: (Grade.acceptable, "VP.FLUSH of a vCPU that never entered there"),
    Outcome.flushvp_not_done: (Grade.acceptable, "VPFLUSHDONE too early: the next vCPU asks again"),
    Outcome.sept_use_after_free: (Grade.forbidden, "a walk went on in a page-table page given away"),
    Outcome.ept_page_not_free: (Grade.forbidden, "SEPT.REMOVE, entries below: KVM_BUG_ON"),
    Outcome.td_state_incorrect: (Grade.forbidden, "a call on a TD in no such state: KVM_BUG_ON"),
    Outcome.hkid_leaked: (Grade.forbidden, "the HKID of a dead TD is never given back"),
    Outcome.zero_step_busy: (Grade.acceptable, "0-step filter: VP.ENTER found the S-EPT tree locked"),
    Outcome.zero_step_fault: (Grade.acceptable, "0-step filter: a TD exit without an entry"),
    Outcome.host_priority_timeout: (Grade.interesting, "the guest stood back too long: KVM_RUN ends in an error"),
    Outcome.unknown_status: (Grade.unknown, "a status nobody declared: unknown fails"),
}
FAILING = frozenset({Grade.forbidden, Grade.unknown})


def grade_of(outcome_id: str) -> Grade:
    """The grade of an outcome by its id; `unknown` where no such outcome is declared."""
    return GRADES[Outcome[outcome_id]][0] if outcome_id in Outcome.__members__ else Grade.unknown


def declared(flow: int) -> tuple[Outcome, ...]:
    """The outcomes that some step of a flow can raise: of no other is a zero worth telling."""
    from kernels.tdx.raising import raisable

    return tuple(sorted(raisable(Flow(flow))))


def why(outcome_id: str) -> str:
    """One line that says what the outcome means."""
    return GRADES[Outcome[outcome_id]][1] if outcome_id in Outcome.__members__ else "undeclared: unknown fails"


SHORT_WHY = {
    "fresh": "current translation",
    "fault": "KVM's fault path ran",
    "stale_in_window": "legal until done",
    "stale_after_kick": "acked, not yet done",
    "stale_after_done": "used after the flush",
    "use_after_remove": "someone else's page",
    "operand_busy": "a try-lock was taken",
    "previous_epoch_busy": "TRACK: KVM_BUG_ON",
    "tracking_not_done": "REMOVE: KVM_BUG_ON",
    "not_blocked": "REMOVE: KVM_BUG_ON",
    "already_blocked": "BLOCK: KVM_BUG_ON",
    "entry_state_incorrect": "S-EPT: KVM_BUG_ON",
    "page_already_accepted": "guest only, no error",
    "refcount_broken": "not the vCPUs inside",
    "busy_given_up": "as error: KVM_BUG_ON",
    "fault_retried": "RET_PF_RETRY",
    "ept_walk_failed": "AUG: KVM_BUG_ON",
    "mirror_disagrees": "mirror, not S-EPT",
    "two_owners": "S-EPT and another",
    "not_zeroed": "last owner's data",
    "no_progress": "livelock or deadlock",
    "mmio_installed": "no memslot there",
    "ve_in_guest": "MMIO or pending",
    "mmio_emulated": "by #VE, VMCALL",
    "ve_on_memory": "#VE for ever",
    "access_before_accept": "the VM is killed",
    "vcpu_associated": "with another LP",
    "vcpu_not_associated": "never entered there",
    "flushvp_not_done": "asked again later",
    "sept_use_after_free": "walk in freed page",
    "ept_page_not_free": "KVM_BUG_ON",
    "td_state_incorrect": "KVM_BUG_ON",
    "hkid_leaked": "never given back",
    "zero_step_busy": "VP.ENTER refused",
    "zero_step_fault": "exit without entry",
    "host_priority_timeout": "TD exit of ACCEPT",
    "unknown_status": "undeclared: fails",
}
