"""A flush that the handler of a request leaves to the next entry, which can fail."""

import pytest

from kernels.search.explore import explore
from kernels.tdx.outcomes import FORBIDDEN
from kernels.tdx.protocol import Size, of_flow
from kernels.tdx.rules import Fault, Flow, FlushAt, Module, Rules
from kernels.tests.orders import BLOCK, KICK, REMOVE, REQUESTS, TRACK, order

PLAIN, ENTRY = {"module": int(Module.NONE)}, {"flush_at": int(FlushAt.ENTRY)}
LOST = {"faults": int(Fault.DEFERRED_FLUSH_LOST)}
SHARED = {"flow": int(Flow.SHARED_EPT), "shared_pages": 1}
UNMAP_AND_KICK = order(BLOCK, KICK, REMOVE, serialized=1, **REQUESTS, **ENTRY)
SIZES = [Size(1, 1), Size(2, 1), Size(1, 2)]


def forbidden(rules: Rules, size: Size) -> set[str]:
    found = explore(*of_flow(rules), size, liveness=False)
    assert found.complete
    return {*found.outcomes, *found.broken} & {*FORBIDDEN}


@pytest.mark.parametrize("machine", [PLAIN, SHARED], ids=["plain EPT", "shared EPT"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_flush_that_is_left_to_the_entry_is_enough_where_a_failed_one_leaves_it_to_the_next(machine, size):
    assert forbidden(UNMAP_AND_KICK._replace(**machine), size) == set()


@pytest.mark.parametrize("machine", [PLAIN, SHARED], ids=["plain EPT", "shared EPT"])
def test_where_a_failed_entry_takes_it_along_a_cpu_reads_what_is_someone_elses(machine):
    assert "use_after_remove" in forbidden(UNMAP_AND_KICK._replace(**machine, **LOST), Size(1, 1))


def test_it_has_the_states_of_a_flush_at_once_and_those_in_which_a_mark_waits():
    deferred, at_once = (
        explore(*of_flow(UNMAP_AND_KICK._replace(**PLAIN, flush_at=int(at))), Size(1, 1)) for at in reversed(FlushAt)
    )

    assert (deferred.states, at_once.states) == (2_584, 2_072)


def test_a_track_before_the_kick_hides_the_loss_as_a_new_epoch_flushes_too():
    tracked = order(BLOCK, TRACK, KICK, REMOVE, serialized=1, **REQUESTS, **ENTRY, **PLAIN, **LOST)

    assert forbidden(tracked, Size(1, 1)) == set()
