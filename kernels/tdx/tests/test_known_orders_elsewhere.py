"""Every order that is known, right and wrong, on machines with something beside the bare shootdown, or without the
module: all of the harm that each of them shows there.
"""

import pytest

from kernels.tdx.protocol import Size
from kernels.tdx.rules import Fault, SharedFlush
from kernels.tests.orders import PAIR, PLAIN_EPT, REQUESTS, SAFE, SHARED, WRONG, order
from kernels.tests.witnesses import ONE, errors

ORDERS = {
    **SAFE,
    **WRONG,
    "unmap_and_kick": order("block kick remove", serialized=1, **REQUESTS),
    "unmap_unawaited": order("block kick remove", serialized=1, wait=0, **REQUESTS),
    "given_away_first": order("block remove track kick", serialized=1),
}
TWO_PAGES = Size(1, 1, 2, 2)
DROPS = {"faults": int(Fault.FLUSH_DROPPED_AT_YIELD)}
BY_TRACK, BY_REQUEST = (
    {**SHARED, "entry_requests": 1, "shared_flush": int(how)} for how in (SharedFlush.TRACK, SharedFlush.REQUEST)
)
MACHINES = {
    "a batch": (PAIR, TWO_PAGES),
    "a batch that yields": ({**PAIR, "resched": 1}, TWO_PAGES),
    "a batch that yields and drops its flush": ({**PAIR, **DROPS}, TWO_PAGES),
    "that batch on plain EPT": ({**PAIR, **DROPS, **PLAIN_EPT}, TWO_PAGES),
    "a shared page flushed by TRACK": (BY_TRACK, ONE),
    "a shared and a private page, by TRACK": (BY_TRACK, TWO_PAGES),
    "a shared page flushed by a request": (BY_REQUEST, ONE),
    "a shared and a private page, by a request": (BY_REQUEST, TWO_PAGES),
    "a shared page whose root is not named": ({**BY_REQUEST, "faults": int(Fault.INVEPT_SHARED_ROOT)}, ONE),
    "a shared page on plain EPT": ({**BY_REQUEST, **PLAIN_EPT}, ONE),
    "plain EPT": (PLAIN_EPT, ONE),
}
LETTERS = {
    "N": "not_blocked", "E": "previous_epoch_busy", "U": "tracking_not_done", "S": "stale_after_done",
    "R": "use_after_remove",
}  # fmt: skip
# By order what it shows on each machine, in their order above.
TABLE = """
spec                   -    -    US   SR   -    -    -    -    SR   -    -
v18                    -    -    US   SR   -    -    -    -    SR   -    -
v6_16                  -    -    US   SR   -    -    -    -    SR   -    -
flag_gate              -    -    US   SR   -    -    -    -    SR   -    -
kick_then_track        US   US   US   SR   SR   USR  -    U    SR   -    -
no_kick                US   EUS  US   SR   SR   USR  SR   USR  SR   SR   SR
spec_unserialized      -    -    US   SR   -    -    -    -    SR   -    -
track_then_block       US   US   US   SR   SR   USR  SR   USR  SR   SR   SR
no_block               N    N    N    R    R    NR   R    NR   R    R    R
kick_without_wait      US   EUS  US   SR   SR   USR  SR   USR  SR   SR   SR
flag_gate_unserialized -    -    US   SR   -    -    -    -    SR   -    -
gate_lowered_early     US   US   US   SR   SR   USR  -    U    SR   -    -
free_despite_error     USR  USR  USR  SR   SR   USR  -    U    SR   -    -
no_flush_at_entry      SR   SR   US   SR   SR   SR   -    SR   SR   -    SR
unmap_and_kick         US   US   US   SR   SR   USR  -    U    SR   -    -
unmap_unawaited        US   US   US   SR   SR   USR  SR   USR  SR   SR   SR
given_away_first       US   US   US   SR   SR   USR  SR   USR  SR   SR   SR
"""
SHOWN = {name: cells for name, *cells in map(str.split, TABLE.strip().splitlines())}


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", ORDERS)
def test_an_order_does_this_harm_and_no_other(name, machine):
    fields, size = MACHINES[machine]
    shown = dict(zip(MACHINES, SHOWN[name], strict=True))[machine]

    assert errors(ORDERS[name], size, **fields)[0] == {LETTERS[letter] for letter in shown.strip("-")}
