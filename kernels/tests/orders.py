"""Rules of the orders that the tests here drive, written out: the kernels know no file."""

from kernels.tdx.rules import Busy, Fault, FaultRetry, Flow, Gate, HkidFree, Module, OnError, Rules, Step, pack_steps

ZAPS, FAULTS = ("block", "track", "remove"), ("aug", "sept_add")


def busy(policy: int, *seamcalls: str) -> dict[str, int]:
    """This policy for BUSY, for these SEAMCALLs, or for a zapper's where none is named; however mmu_lock is held."""
    return {f"{name}_busy_{mode}": int(policy) for name in seamcalls or ZAPS for mode in ("write", "read")}


def packed(steps: str) -> int:
    """Steps by their names in TOML, one behind the other."""
    return pack_steps([Step[name.upper()] for name in steps.split()])


def order(steps: str, **fields: int) -> Rules:
    """Rules for one shootdown of these steps: a kick without request that waits, a zapper that tries again where it is
    BUSY, a fault that hands it up, but for `fields`.
    """
    base = Rules(*([0] * len(Rules._fields)))
    usual = {
        "shootdown": packed(steps),
        "mmu_lock_steps": int("lock_mmu_lock" in steps.split()),
        "wait": 1,
        "batch": 1,
        **busy(Busy.SPIN),
        **busy(Busy.HAND_UP, *FAULTS),
        "shootdowns": 1,
        "ticks_to_ns": 1 << 20,
    }
    return base._replace(**{**usual, **fields})


def two_levels(rules: Rules, flow: Flow, **fields: int) -> Rules:
    """An order's rules in a two-level flow: mmu_lock for write where the order is serialized, else for read."""
    return rules._replace(flow=int(flow), serialized=0, zap_for_write=rules.serialized, **fields)


REQUESTS = {"request": 1, "entry_requests": 1}
GATED = {**REQUESTS, "entry_gate": 1, "gate": int(Gate.COUNTER)}
FLAGGED = {**GATED, "gate": int(Gate.FLAG)}
# Machines with something beside: pages that go down two by two, a shared page, which is the last; and without a module.
PAIR, SHARED = {"flow": int(Flow.BATCH), "batch": 2}, {"flow": int(Flow.SHARED_EPT), "shared_pages": 1}
PLAIN_EPT = {"module": int(Module.NONE)}
GOES_ON = {"on_error": int(OnError.LEAK_PAGE)}

SPEC = order("block track kick remove", serialized=1)
V18 = order("block gate_raise kick track gate_lower remove", **GATED)
V6_16 = order(
    "block track kick remove",
    serialized=1, entry_wait_for_sept_zap=1,
    **busy(Busy.RETRY_WITHOUT_VCPUS),
    hkid_free=int(HkidFree.LAST), fault_retry=int(FaultRetry.LOCAL),
)  # fmt: skip
FLAG_GATE = order("block gate_raise kick track gate_lower remove", serialized=1, **FLAGGED)
KICK_THEN_TRACK = order("block kick track remove", serialized=1, **REQUESTS)
NO_KICK = order("block track remove", serialized=1)
UNSERIALIZED = order("block track kick remove")
TRACK_THEN_BLOCK = order("track kick block remove", serialized=1)
NO_BLOCK = order("track kick remove", serialized=1)
NO_WAIT = order("block track kick remove", serialized=1, wait=0)
FLAG_UNSERIALIZED = order("block gate_raise kick track gate_lower remove", **FLAGGED)
LOWERED_EARLY = order("block gate_raise kick gate_lower track remove", **GATED)
FREE_DESPITE_ERROR = KICK_THEN_TRACK._replace(on_error=int(OnError.FREE_PAGE))
NO_FLUSH = SPEC._replace(faults=int(Fault.NO_FLUSH_AT_ENTRY))

SAFE = {"spec": SPEC, "v18": V18, "v6_16": V6_16, "flag_gate": FLAG_GATE}
WRONG = {
    "kick_then_track": KICK_THEN_TRACK,
    "no_kick": NO_KICK,
    "spec_unserialized": UNSERIALIZED,
    "track_then_block": TRACK_THEN_BLOCK,
    "no_block": NO_BLOCK,
    "kick_without_wait": NO_WAIT,
    "flag_gate_unserialized": FLAG_UNSERIALIZED,
    "gate_lowered_early": LOWERED_EARLY,
    "free_despite_error": FREE_DESPITE_ERROR,
    "no_flush_at_entry": NO_FLUSH,
}
