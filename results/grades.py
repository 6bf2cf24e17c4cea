"""What each outcome means for an ordering: its grade, and one line of why. results/README.md has them as tables."""

from enum import StrEnum
from typing import NamedTuple

from kernels.tdx.outcomes import Outcome
from kernels.tdx.rules import Flow


class Grade(StrEnum):
    """How bad an outcome is; `unknown` fails a run as `forbidden` does."""

    acceptable = "acceptable"
    interesting = "interesting"
    forbidden = "forbidden"
    unknown = "unknown"


class Meaning(NamedTuple):
    """What an outcome means: its grade, and one line of why."""

    grade: Grade
    why: str


GRADES = {
    Outcome.fresh: Meaning(Grade.acceptable, "the translation was current"),
    Outcome.fault: Meaning(Grade.acceptable, "blocked or free: KVM's fault path ran"),
    Outcome.stale_in_window: Meaning(Grade.acceptable, "old translation after BLOCK, before done"),
    Outcome.stale_after_kick: Meaning(Grade.interesting, "old translation after the ack, before done"),
    Outcome.stale_after_done: Meaning(Grade.forbidden, "old translation after the flush was done"),
    Outcome.use_after_remove: Meaning(Grade.forbidden, "the page already belongs to someone else"),
    Outcome.operand_busy: Meaning(Grade.acceptable, "a try-lock was taken: tried again"),
    Outcome.previous_epoch_busy: Meaning(Grade.forbidden, "TRACK, a vCPU still in the epoch before"),
    Outcome.tracking_not_done: Meaning(Grade.forbidden, "REMOVE refused: KVM_BUG_ON"),
    Outcome.not_blocked: Meaning(Grade.forbidden, "REMOVE of a page not blocked: KVM_BUG_ON"),
    Outcome.already_blocked: Meaning(Grade.forbidden, "BLOCK of a blocked page: KVM_BUG_ON"),
    Outcome.entry_state_incorrect: Meaning(Grade.forbidden, "S-EPT entry in no such state: KVM_BUG_ON"),
    Outcome.page_already_accepted: Meaning(Grade.acceptable, "two vCPUs accepted one page: no error bit"),
    Outcome.refcount_broken: Meaning(Grade.forbidden, "refcounts differ from the vCPUs inside"),
    Outcome.busy_given_up: Meaning(Grade.forbidden, "BUSY taken for an error: KVM_BUG_ON"),
    Outcome.fault_retried: Meaning(Grade.acceptable, "RET_PF_RETRY: the entry is frozen, or BUSY"),
    Outcome.ept_walk_failed: Meaning(Grade.forbidden, "AUG below no page-table page: KVM_BUG_ON"),
    Outcome.mirror_disagrees: Meaning(Grade.forbidden, "mirror SPTE present, S-EPT entry not mapped"),
    Outcome.two_owners: Meaning(Grade.forbidden, "the S-EPT maps a page that the host gave away"),
    Outcome.not_zeroed: Meaning(Grade.forbidden, "accepted page with its last owner's content"),
    Outcome.no_progress: Meaning(Grade.forbidden, "livelock or deadlock: nobody moves"),
    Outcome.mmio_installed: Meaning(Grade.acceptable, "EPT violation, no memslot: MMIO SPTE installed"),
    Outcome.ve_in_guest: Meaning(Grade.acceptable, "#VE in the guest: an MMIO SPTE, or a pending page"),
    Outcome.mmio_emulated: Meaning(Grade.acceptable, "TDG.VP.VMCALL<#VE.RequestMMIO>: emulated"),
    Outcome.ve_on_memory: Meaning(Grade.forbidden, "#VE on a page that a memslot backs: for ever"),
    Outcome.access_before_accept: Meaning(Grade.forbidden, "pending page, SEPT_VE_DISABLE: VM killed"),
    Outcome.vcpu_associated: Meaning(Grade.forbidden, "VP.ENTER: the vCPU is another processor's still"),
    Outcome.vcpu_not_associated: Meaning(Grade.acceptable, "VP.FLUSH of a vCPU that never entered there"),
    Outcome.flushvp_not_done: Meaning(Grade.acceptable, "VPFLUSHDONE too early: the next vCPU asks again"),
    Outcome.sept_use_after_free: Meaning(Grade.forbidden, "a walk went on in a page-table page given away"),
    Outcome.ept_page_not_free: Meaning(Grade.forbidden, "SEPT.REMOVE, entries below: KVM_BUG_ON"),
    Outcome.td_state_incorrect: Meaning(Grade.forbidden, "a call on a TD in no such state: KVM_BUG_ON"),
    Outcome.hkid_leaked: Meaning(Grade.forbidden, "the HKID of a dead TD is never given back"),
    Outcome.zero_step_busy: Meaning(Grade.acceptable, "0-step filter: VP.ENTER found the S-EPT tree locked"),
    Outcome.zero_step_fault: Meaning(Grade.acceptable, "0-step filter: a TD exit without an entry"),
    Outcome.host_priority_timeout: Meaning(
        Grade.interesting, "the guest stood back too long: KVM_RUN ends in an error"
    ),
    Outcome.unknown_status: Meaning(Grade.unknown, "a status nobody declared: unknown fails"),
}
UNDECLARED = Meaning(Grade.unknown, "undeclared: unknown fails")
FAILING = frozenset({Grade.forbidden, Grade.unknown})


def meaning(outcome_id: str) -> Meaning:
    """What the outcome of this id means; UNDECLARED where no such outcome is declared."""
    return GRADES[Outcome[outcome_id]] if outcome_id in Outcome.__members__ else UNDECLARED


def grade_of(outcome_id: str) -> Grade:
    """The grade of an outcome by its id; `unknown` where no such outcome is declared."""
    return meaning(outcome_id).grade


def why(outcome_id: str) -> str:
    """One line that says what the outcome means."""
    return meaning(outcome_id).why


def declared(flow: int) -> tuple[Outcome, ...]:
    """The outcomes that some step of a flow can raise: of no other is a zero worth telling."""
    from kernels.tdx.raising import raisable

    return tuple(sorted(raisable(Flow(flow))))
