"""The outcomes that an ordering can be known for."""

from kernels.tdx.outcomes import Outcome

# The outcomes that no safe ordering shows: what an ordering may be known for. KVM_BUG_ON, a stale read, or no end.
FORBIDDEN = (
    Outcome.stale_after_done.name,
    Outcome.use_after_remove.name,
    Outcome.previous_epoch_busy.name,
    Outcome.tracking_not_done.name,
    Outcome.not_blocked.name,
    Outcome.already_blocked.name,
    Outcome.entry_state_incorrect.name,
    Outcome.refcount_broken.name,
    Outcome.busy_given_up.name,
    Outcome.ept_walk_failed.name,
    Outcome.mirror_disagrees.name,
    Outcome.two_owners.name,
    Outcome.not_zeroed.name,
    Outcome.no_progress.name,
    Outcome.ve_on_memory.name,
    Outcome.access_before_accept.name,
    Outcome.vcpu_associated.name,
    Outcome.sept_use_after_free.name,
    Outcome.ept_page_not_free.name,
    Outcome.td_state_incorrect.name,
    Outcome.hkid_leaked.name,
)
