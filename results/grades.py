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
    """What an outcome means: its grade, one line of why, and a shorter one where a terminal is too narrow for that."""

    grade: Grade
    why: str
    short: str


GRADES = {
    Outcome.fresh: Meaning(Grade.acceptable, "the translation was current", "current translation"),
    Outcome.fault: Meaning(Grade.acceptable, "blocked or free: KVM's fault path ran", "KVM's fault path ran"),
    Outcome.stale_in_window: Meaning(Grade.acceptable, "old translation after BLOCK, before done", "legal until done"),
    Outcome.stale_after_kick: Meaning(
        Grade.interesting, "old translation after the ack, before done", "acked, not yet done"
    ),
    Outcome.stale_after_done: Meaning(
        Grade.forbidden, "old translation after the flush was done", "used after the flush"
    ),
    Outcome.use_after_remove: Meaning(
        Grade.forbidden, "the page already belongs to someone else", "someone else's page"
    ),
    Outcome.operand_busy: Meaning(Grade.acceptable, "a try-lock was taken: tried again", "a try-lock was taken"),
    Outcome.previous_epoch_busy: Meaning(
        Grade.forbidden, "TRACK, a vCPU still in the epoch before", "TRACK: KVM_BUG_ON"
    ),
    Outcome.tracking_not_done: Meaning(Grade.forbidden, "REMOVE refused: KVM_BUG_ON", "REMOVE: KVM_BUG_ON"),
    Outcome.not_blocked: Meaning(Grade.forbidden, "REMOVE of a page not blocked: KVM_BUG_ON", "REMOVE: KVM_BUG_ON"),
    Outcome.already_blocked: Meaning(Grade.forbidden, "BLOCK of a blocked page: KVM_BUG_ON", "BLOCK: KVM_BUG_ON"),
    Outcome.entry_state_incorrect: Meaning(
        Grade.forbidden, "S-EPT entry in no such state: KVM_BUG_ON", "S-EPT: KVM_BUG_ON"
    ),
    Outcome.page_already_accepted: Meaning(
        Grade.acceptable, "two vCPUs accepted one page: no error bit", "guest only, no error"
    ),
    Outcome.refcount_broken: Meaning(Grade.forbidden, "refcounts differ from the vCPUs inside", "not the vCPUs inside"),
    Outcome.busy_given_up: Meaning(Grade.forbidden, "BUSY taken for an error: KVM_BUG_ON", "as error: KVM_BUG_ON"),
    Outcome.fault_retried: Meaning(Grade.acceptable, "RET_PF_RETRY: the entry is frozen, or BUSY", "RET_PF_RETRY"),
    Outcome.ept_walk_failed: Meaning(Grade.forbidden, "AUG below no page-table page: KVM_BUG_ON", "AUG: KVM_BUG_ON"),
    Outcome.mirror_disagrees: Meaning(
        Grade.forbidden, "mirror SPTE present, S-EPT entry not mapped", "mirror, not S-EPT"
    ),
    Outcome.two_owners: Meaning(Grade.forbidden, "the S-EPT maps a page that the host gave away", "S-EPT and another"),
    Outcome.not_zeroed: Meaning(Grade.forbidden, "accepted page with its last owner's content", "last owner's data"),
    Outcome.no_progress: Meaning(Grade.forbidden, "livelock or deadlock: nobody moves", "livelock or deadlock"),
    Outcome.mmio_installed: Meaning(
        Grade.acceptable, "EPT violation, no memslot: MMIO SPTE installed", "no memslot there"
    ),
    Outcome.ve_in_guest: Meaning(
        Grade.acceptable, "#VE in the guest: an MMIO SPTE, or a pending page", "MMIO or pending"
    ),
    Outcome.mmio_emulated: Meaning(Grade.acceptable, "TDG.VP.VMCALL<#VE.RequestMMIO>: emulated", "by #VE, VMCALL"),
    Outcome.ve_on_memory: Meaning(Grade.forbidden, "#VE on a page that a memslot backs: for ever", "#VE for ever"),
    Outcome.access_before_accept: Meaning(
        Grade.forbidden, "pending page, SEPT_VE_DISABLE: VM killed", "the VM is killed"
    ),
    Outcome.vcpu_associated: Meaning(
        Grade.forbidden, "VP.ENTER: the vCPU is another processor's still", "with another LP"
    ),
    Outcome.vcpu_not_associated: Meaning(
        Grade.acceptable, "VP.FLUSH of a vCPU that never entered there", "never entered there"
    ),
    Outcome.flushvp_not_done: Meaning(
        Grade.acceptable, "VPFLUSHDONE too early: the next vCPU asks again", "asked again later"
    ),
    Outcome.sept_use_after_free: Meaning(
        Grade.forbidden, "a walk went on in a page-table page given away", "walk in freed page"
    ),
    Outcome.ept_page_not_free: Meaning(Grade.forbidden, "SEPT.REMOVE, entries below: KVM_BUG_ON", "KVM_BUG_ON"),
    Outcome.td_state_incorrect: Meaning(Grade.forbidden, "a call on a TD in no such state: KVM_BUG_ON", "KVM_BUG_ON"),
    Outcome.hkid_leaked: Meaning(Grade.forbidden, "the HKID of a dead TD is never given back", "never given back"),
    Outcome.zero_step_busy: Meaning(
        Grade.acceptable, "0-step filter: VP.ENTER found the S-EPT tree locked", "VP.ENTER refused"
    ),
    Outcome.zero_step_fault: Meaning(
        Grade.acceptable, "0-step filter: a TD exit without an entry", "exit without entry"
    ),
    Outcome.host_priority_timeout: Meaning(
        Grade.interesting, "the guest stood back too long: KVM_RUN ends in an error", "TD exit of ACCEPT"
    ),
    Outcome.unknown_status: Meaning(Grade.unknown, "a status nobody declared: unknown fails", "undeclared: fails"),
}
UNDECLARED = Meaning(Grade.unknown, "undeclared: unknown fails", "undeclared: fails")
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
