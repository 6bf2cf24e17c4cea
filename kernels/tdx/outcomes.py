"""What can happen, a row each: the number under which kernels count it, its grade, and one line of why."""

from enum import IntEnum, StrEnum


class Grade(StrEnum):
    """How bad an outcome is; `unknown` fails a run as `forbidden` does."""

    acceptable = "acceptable"
    interesting = "interesting"
    forbidden = "forbidden"
    unknown = "unknown"


class Harm(StrEnum):
    """What a forbidden outcome is, the gravest first: a read of what is someone else's, or a write over it; a status
    that stops the host; an old translation used behind the flush; an end that never comes; an invariant of the module.
    """

    reused = "reused"
    refused = "refused"
    stale = "stale"
    stuck = "stuck"
    broken = "broken"


class Outcome(IntEnum):
    """One named outcome of a guest read, a SEAMCALL or a run. `short` names a forbidden one where there is no room."""

    grade: Grade
    why: str
    harm: Harm | None
    short: str

    def __new__(
        cls, number: int, grade: Grade = Grade.unknown, why: str = "", harm: Harm | None = None, short: str = ""
    ) -> "Outcome":
        """A member; only its number is its value."""
        made = int.__new__(cls, number)
        made._value_ = number
        made.grade, made.why, made.harm, made.short = grade, why, harm, short
        return made

    fresh = 0, Grade.acceptable, "the translation was current"
    fault = 1, Grade.acceptable, "blocked or free: KVM's fault path ran"
    stale_in_window = 2, Grade.acceptable, "old translation after BLOCK, before done"
    stale_after_kick = 3, Grade.interesting, "old translation after the ack, before done"
    stale_after_done = 4, Grade.forbidden, "old translation, the flush taken for done", Harm.stale, "stale"
    use_after_remove = 5, Grade.forbidden, "the page already belongs to someone else", Harm.reused, "reuse"
    operand_busy = 6, Grade.acceptable, "a try-lock was taken: tried again"
    previous_epoch_busy = 7, Grade.forbidden, "TRACK, a vCPU still in the epoch before", Harm.refused, "epoch busy"
    tracking_not_done = 8, Grade.forbidden, "REMOVE refused: KVM_BUG_ON", Harm.refused, "untracked"
    not_blocked = 9, Grade.forbidden, "REMOVE of a page not blocked: KVM_BUG_ON", Harm.refused, "not blocked"
    already_blocked = 10, Grade.forbidden, "BLOCK of a blocked page: KVM_BUG_ON", Harm.refused, "blocked"
    entry_state_incorrect = 11, Grade.forbidden, "S-EPT entry in no such state: KVM_BUG_ON", Harm.refused, "state"
    page_already_accepted = 12, Grade.acceptable, "two vCPUs accepted one page: no error bit"
    refcount_broken = 13, Grade.forbidden, "refcounts differ from the vCPUs inside", Harm.broken, "refcount"
    no_progress = 14, Grade.forbidden, "livelock or deadlock: nobody moves", Harm.stuck, "stuck"
    unknown_status = 15, Grade.unknown, "a status nobody declared: unknown fails"
    busy_given_up = 16, Grade.forbidden, "BUSY taken for an error: KVM_BUG_ON", Harm.refused, "busy"
    mmio_installed = 17, Grade.acceptable, "EPT violation, no memslot: MMIO SPTE installed"
    ve_in_guest = 18, Grade.acceptable, "#VE in the guest: an MMIO SPTE, or a pending page"
    mmio_emulated = 19, Grade.acceptable, "TDG.VP.VMCALL for MMIO: the access emulated"
    ve_on_memory = 20, Grade.forbidden, "#VE on a page that a memslot backs: for ever", Harm.stuck, "#VE"
    access_before_accept = 21, Grade.forbidden, "pending page, SEPT_VE_DISABLE: VM killed", Harm.broken
    fault_retried = 22, Grade.acceptable, "RET_PF_RETRY: the entry is frozen, or BUSY"
    ept_walk_failed = 23, Grade.forbidden, "AUG below no page-table page: KVM_BUG_ON", Harm.refused, "no walk"
    mirror_disagrees = 24, Grade.forbidden, "mirror SPTE present, S-EPT entry not mapped", Harm.broken
    two_owners = 25, Grade.forbidden, "the S-EPT maps a page that the host gave away", Harm.broken
    not_zeroed = 26, Grade.forbidden, "accepted page with its last owner's content", Harm.reused
    vcpu_associated = 27, Grade.forbidden, "VP.ENTER: the vCPU is another processor's still", Harm.refused, "assoc."
    vcpu_not_associated = 28, Grade.acceptable, "VP.FLUSH of a vCPU that never entered there"
    flushvp_not_done = 29, Grade.acceptable, "VPFLUSHDONE too early: the next vCPU asks again"
    sept_use_after_free = 30, Grade.forbidden, "a walk went on in a page-table page given away", Harm.reused, "astray"
    ept_page_not_free = 31, Grade.forbidden, "SEPT.REMOVE, entries below: KVM_BUG_ON", Harm.refused, "not free"
    td_state_incorrect = 32, Grade.forbidden, "a call on a TD in no such state: KVM_BUG_ON", Harm.refused, "TD state"
    hkid_leaked = 33, Grade.forbidden, "the HKID of a dead TD is never given back", Harm.stuck, "HKID"
    zero_step_busy = 34, Grade.acceptable, "0-step filter: VP.ENTER found the S-EPT tree locked"
    zero_step_fault = 35, Grade.acceptable, "0-step filter: a TD exit without an entry"
    host_priority_timeout = 36, Grade.interesting, "the guest stood back too long: KVM_RUN ends in an error"
    write_lost = 37, Grade.forbidden, "a write that no dirty log shows", Harm.stale, "lost"
    metadata_incorrect = 38, Grade.forbidden, "WBINVD of a page that a TD has: KVM_BUG_ON", Harm.refused, "a TD's"
    written_back_late = 39, Grade.forbidden, "dirty line written back over the next owner's data", Harm.reused, "late"


OUTCOMES = len(Outcome)
# What no safe ordering shows, and an ordering may be known for: KVM_BUG_ON, a stale read, or no end.
FORBIDDEN = tuple(outcome.name for outcome in Outcome if outcome.grade == Grade.forbidden)


class Second(StrEnum):
    """What comes of a SEAMCALL that was told BUSY, the gravest last."""

    never = "never"  # it never is
    holds = "always"  # its second try, the last, succeeds
    spins = "spins"  # it is tried again as often as it fails
    anew = "anew"  # the caller is told, and begins anew
    skips = "skips"  # it is taken for done
    fails = "can fail"  # so can its last try: then it is given up
    none = "gives up"  # there is no other try
