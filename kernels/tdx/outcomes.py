"""What can happen, by number: the words under which kernels count and results grade."""

from enum import IntEnum, StrEnum


class Outcome(IntEnum):
    """One named outcome of a guest read, a SEAMCALL or a run; `results/grades.py` gives each its grade."""

    fresh = 0
    fault = 1
    stale_in_window = 2
    stale_after_kick = 3
    stale_after_done = 4
    use_after_remove = 5
    operand_busy = 6
    previous_epoch_busy = 7
    tracking_not_done = 8
    not_blocked = 9
    already_blocked = 10
    entry_state_incorrect = 11
    page_already_accepted = 12
    refcount_broken = 13
    no_progress = 14
    unknown_status = 15
    busy_given_up = 16
    mmio_installed = 17
    ve_in_guest = 18
    mmio_emulated = 19
    ve_on_memory = 20
    access_before_accept = 21
    fault_retried = 22
    ept_walk_failed = 23
    mirror_disagrees = 24
    two_owners = 25
    not_zeroed = 26
    vcpu_associated = 27
    vcpu_not_associated = 28
    flushvp_not_done = 29
    sept_use_after_free = 30
    ept_page_not_free = 31
    td_state_incorrect = 32
    hkid_leaked = 33
    zero_step_busy = 34
    zero_step_fault = 35
    host_priority_timeout = 36


OUTCOMES = len(Outcome)


class Second(StrEnum):
    """What comes of a SEAMCALL that was told BUSY, the gravest last."""

    never = "never"  # it never is
    holds = "always"  # its second try, the last, succeeds
    spins = "spins"  # it is tried again as often as it fails
    fails = "can fail"  # so can its last try: then it is given up
    none = "gives up"  # there is no other try
