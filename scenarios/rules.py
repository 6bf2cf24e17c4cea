"""An ordering under a scenario as the kernels take it: integers only."""

from kernels.tdx.part import has_tables
from kernels.tdx.rules import (
    AT_ONCE,
    KVM_REQ_TLB_FLUSH,
    LATER,
    UNLIMITED,
    Fault,
    FaultRetry,
    Flow,
    FlushAt,
    Gate,
    Guard,
    HkidFree,
    Ioctl,
    KickBy,
    Lock,
    MemslotZap,
    Module,
    OnError,
    Pattern,
    Rules,
    SeptFree,
    SharedFlush,
    Step,
    flow_named,
    pack_steps,
)
from scenarios.busy import in_force, policy
from scenarios.fields import ENTRY_CHECKS, FAULT_LOCKS
from scenarios.models import Kick, Ordering, Scenario
from scenarios.times import parse_start_offset

# Rules that are called as their keys are: words of these kinds, and numbers or whether.
WORDS_OF_SCENARIO = {"module": Module, "shared_flush": SharedFlush, "memslot_zap": MemslotZap, "kick_by": KickBy}
WORDS_OF_ORDERING = {
    "gate": Gate, "flush_at": FlushAt, "sept_free": SeptFree, "hkid_free": HkidFree, "guard": Guard,
    "on_error": OnError, "fault_retry": FaultRetry,
}  # fmt: skip
NUMBERS = (
    "batch", "resched", "shared_pages", "epf_threshold", "hp_lock_timeout", "lps", "aging", "sept_ve_disable", "gap",
)  # fmt: skip


def compile_rules(
    ordering: Ordering, scenario: Scenario, *, clock: int, ticks_per_s: float, ticks_to_ns: int, shared_cpus: bool
) -> Rules:
    """The rules of one ordering under one scenario.

    `clock` is a kernels.rules.Clock, `ticks_per_s` its rate, `ticks_to_ns` nanoseconds a tick times 2**NS_SHIFT.
    The host's timer ticks only where actors share CPUs, or for a storm: elsewhere nobody has to give way.
    """
    without = ordering.without.split("+")
    steps, of_table, undo = (_steps(its, without) for its in (ordering.shootdown, ordering.table, ordering.undo))
    kick = ordering.kick
    flow = flow_named(scenario.flow)
    # There the actors take mmu_lock around a shootdown; without it for write they share it, with the entry frozen.
    two_levels = has_tables(flow)
    # There vCPUs share logical processors, or the mutexes of vCPUs are wanted.
    takes_turns = shared_cpus or bool(flow & (Flow.MIGRATE | Flow.BUILD))
    offset = parse_start_offset(scenario.start_offset)
    least, most = (round(ns * ticks_per_s / 1e9) for ns in (offset.least_ns, offset.most_ns)) if offset else (0, -1)
    tick_us = scenario.storm_us or (scenario.tick_us if takes_turns else 0)
    return Rules(
        flow=int(flow),
        **{key: int(kind[getattr(scenario, key).upper()]) for key, kind in WORDS_OF_SCENARIO.items()},
        **{key: int(kind[getattr(ordering, key).upper()]) for key, kind in WORDS_OF_ORDERING.items()},
        **{key: int(getattr(scenario, key)) for key in NUMBERS},
        shootdown=pack_steps(steps),
        table=pack_steps(of_table),
        undo=pack_steps(undo),
        request=KVM_REQ_TLB_FLUSH if kick and kick.request == "tlb_flush" else 0,
        wait=max(_wait(its, kick) for its in (steps, of_table, undo)),
        **{f"entry_{check}": int(check in ordering.entry) for check in ENTRY_CHECKS},
        fault_lock=0 if "fault_lock" in without else FAULT_LOCKS.index(ordering.fault_lock),
        fault_for_write=int(ordering.fault_mmu_lock == "write"),
        entry_lock=FAULT_LOCKS.index(ordering.entry_lock),
        spin_locks=sum(1 << Lock[lock.upper()] for lock, kind in ordering.locks if "spin" in kind),
        irq_locks=sum(1 << Lock[lock.upper()] for lock, kind in ordering.locks if "irq" in kind),
        no_entry_lock=int(ordering.no_entry_lock and "no_entry_lock" not in without),
        **{
            f"{seamcall}_busy_{mode}": policy(word)
            for seamcall, by_mode in in_force(ordering).items()
            for mode, word in by_mode.items()
        },
        serialized=int(ordering.serialized and not two_levels),
        mmu_lock_steps=int(Step.LOCK_MMU_LOCK in steps),
        zap_for_write=int(ordering.serialized and two_levels),
        ioctls=sum(int(Ioctl[name.upper()]) for name in scenario.ioctls.split("+")),
        elide_flush=int(ordering.elide_flush),
        faults=sum(int(Fault[fault.upper()]) for fault in ordering.faults),
        pattern=int(Pattern[scenario.reads.upper()]),
        shootdowns=scenario.shootdowns or UNLIMITED,
        period=_ticks(scenario.zappers * scenario.batch / scenario.rate, ticks_per_s) if scenario.rate else 0,
        start_offset=least,
        start_offsets=most - least + 1,
        tick=_ticks(tick_us / 1e6, ticks_per_s) if tick_us else 0,
        shared_cpus=int(shared_cpus),
        clock=int(clock),
        ticks_to_ns=int(ticks_to_ns),
    )


def _steps(words: tuple[str, ...], without: list[str]) -> list[Step]:
    """The steps, but for those of locks that are left out."""
    left = [word for word in words if not {*word.split(" ")} & {*without}]
    return [Step[word.upper().replace(" ", "_")] for word in left]


def _wait(steps: list[Step], kick: Kick | None) -> int:
    """Whether a kicker waits for its IPIs, and what it does before."""
    if kick is not None and kick.wait is not None:
        return AT_ONCE if kick.wait else 0
    if Step.WAIT not in steps:
        return 0
    pairs = zip(steps, [*steps[1:], 0], strict=True)
    return AT_ONCE if all(then == Step.WAIT for step, then in pairs if step == Step.SEND) else LATER


def _ticks(seconds: float, ticks_per_s: float) -> int:
    """The nearest number of ticks, at least one: zero means none."""
    return max(1, round(seconds * ticks_per_s))
