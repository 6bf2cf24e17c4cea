"""A flush that the handler of a request leaves to the next entry, which can fail."""

import pytest

from kernels.tdx.protocol import Size
from kernels.tdx.rules import Fault, FlushAt
from kernels.tests.orders import BLOCK, KICK, PLAIN_EPT, REMOVE, REQUESTS, SHARED, TRACK, order
from kernels.tests.witnesses import errors

ENTRY = {"flush_at": int(FlushAt.ENTRY)}
LOST = {"faults": int(Fault.DEFERRED_FLUSH_LOST)}
UNMAP_AND_KICK = order(BLOCK, KICK, REMOVE, serialized=1, **REQUESTS, **ENTRY)
SIZES = [Size(1, 1), Size(2, 1), Size(1, 2)]


@pytest.mark.parametrize("machine", [PLAIN_EPT, SHARED], ids=["plain EPT", "shared EPT"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_flush_that_is_left_to_the_entry_is_enough_where_a_failed_one_leaves_it_to_the_next(machine, size):
    assert errors(UNMAP_AND_KICK._replace(**machine), size)[0] == set()


@pytest.mark.parametrize("machine", [PLAIN_EPT, SHARED], ids=["plain EPT", "shared EPT"])
def test_where_a_failed_entry_takes_it_along_a_cpu_reads_what_is_someone_elses(machine):
    assert "use_after_remove" in errors(UNMAP_AND_KICK._replace(**machine, **LOST), Size(1, 1))[0]


def test_it_has_the_states_of_a_flush_at_once_and_those_in_which_a_mark_waits():
    states = {at: errors(UNMAP_AND_KICK, **PLAIN_EPT, flush_at=int(at))[1] for at in FlushAt}

    assert states == {FlushAt.REQUEST: 2_072, FlushAt.ENTRY: 2_584}


def test_a_track_before_the_kick_hides_the_loss_as_a_new_epoch_flushes_too():
    tracked = order(BLOCK, TRACK, KICK, REMOVE, serialized=1, **REQUESTS, **ENTRY, **PLAIN_EPT, **LOST)

    assert errors(tracked, Size(1, 1))[0] == set()
