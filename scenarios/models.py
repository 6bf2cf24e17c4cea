"""An ordering and a scenario as values: what their TOML may say, and which combinations mean nothing.

What an error says was expected is a field's description, or what its type says. A wrong order of steps is no error:
finding out is what the program is for. Refused is only what cannot run or says nothing.
"""

from collections.abc import Iterator
from itertools import permutations
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, Discriminator, Field, Tag, model_validator

from kernels.tdx.outcomes import FORBIDDEN
from kernels.tdx.rules import (
    MAX_LPS,
    MAX_PAGES,
    MAX_VCPUS,
    MAX_ZAPPERS,
    FaultRetry,
    Flow,
    FlushAt,
    Gate,
    Guard,
    HkidFree,
    Ioctl,
    KickBy,
    MemslotZap,
    Module,
    OnError,
    Pattern,
    SeptFree,
    SharedFlush,
    has_part,
)
from scenarios.busy import A_POLICY, BY_LOCK, LOCK_MODES
from scenarios.contradictions import ordering_contradictions, out_of_turn
from scenarios.costs import A_TABLE, Costs
from scenarios.fields import (
    ENTRY_CHECKS,
    FAULT_LOCKS,
    FAULTS,
    FLOW_NAMES,
    STEPS,
    STRICT,
    Checks,
    Duration,
    Expect,
    Faults,
    Names,
    Policy,
    Settings,
    Steps,
    TlbEntries,
    a_delay,
    a_start_offset,
    one_of,
    parts_of_a_flow,
    several_of,
    up_to,
    whole,
    word_or_more,
)
from scenarios.machines import EPF_THRESHOLD, HP_LOCK_TIMEOUT, scenario_contradictions
from scenarios.tdx_host import OfTheHost
from scenarios.times import A_DELAY, A_START_OFFSET
from scenarios.wording import listed, names, problem


class Kick(BaseModel):
    """How vCPUs are forced out: with which request, and whether the kicker waits for the IPIs to be acknowledged, which
    a step of its own says where the kick stands in its parts.
    """

    model_config = STRICT

    request: Annotated[str, one_of("request", ("tlb_flush", "none"))]
    wait: bool | None = None


class ByLock(BaseModel):
    """A policy for BUSY where mmu_lock is held for read, or not at all, and one where it is held for write."""

    model_config = STRICT

    read: Policy | None = Field(default=None, description=A_POLICY)
    write: Policy | None = Field(default=None, description=A_POLICY)


BusyPolicy = Annotated[Annotated[Policy, Tag("word")] | Annotated[ByLock, Tag("more")], Discriminator(word_or_more)]


class BusyBySeamcall(BaseModel):
    """What is done where a zapper's BLOCK, TRACK or REMOVE, or a fault's AUG or SEPT.ADD, is told TDX_OPERAND_BUSY and
    the shorthands do not say it.
    """

    model_config = STRICT

    block: BusyPolicy | None = Field(default=None, description=BY_LOCK)
    track: BusyPolicy | None = Field(default=None, description=BY_LOCK)
    remove: BusyPolicy | None = Field(default=None, description=BY_LOCK)
    aug: BusyPolicy | None = Field(default=None, description=BY_LOCK)
    sept_add: BusyPolicy | None = Field(default=None, description=BY_LOCK)


LockKind = Annotated[str, one_of("kind of lock", ("rw", "spin", "rw_irq", "spin_irq"))]


class Locks(BaseModel):
    """How a vCPU takes the ordering's own locks: `rw` for read, `spin` for write, and `_irq` with interrupts off."""

    model_config = STRICT

    sept_lock: LockKind = "rw"
    track_lock: LockKind = "rw"
    page_table_lock: LockKind = "rw"
    tlbstate_lock: LockKind = "rw"


OWN_LOCKS = (*FAULT_LOCKS[1:], "fault_lock", "no_entry_lock")


class Ordering(BaseModel):
    """The order of one shootdown's steps, and all that belongs to it. Immutable; an impossible one cannot be made.

    A field's title says what its key does. `remove` stands at most once, anywhere: to remove too early is wrong, not
    meaningless. So it is with the gate's two steps. `request`, `send` and `wait` are a kick in its parts.
    """

    model_config = STRICT

    name: str
    title: str = ""
    source: str = ""
    why: str = ""
    shootdown: Steps = Field(title="the steps of one shootdown")
    table: Steps = Field(default=(), title="the same of a page-table page, where its own are others")
    kick: Kick | None = Field(
        default=None,
        title="the request that a kick makes, and whether it waits for the answers to its IPIs",
        description='a table such as { request = "none", wait = true }',
    )
    gate: Annotated[str, one_of("gate", Gate)] = Field(
        default="none", title="where kicked vCPUs wait while it is raised"
    )
    entry: Checks = Field(default=(), title="what a vCPU looks at before TDH.VP.ENTER")
    flush_at: Annotated[str, one_of("place", FlushAt)] = Field(
        default="request",
        title="where the flush of the request tlb_flush is done, by its handler or by the next entry that succeeds",
    )
    track_busy: Policy = Field(default="spin", title="what a zapper does where TRACK is told TDX_OPERAND_BUSY")
    sept_busy: Policy = Field(default="spin", title="the same where BLOCK or REMOVE is, and a fault's AUG or SEPT.ADD")
    busy: BusyBySeamcall | None = Field(
        default=None,
        title="the same by SEAMCALL",
        description='a table such as { block = "bug", aug = "hand_up" }',
    )
    undo: Steps = Field(
        default=(),
        title="the steps that take a BLOCK back where BUSY is handed up behind it, before the first step again",
        description='a list of steps such as ["unblock"]',
    )
    locks: Locks = Field(
        default=Locks(),
        title="how a vCPU takes the ordering's own locks: for read or whole (spin), and with interrupts off (irq)",
        description='a table such as { page_table_lock = "spin_irq" }',
    )
    entry_lock: Annotated[str, one_of("lock", FAULT_LOCKS)] = Field(
        default="none",
        title="which of the ordering's own locks a vCPU holds where it looks whether it may enter: at requests and "
        "gate, or with interrupts off at all that it looks at behind IN_GUEST_MODE",
    )
    fault_lock: Annotated[str, one_of("lock", FAULT_LOCKS)] = Field(
        default="none", title="which of the ordering's own locks AUG and SEPT.ADD hold"
    )
    fault_mmu_lock: Annotated[str, one_of("lock mode", LOCK_MODES)] = Field(
        default="read", title="how a fault holds mmu_lock"
    )
    no_entry_lock: bool = Field(default=False, title="whether a lock is held while wait_for_sept_zap keeps vCPUs out")
    without: Annotated[str, several_of("lock", OWN_LOCKS, "none")] = Field(
        default="none",
        title="which of the ordering's own locks are left out, to see what fails",
        description=f"a lock ({listed(OWN_LOCKS)}), or several with a + between two, or none",
    )
    serialized: bool = Field(default=True, title="whether mmu_lock is held for write throughout")
    sept_free: Annotated[str, one_of("moment", SeptFree)] = Field(
        default="live", title="when page-table pages of a TD are freed, where a flow frees them"
    )
    hkid_free: Annotated[str, one_of("turn", HkidFree)] = Field(
        default="first", title="whether a TD's HKID goes before its guest pages or behind them, where it is torn down"
    )
    guard: Annotated[str, one_of("guard", Guard)] = Field(
        default="own", title="which locks the ioctls that build a TD hold in the flow build"
    )
    elide_flush: bool = Field(
        default=False, title="whether TRACK and kicks are left out where PROTECT finds nothing writable"
    )
    on_error: Annotated[str, one_of("reaction", OnError)] = Field(
        default="stop", title="what a zapper does after KVM_BUG_ON"
    )
    fault_retry: Annotated[str, one_of("retry", FaultRetry)] = Field(
        default="reenter", title="what a vCPU does on RET_PF_RETRY in the flow zero_step"
    )
    faults: Faults = Field(default=(), title="what is broken, of the module or of KVM")
    expect: Expect = Field(
        default="safe",
        title="safe, or the forbidden outcomes that it must show",
        description='"safe" or a list of at least one forbidden outcome',
    )

    @property
    def safe(self) -> bool:
        """Whether no forbidden outcome is expected."""
        return self.expect == "safe"

    @property
    def every_step(self) -> tuple[str, ...]:
        """Those of a guest page, and those of a page-table page behind them."""
        return self.shootdown + self.table

    @property
    def part(self) -> str:
        """The part of a machine that has one of its steps; "" where every machine has them all."""
        return "writes" if "protect" in self.every_step else ""

    def every_order(self) -> Iterator[Self]:
        """Each order of its steps as an ordering of its own, named by them; in the order of `itertools.permutations`.

        An order can be wrong and still means something; left out are those in which a part of a kick has nothing to do,
        and those that differ in which of two equal steps stands where.
        """
        for steps in dict.fromkeys(permutations(self.shootdown)):
            if not any(out_of_turn(steps)):
                name = ",".join(steps)
                yield self.model_copy(update={"name": name, "title": f"As {self.name}: {name}", "shootdown": steps})

    @model_validator(mode="after")
    def _means_something(self) -> Self:
        for key, text in ordering_contradictions(self):
            raise problem(text, key)
        return self


# The keys of a scenario, beside the sizes, by which steps go one way or the other.
MACHINE_KEYS = (
    "flow", "module", "batch", "resched", "shared_pages", "shared_flush", "memslot_zap", "sept_ve_disable", "lps",
    "epf_threshold", "hp_lock_timeout", "ioctls", "aging",
)  # fmt: skip
A_SMALL = 'small machines such as { zappers = 2, set = ["lps=1"] }'


class Small(BaseModel):
    """A small machine of a scenario, looked at whole; `set` are settings on it, as `--set` takes them. It is one of the
    matrix and of the contract, or `only` of one of them: where states are many, or edges.
    """

    model_config = STRICT

    vcpus: Annotated[int, whole(1, MAX_VCPUS)] = 1
    zappers: Annotated[int, whole(1, MAX_ZAPPERS)] = 1
    pages: Annotated[int, whole(1, MAX_PAGES)] = 1
    shootdowns: Annotated[int, whole(1, 1 << 50)] = 1
    liveness: bool = False
    tlb_entries: TlbEntries = 1
    set: Settings = ()
    only: Annotated[str, one_of("search", ("matrix", "contract"))] = ""


class Scenario(BaseModel):
    """The machine and the load under which orderings race. Immutable; times are in seconds or as their names say.

    `flow` is what the actors do, parts with a + between two; `module` what checks the order of steps. `batch` pages go
    down together, and with `resched` such a batch yields once; a shootdown is a page's, whatever its batch. The last
    `shared_pages` are shared, and flushed by `shared_flush`. `memslot_zap` is what KVM zaps where a memslot comes, for
    the flow `mmio`, `sept_ve_disable` the TD's attribute, for that one and `zero_step`; with `aging` zappers age pages,
    too, in the flow `writes`; `migrate` has `lps` logical processors; in `zero_step`, `epf_threshold` EPT violations at
    one instruction list nothing yet, and `hp_lock_timeout` TDCALLs in a row may stand back for the host; in `build` a
    VMM's threads make `ioctls`. `orderings` are names, paths or steps. `tick_us` is the host's timer, which ticks only
    where actors share CPUs; 0 is none. `gap` is pauses between two batches of a zapper. `rate` is shootdowns a second
    over all zappers; 0 is one after another. With a `start_offset` all zappers' turns are due at once, each put off by
    so long. `shootdowns` ends a zapper after so many batches; 0 is by time. `yields` are the odds, by label, that an
    actor gives up its CPU there, `delays` how long one is held up. `storm_us` is a tick on any machine, in place of
    `tick_us`; 0 is none. Where CPUs are fewer than actors, `placement` keeps zappers and vCPUs apart, behind a warm-up
    in which Linux places all, or mixed throughout. `kick_by` is what a kick does beside the vCPU's word, `costs` what
    SEAMCALLs are declared to take.
    `matrix` are small machines of it, the cheapest first, for whatever crosses orderings with faults or SEAMCALLs.
    `watchdog_s` without progress is a hang; of that time as much counts as the actors got of the CPUs that they wanted.
    """

    model_config = STRICT

    name: str
    title: str = ""
    shows: str = ""
    orderings: Names = Field(description="a list of at least one ordering: names, paths or steps")
    flow: Annotated[str, AfterValidator(parts_of_a_flow)] = Field(
        default="shootdown", description=f"a flow ({listed(FLOW_NAMES)}), or several with a + between two"
    )
    module: Annotated[str, one_of("module", Module), OfTheHost] = Field(
        default="tdx", description=f"a module ({listed((*names(Module), 'host'))})"
    )
    sept_ve_disable: bool = False
    aging: bool = False
    lps: Annotated[int, whole(1, MAX_LPS)] = 2
    epf_threshold: Annotated[int, whole(0, 1_000_000)] = EPF_THRESHOLD
    hp_lock_timeout: Annotated[int, whole(0, 1_000_000)] = HP_LOCK_TIMEOUT
    ioctls: Annotated[str, several_of("ioctl", names(Ioctl))] = Field(
        default="+".join(names(Ioctl)),
        description=f"an ioctl ({listed(names(Ioctl))}), or several with a + between two",
    )
    vcpus: Annotated[int, whole(1, MAX_VCPUS)]
    zappers: Annotated[int, whole(1, MAX_ZAPPERS)]
    pages: Annotated[int, whole(1, MAX_PAGES)] = 64
    batch: Annotated[int, whole(1, 512)] = 1
    resched: bool = False
    shared_pages: Annotated[int, whole(0, MAX_PAGES)] = 0
    shared_flush: Annotated[str, one_of("flush", SharedFlush)] = "request"
    memslot_zap: Annotated[str, one_of("zap", MemslotZap)] = "none"
    tlb_entries: TlbEntries = 64
    reads: Annotated[str, one_of("pattern", Pattern)] = "uniform"
    tick_us: Annotated[int, whole(0, 1_000_000, "microseconds")] = 50
    storm_us: Annotated[int, whole(0, 1_000_000, "microseconds")] = 0
    gap: Annotated[int, whole(0, 1_000_000_000, "pauses")] = 2000
    duration_s: Annotated[Duration, up_to("168h")] = 5.0
    warmup_s: Duration = Field(
        default=0.5, ge=0, le=3600, description="a duration from 0 to 1h, such as 500ms, 5s, 2m or 1h"
    )
    rate: float = Field(
        default=0.0, ge=0, le=1e7, description="shootdowns a second, from 0.001 to 10000000, or 0 for a closed loop"
    )
    start_offset: Annotated[str, AfterValidator(a_start_offset)] = Field(default="", description=A_START_OFFSET)
    shootdowns: Annotated[int, whole(0, 1 << 50)] = 0
    seed: Annotated[int, whole(0, (1 << 63) - 1)] = 1
    workers: Annotated[str, one_of("kind of worker", ("process", "thread"))] = "process"
    placement: Annotated[str, one_of("placement", ("apart", "mixed"))] = "apart"
    yields: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        default_factory=dict,
        description='a table of probabilities by label, such as { "kick.load_acquire_ipi" = 0.01 }',
    )
    delays: dict[str, Annotated[str, AfterValidator(a_delay), Field(description=A_DELAY)]] = Field(
        default_factory=dict, description='a table of delays by label, such as { "kick.load_acquire_ipi" = "200ns" }'
    )
    costs: Costs = Field(default_factory=dict, description=A_TABLE)
    kick_by: Annotated[str, one_of("way to kick", KickBy)] = "word"
    watchdog_s: Annotated[Duration, up_to("1h")] = 5.0

    matrix: tuple[Small, ...] = Field(default=(), strict=False, exclude=True, description=f"a list of {A_SMALL}")

    def has(self, parts: Flow) -> bool:
        """Whether any of these parts is there."""
        return has_part(self.flow, parts)

    @property
    def machine(self) -> dict[str, Any]:
        """What decides, beside the sizes, which steps the actors can take; only what is not the default."""
        fields = Scenario.model_fields
        return {key: found for key in MACHINE_KEYS if (found := getattr(self, key)) != fields[key].default}

    @property
    def perturbed(self) -> bool:
        """Whether something is done to actors on purpose, by which latency is no longer theirs."""
        return bool(self.yields or self.delays or self.start_offset)

    @model_validator(mode="after")
    def _means_something(self) -> Self:
        for key, text in scenario_contradictions(self):
            raise problem(text, key)
        return self


TABLES: dict[str, type[BaseModel]] = {"kick": Kick, "busy": BusyBySeamcall, "locks": Locks}
NESTED: dict[str, type[BaseModel]] = {**TABLES, "matrix": Small}
# What stands in a list or a table, where an element of it has the wrong type.
ELEMENTS = {
    "shootdown": f"a step ({listed(STEPS)})",
    "table": f"a step ({listed(STEPS)})",
    "undo": f"a step ({listed(STEPS)})",
    "entry": f"a check ({listed(ENTRY_CHECKS)})",
    "faults": f"a fault ({listed(FAULTS)})",
    "expect": f"an outcome ({listed(FORBIDDEN)})",
    "orderings": "an ordering in quotes",
    "yields": "a probability from 0 to 1",
    "delays": A_DELAY,
    "matrix": A_SMALL,
}
